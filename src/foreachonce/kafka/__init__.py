"""The Kafka sink: records and ledger entry in one Kafka transaction.

``sink`` and ``ledger`` are public. ``write`` brings a frame's rows to ``batch``, which commits an epoch's transactions by a
``producer``; ``rows`` turns rows into records. ``history`` decides from a ledger topic's records, without any client;
``topic`` creates and reads the topic. ``cluster`` holds a client's settings, and ``errors`` translates errors. ``source``
asks a topic that a query reads what it still holds. ``address`` reads a ledger's address.
"""
