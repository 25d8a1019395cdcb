"""The checkpoint is a cache: compared with the ledger before a query starts, and written anew where it does not agree.

The way is one line: goal (what the ledgers say) → diagnose (what the checkpoint says) → rebuild (the files that it should
hold) → mend (the stream taken, the repair entered, the folders swapped).
"""
