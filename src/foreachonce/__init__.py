"""Exactly once for PySpark's foreachBatch: one ledger entry, committed in the same transaction as the data.

from foreachonce import JdbcSink

orders = JdbcSink("postgresql://app@db/shop", table="orders", stream="orders")
events.writeStream.foreachBatch(orders).option("checkpointLocation", path).start()
"""

from typing import TYPE_CHECKING, Any

from foreachonce.decorator import ExactlyOnce, exactly_once
from foreachonce.delta.ledger import DeltaLedger
from foreachonce.delta.sink import DeltaSink, DeltaTables
from foreachonce.delta.transaction import DeltaTransaction
from foreachonce.entry import Entry, Epoch, Intent, Run
from foreachonce.errors import (
    BatchFailed,
    CommitInDoubt,
    ConfigurationError,
    Conflict,
    DuplicateKeys,
    EpochError,
    Expired,
    Fenced,
    ForeachOnceError,
    FrameError,
    InDoubt,
    LedgerError,
    Mismatch,
    SinkUnavailable,
    StateLost,
    WriteFailed,
)
from foreachonce.events import Event
from foreachonce.ledger import Ledger
from foreachonce.position import Position
from foreachonce.recovery.repair import Repair
from foreachonce.sink import Sink
from foreachonce.sql.ledger import SqlLedger
from foreachonce.sql.sink import JdbcSink
from foreachonce.sql.transaction import Transaction

if TYPE_CHECKING:
    from foreachonce.kafka.ledger import KafkaLedger
    from foreachonce.kafka.sink import KafkaSink

__all__ = [
    "BatchFailed",
    "CommitInDoubt",
    "ConfigurationError",
    "Conflict",
    "DeltaLedger",
    "DeltaSink",
    "DeltaTables",
    "DeltaTransaction",
    "DuplicateKeys",
    "Entry",
    "Epoch",
    "EpochError",
    "Event",
    "ExactlyOnce",
    "Expired",
    "Fenced",
    "ForeachOnceError",
    "FrameError",
    "InDoubt",
    "Intent",
    "JdbcSink",
    "KafkaLedger",
    "KafkaSink",
    "Ledger",
    "LedgerError",
    "Mismatch",
    "Position",
    "Repair",
    "Run",
    "Sink",
    "SinkUnavailable",
    "SqlLedger",
    "StateLost",
    "Transaction",
    "WriteFailed",
    "exactly_once",
]


def __getattr__(name: str) -> Any:
    # Kafka's client is an extra, and a library in C that takes a moment to load.
    if name not in ("KafkaLedger", "KafkaSink"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from foreachonce.kafka.ledger import KafkaLedger
        from foreachonce.kafka.sink import KafkaSink
    except ImportError as error:
        if error.name != "confluent_kafka":
            raise
        raise ImportError(f"{name} needs Kafka's client: pip install 'foreachonce[kafka]'") from error
    return {"KafkaLedger": KafkaLedger, "KafkaSink": KafkaSink}[name]
