"""The command ``foreachonce``: looks at ledgers, compares and mends checkpoints, proves chains, writes reports.

It needs the extra ``cli``; nothing outside of this package imports it. Exit codes: 0 well, 1 it does not agree or is broken,
2 bad usage or it cannot be told, 3 an error of the command itself.
"""
