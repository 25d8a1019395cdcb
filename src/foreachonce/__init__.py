"""Exactly once for PySpark's foreachBatch: one ledger entry, committed in the same transaction as the data.

from foreachonce import JdbcSink

orders = JdbcSink("postgresql://app@db/shop", table="orders", stream="orders")
events.writeStream.foreachBatch(orders).option("checkpointLocation", path).start()
"""

from foreachonce.decorator import exactly_once
from foreachonce.entry import Entry
from foreachonce.epoch import Epoch
from foreachonce.errors import (
    CommitInDoubt,
    ConfigurationError,
    Conflict,
    DuplicateKeys,
    EpochError,
    ForeachOnceError,
    FrameError,
    LedgerError,
    Mismatch,
    SinkUnavailable,
    WriteFailed,
)
from foreachonce.ledger import Ledger
from foreachonce.position import Position
from foreachonce.sink import Sink
from foreachonce.sinks.jdbc import JdbcSink
from foreachonce.sql.view import SqlLedger

__all__ = [
    "CommitInDoubt",
    "ConfigurationError",
    "Conflict",
    "DuplicateKeys",
    "Entry",
    "Epoch",
    "EpochError",
    "ForeachOnceError",
    "FrameError",
    "JdbcSink",
    "Ledger",
    "LedgerError",
    "Mismatch",
    "Position",
    "Sink",
    "SinkUnavailable",
    "SqlLedger",
    "WriteFailed",
    "exactly_once",
]
