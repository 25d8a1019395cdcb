"""Delta Lake: the sink, and the ledger in a table's log.

- What a user calls: ``sink``, ``transaction``; ``target`` checks their keywords.
- A batch's commit: ``write``, which asks ``fit`` and ``spark``; ``errors`` translates what these raise.
- The ledger: ``ledger``, over the commit ``history`` that ``log`` reads from ``commit`` files and their ``copies`` in the
  table's ``folder``.

``commit``, ``copies``, ``history``, ``log`` and ``target`` need no Spark.
"""
