"""Delta Lake: the sink, and the ledger in a table's log.

``history``, ``copies`` and ``folder`` know no format but their own; ``log`` and ``commit`` know Delta's files, ``spark`` its
commands.
"""
