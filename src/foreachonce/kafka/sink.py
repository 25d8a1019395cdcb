"""KafkaSink: a batch's records and its ledger entry in one Kafka transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

from foreachonce.base import BaseSink
from foreachonce.entry import Entry, Epoch
from foreachonce.errors import ConfigurationError
from foreachonce.kafka.batch import Path, write
from foreachonce.kafka.cluster import Value
from foreachonce.kafka.ledger import PREFIX, KafkaLedger
from foreachonce.kafka.rows import RecordColumns, Shape
from foreachonce.kafka.topic import require_topic
from foreachonce.keywords import one_of, texts
from foreachonce.sink import OnMismatch
from foreachonce.spark.resolve import refuse_streaming

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


class KafkaSink(BaseSink["DataFrame"]):
    """A foreachBatch function that writes each batch into Kafka exactly once.

    The records and a ledger entry with the source's offsets are one Kafka transaction, so a replay of a batch is a no-op, a
    ``read_committed`` consumer sees all of a batch or nothing, and a lost or rolled-back checkpoint is noticed before it
    repeats or loses records. A consumer that reads uncommitted records also sees those of aborted transactions.

    librdkafka checks the settings when the sink is made; making it connects to no server. It needs the extra ``kafka``, on
    the executors too.

    Args:
        bootstrap_servers: ``host:port``, separated by commas. User and password are keywords of the client.
        topic: the topic of all records; it must exist, unless the broker creates topics. A column ``topic`` is then left
            out. None takes each record's from the frame's column ``topic``.
        stream: the pipeline's own name for its output here; it outlives checkpoints. None takes the query's name; without
            either, the first batch is refused. The entries are in the topic ``foreachonce.<stream>``, and the transactional
            ids begin with that name.
        key: a SQL expression over the frame's columns, such as ``"order_id"``, of text or bytes. None takes the column of
            that name, as Spark's own sink does. Each row becomes one record, so aggregates and generators such as
            ``explode()`` are refused in ``key``, ``value`` and ``headers``; they belong in the frame. The columns
            ``partition`` and ``timestamp`` are used too.
        value: a SQL expression as for ``key``, such as ``"to_json(struct(*))"``. NULL is a tombstone.
        headers: a SQL expression of ``array<struct<key:string,value:binary>>``, in which only values may be NULL.
        transactions: how many transactions, side by side, a batch is made of: 1 to 64. With more than one a batch becomes
            visible part by part, and an interrupted one must be completed with the same rows; rows with the same key are in
            the same part. A batch of few rows is one transaction all the same.
        transaction_timeout_ms: after how many milliseconds the broker aborts a transaction whose writer is silent, and how
            long a batch may take: at 80 % of it the batch is given up with `WriteFailed`. At least 1,000, at most the
            broker's ``transaction.max.timeout.ms``, 15 minutes unless set.
        ledger_prefix: how the names of ledger topics, and of transactional ids, begin.
        on_mismatch: what happens to a batch that is not the one the ledger expects: ``"raise"`` refuses it; ``"write"``
            writes it all the same, and its entry records it. The batches that follow line up with it. A batch whose ids have
            an entry, or a part of one (``transactions=N``), with another position is refused either way.
        heal: let ``start()`` bring the query's checkpoint to where the ledger says that it has to go on.
        path: ``"driver"`` fetches the rows to the driver, which writes them with a producer that it keeps; not with
            ``transactions=``. ``"task"`` lets tasks write them, each with a new producer: one for a single transaction, and
            all tasks compute the rows until a batch has shown that they are cheap. ``"auto"`` takes the driver for at most
            10,000 rows that Spark estimates at no more than 4 MB, or that come from at most 2,000 records of Kafka.
        checkpoint: the query's ``checkpointLocation``; needed on Spark Connect only.
        **client: settings of librdkafka, with ``_`` for each dot of their names, such as ``security_protocol="SASL_SSL"``,
            ``sasl_password=…``, ``compression_type="zstd"`` or ``message_max_bytes=5_000_000``, for all clients of the sink.
            Passwords are never shown.

    Attributes:
        ledger: the sink's ledger, a [`KafkaLedger`][foreachonce.KafkaLedger].

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
        self.ledger = KafkaLedger(
            bootstrap_servers,
            ledger_prefix=ledger_prefix,
            transactions=transactions,
            transaction_timeout_ms=transaction_timeout_ms,
            **client,
        )
        if transactions > 1 and path == "driver":
            raise ConfigurationError("path='driver' writes one transaction; leave transactions= out.")
        if stream is not None:
            self.ledger.topic(stream)
        self._shape, self._path = Shape(topic, key, value, headers), path
        # Of the newest frame that this run has checked.
        self._columns: RecordColumns | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_columns": None}

    @property
    def guarantee(self) -> str:
        """What holds for the records, in words that a user can check."""
        if self.ledger.transactions == 1:
            return "exactly once, records and entry in one Kafka transaction; read_committed consumers see all of a batch"
        return (
            f"exactly once for read_committed consumers, a batch in up to {self.ledger.transactions} Kafka transactions, "
            "each with its entry; made visible part by part"
        )

    def __str__(self) -> str:
        where = "topics that rows name" if self._shape.topic is None else f"topic {self._shape.topic}"
        return f"Kafka at {self.ledger.cluster.servers}, {where}: {self.guarantee}"

    def __repr__(self) -> str:
        return f"KafkaSink({self.ledger.cluster.servers!r}, topic={self._shape.topic!r}, stream={self.stream!r})"

    def begin_run(self, epoch: Epoch) -> None:
        """Forget what was checked for an earlier run."""
        self._columns = None

    def check(self, frame: DataFrame) -> DataFrame:
        """Refuse a frame whose columns are not a record's; once a run, check that the topic exists."""
        refuse_streaming(frame)
        if self._columns is None and self._shape.topic is not None:
            require_topic(self.ledger.cluster, self._shape.topic)
        if self._columns is None or not self._columns.fit(frame):
            self._columns = self._shape.columns(frame)
        return self._columns.of(frame)

    def commit(self, work: DataFrame, entry: Entry) -> int | None:
        """Commit the records and the entry."""
        batch = self.ledger.batch(entry, self._shape.topic)
        return write(self.ledger.held(entry), batch, work, self._path, self.ledger.transactions)
