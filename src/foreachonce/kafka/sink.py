"""The Kafka sink: records and ledger entry in one Kafka transaction."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Literal, get_args

from foreachonce.base import BaseSink
from foreachonce.entry import Entry
from foreachonce.errors import ConfigurationError
from foreachonce.kafka.cluster import Cluster, Value
from foreachonce.kafka.ledger import PREFIX, KafkaLedger
from foreachonce.kafka.rows import Shape, shaped
from foreachonce.kafka.topic import require
from foreachonce.kafka.write import Batch, write
from foreachonce.keywords import one_of, texts
from foreachonce.sink import OnMismatch
from foreachonce.spark.resolve import refuse_streaming

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

Path = Literal["auto", "driver", "task"]


class KafkaSink(BaseSink["DataFrame"]):
    """A foreachBatch function that writes each batch into Kafka exactly once.

    The records and a ledger entry with the source's offsets are one Kafka transaction, so a replay of a batch is a no-op, a
    ``read_committed`` consumer sees all of a batch or nothing, and a lost or rolled-back checkpoint is noticed before it
    repeats or loses records. A consumer that reads uncommitted records sees those of aborted transactions too.

    Args:
        bootstrap_servers: ``host:port``, with commas between.
        topic: the topic of all records. None where the frame's column ``topic`` tells it, record by record.
        stream: the pipeline's own name for its output here; it outlives checkpoints. None takes the query's name. The
            entries are in the topic ``foreachonce.<stream>``, and the transactional ids begin with that name.
        key, value, headers: SQL expressions over the frame's columns, such as ``"order_id"`` and ``"to_json(struct(*))"``.
            None takes the column of that name, as Spark's own sink does. Keys and values are text or bytes, headers an
            ``array<struct<key:string,value:binary>>``. The columns ``partition`` and ``timestamp`` are taken too.
        transactions: of how many transactions, side by side, a batch is made. With more than one a batch becomes visible
            part by part; rows of one key are in one part.
        transaction_timeout_ms: after how long, in milliseconds, the broker aborts a transaction whose writer is silent, and
            how long a batch may take. At most the broker's ``transaction.max.timeout.ms``, 15 minutes unless set.
        ledger_prefix: how the names of ledger topics begin.
        on_mismatch: what becomes of a batch that is not the one the ledger expects: ``"raise"`` refuses it; ``"write"``
            writes it all the same and says so in its entry.
        heal: let :meth:`start` bring the query's checkpoint to where the ledger says that it has to go on.
        path: ``"driver"``: the rows come to the driver's memory, which writes them by a producer that it keeps; ``"task"``:
            tasks write them. ``"auto"`` takes the driver for at most 10,000 rows of what Spark takes for at most 4 MB,
            or of at most 2,000 records of Kafka.
        checkpoint: the query's ``checkpointLocation``; needed on Spark Connect only.
        client: settings of librdkafka, with ``_`` for each dot of their names, such as ``security_protocol="SASL_SSL"``,
            ``sasl_password=…`` or ``compression_type="zstd"``. Passwords are shown nowhere.

    Raises:
        ConfigurationError: a keyword is missing, unknown or contradicts another, or confluent-kafka is not installed; raised
            at once, not at the first batch.
    """

    ledger: KafkaLedger

    def __init__(
        self,
        bootstrap_servers: str,
        *,
        topic: str | None = None,
        stream: str | None = None,
        key: str | None = None,
        value: str | None = None,
        headers: str | None = None,
        transactions: int = 1,
        transaction_timeout_ms: int = 900_000,
        ledger_prefix: str = PREFIX,
        on_mismatch: OnMismatch = "raise",
        heal: bool = False,
        path: Path = "auto",
        checkpoint: str | None = None,
        **client: Value,
    ) -> None:
        super().__init__(stream=stream, on_mismatch=on_mismatch, heal=heal, checkpoint=checkpoint)
        one_of("path", path, get_args(Path))
        texts(topic=topic, key=key, value=value, headers=headers)
        _whole("transactions", transactions, 1, 64)
        _whole("transaction_timeout_ms", transaction_timeout_ms, 1000, 2**31 - 1)
        if transactions > 1 and path == "driver":
            raise ConfigurationError("path='driver' writes one transaction; leave transactions= out.")
        self.ledger = KafkaLedger(
            bootstrap_servers,
            ledger_prefix=ledger_prefix,
            transactions=transactions,
            transaction_timeout_ms=transaction_timeout_ms,
            **client,
        )
        if stream is not None:
            self.ledger.topic(stream)
        self._shape = Shape(topic, key, value, headers)
        self._transactions, self._timeout_ms, self._path = transactions, transaction_timeout_ms, path

    @property
    def guarantee(self) -> str:
        """What holds for the records, in words that a user can check."""
        if self._transactions == 1:
            return "exactly once, records and entry in one Kafka transaction; read_committed consumers see all of a batch"
        return (
            f"exactly once for read_committed consumers, a batch in up to {self._transactions} Kafka transactions, each "
            "with its entry; made visible part by part"
        )

    def __str__(self) -> str:
        where = "topics that rows name" if self._shape.topic is None else f"topic {self._shape.topic}"
        return f"Kafka at {self.ledger.cluster.servers}, {where}: {self.guarantee}"

    def __repr__(self) -> str:
        return f"KafkaSink({self.ledger.cluster.servers!r}, topic={self._shape.topic!r}, stream={self.stream!r})"

    def check(self, frame: DataFrame) -> DataFrame:
        """Refuse a frame whose columns are not a record's."""
        refuse_streaming(frame)
        if self._shape.topic is not None:
            _require(self.ledger.cluster, self._shape.topic)
        return shaped(frame, self._shape)

    def commit(self, work: DataFrame, entry: Entry) -> int | None:
        """Commit the records and the entry."""
        return write(Batch(self.ledger, entry, self._shape.topic, self._timeout_ms), work, self._path, self._transactions)


@cache
def _require(cluster: Cluster, topic: str) -> None:
    """Asked once in a process."""
    require(cluster, topic)


def _whole(keyword: str, value: object, least: int, most: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ConfigurationError(f"{keyword}={value!r} must be a whole number from {least} to {most}.")
