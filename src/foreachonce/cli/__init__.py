"""The command ``foreachonce``: looks at ledgers, compares and repairs checkpoints, proves chains, writes reports.

It needs the extra ``cli``; nothing outside this package imports it. Exit codes: 0 good, 1 a disagreement or a broken chain,
2 wrong usage or a decision for a person, 3 an error of the command itself.
"""
