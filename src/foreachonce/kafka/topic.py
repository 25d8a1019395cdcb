"""Topics: a stream's ledger topic, which is named, created, checked and read here, and the topics of the records.

A ledger topic has one partition, so its records have one order. Nothing is ever deleted from it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import unquote

from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # its stubs hide what it offers
    AdminClient,
    ConfigResource,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

from foreachonce.entry import Epoch
from foreachonce.errors import ConfigurationError, Conflict, LedgerError, SinkUnavailable
from foreachonce.kafka.cluster import Cluster
from foreachonce.kafka.errors import UNKNOWN_TOPIC, ClientErrors, translating
from foreachonce.kafka.history import Record, TopicHistory, from_bytes
from foreachonce.polling import wait_until

# How long a server may take to answer.
SECONDS = 30.0
# How long a broker may take to create a topic by itself.
CREATION_SECONDS = 1.5
# The longest name that Kafka accepts: Topic.java of apache/kafka.
LONGEST = 249
# How many offsets from the end are read first; a batch takes two, its entry and Kafka's own marker of the commit.
FIRST_READ = 64
# The settings of a ledger topic.
SETTINGS = {
    "cleanup.policy": "delete",
    "retention.ms": "-1",
    "retention.bytes": "-1",
    # An entry names the files of its batch.
    "max.message.bytes": str(16 * 1024 * 1024),
}


@dataclass(frozen=True, slots=True)
class LedgerTopic:
    """A stream's ledger topic, which need not exist yet.

    Args:
        cluster: where it is.
        name: the topic's name; see :func:`ledger_topic`.
        stream: the stream's name.
    """

    cluster: Cluster
    name: str
    stream: str

    def read(self, is_enough: Callable[[TopicHistory], bool]) -> TopicHistory:
        """Read the newest records up to the stable end, as far back as needed.

        Raises:
            LedgerError: the topic has lost its oldest records, and the rest holds no head.
            SinkUnavailable: the cluster cannot be reached.
        """
        with self._reader() as reader:
            return reader.newest(is_enough)

    def read_for(self, epoch: Epoch) -> TopicHistory:
        """Read the newest records, as far back as a decision on the epoch needs."""
        return self.read(lambda history: history.covers(epoch.query_id, epoch.batch_id))

    def create(self) -> None:
        """Create the topic, or check that the existing one deletes nothing.

        Raises:
            LedgerError: it cannot be created, or would lose entries.
            SinkUnavailable: the cluster cannot be reached.
        """
        admin, errors = admin_client(self.cluster)
        with translating(self.cluster, self._what, errors):
            existing = admin.list_topics(timeout=SECONDS).topics.get(self.name)
            if existing is None:
                _create(admin, self.name)
            elif len(existing.partitions) != 1:
                raise LedgerError(f"{self._what} has {len(existing.partitions)} partitions, and must have one; delete it.")
        _check_retention(admin, self.name)

    def wait_until_settled(self, seconds: float) -> None:
        """Wait until every transaction that has written to the topic so far is over.

        A reader of committed records stops before the first open transaction, and so may miss what others have committed
        behind it: the transactions of one epoch run side by side.

        Raises:
            Conflict: one of them is still open after so many seconds.
        """
        admin, errors = admin_client(self.cluster)
        partition = TopicPartition(self.name, 0)
        with translating(self.cluster, self._what, errors):
            end = _end(admin, partition, IsolationLevel.READ_UNCOMMITTED)
            if not wait_until(lambda: _end(admin, partition, IsolationLevel.READ_COMMITTED) >= end, seconds):
                raise Conflict(f"{self._what}: another transaction of this batch is still open. Nothing was written.")

    @property
    def _what(self) -> str:
        return f"ledger topic {self.name!r}"

    @contextmanager
    def _reader(self) -> Iterator[_Reader]:
        errors = ClientErrors(self.cluster)
        consumer = Consumer(
            self.cluster.settings(
                error_cb=errors.on_error,
                group_id="foreachonce",
                isolation_level="read_committed",
                enable_auto_commit=False,
                enable_partition_eof=True,
                auto_offset_reset="error",
                allow_auto_create_topics=False,
                # At the end the broker need not wait for more.
                fetch_wait_max_ms=5,
            )
        )
        errors.poll = consumer.poll
        try:
            with translating(self.cluster, self._what, errors):
                yield _Reader(consumer, self.name, self.stream)
        finally:
            consumer.close()


class _Reader:
    """A read-committed consumer of a ledger topic."""

    def __init__(self, consumer: Consumer, topic: str, stream: str) -> None:
        self._consumer, self._topic, self._stream = consumer, topic, stream

    def newest(self, is_enough: Callable[[TopicHistory], bool]) -> TopicHistory:
        bounds = self._bounds()
        if bounds is None or bounds[0] == bounds[1] == 0:
            return TopicHistory((), is_whole=True)
        (low, end), span = bounds, FIRST_READ
        while True:
            start = max(low, end - span)
            history = TopicHistory(tuple(self._records(start)), is_whole=start == low)
            if history.is_whole and low > 0 and history.head is None:
                raise LedgerError(
                    f"stream {self._stream!r}: the ledger topic {self._topic!r} begins at offset {low}: its older records "
                    "are deleted, and no entry is left. Was its retention changed? Restore the topic, or give the sink "
                    "another stream=, which starts a new ledger."
                )
            if history.is_whole or is_enough(history):
                return history
            span *= 8

    def _bounds(self) -> tuple[int, int] | None:
        """The offsets of the oldest record and after the newest stable one; None where there is no topic."""
        topic = self._consumer.list_topics(self._topic, timeout=SECONDS).topics[self._topic]
        if topic.error is not None and topic.error.code() in UNKNOWN_TOPIC:
            return None
        if topic.error is not None:
            raise KafkaException(topic.error)
        low, high = self._consumer.get_watermark_offsets(TopicPartition(self._topic, 0), timeout=SECONDS)
        return low, high

    def _records(self, start: int) -> Iterator[Record]:
        """Yield the records from an offset to the stable end."""
        self._consumer.assign([TopicPartition(self._topic, 0, start)])
        while True:
            message = self._consumer.poll(SECONDS)
            if message is None:
                raise SinkUnavailable(f"ledger topic {self._topic!r}: the broker sent no records within {SECONDS:.0f} s.")
            error = message.error()
            if error is None:
                yield from_bytes(self._stream, message.value())
            elif error.code() == KafkaError._PARTITION_EOF:
                return
            else:
                raise KafkaException(error)


def ledger_topic(cluster: Cluster, prefix: str, stream: str) -> LedgerTopic:
    """The ledger topic of a stream. Characters that topic names cannot hold become ``_`` and two hexadecimal digits a byte.

    Raises:
        ConfigurationError: the stream's name is too long.
    """
    name = prefix + re.sub(r"[^A-Za-z0-9.-]", lambda match: "".join(f"_{byte:02x}" for byte in match[0].encode()), stream)
    if len(name) > LONGEST:
        raise ConfigurationError(f"stream={stream!r}: its ledger topic's name would be longer than {LONGEST}; shorten it.")
    return LedgerTopic(cluster, name, stream)


def stream_of(prefix: str, topic: str) -> str | None:
    """The stream that a ledger topic belongs to; None for any other topic."""
    if not topic.startswith(prefix):
        return None
    return unquote(re.sub(r"_([0-9a-f]{2})", r"%\1", topic.removeprefix(prefix)))


def require_topic(cluster: Cluster, topic: str) -> None:
    """Check that a topic exists; asking for it makes some brokers create it.

    Raises:
        ConfigurationError: it does not exist.
        SinkUnavailable: the cluster cannot be reached.
    """
    admin, errors = admin_client(cluster)

    def exists() -> bool:
        error = admin.list_topics(topic, timeout=SECONDS).topics[topic].error
        if error is not None and error.code() not in UNKNOWN_TOPIC:
            raise KafkaException(error)
        return error is None

    with translating(cluster, f"topic {topic!r}", errors):
        if wait_until(exists, CREATION_SECONDS, pause=0.2):
            return
    raise ConfigurationError(
        f"topic={topic!r} does not exist, and the broker at {cluster.servers} does not create topics by itself. Create it. "
        "Nothing was written."
    )


def all_topics(cluster: Cluster) -> list[str]:
    """The names of all topics of the cluster."""
    admin, errors = admin_client(cluster)
    with translating(cluster, "the list of topics", errors):
        return list(admin.list_topics(timeout=SECONDS).topics)


def admin_client(cluster: Cluster) -> tuple[AdminClient, ClientErrors]:
    """A client that asks about topics and creates them, and the errors that it reports."""
    errors = ClientErrors(cluster)
    admin = AdminClient(cluster.settings(error_cb=errors.on_error))
    errors.poll = admin.poll
    return admin, errors


def _create(admin: AdminClient, topic: str) -> None:
    created = admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=-1, config=SETTINGS)])
    try:
        created[topic].result(SECONDS)
    except KafkaException as error:
        code = error.args[0].code()
        if code in (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED):
            settings = ", ".join(f"{key}={value}" for key, value in SETTINGS.items())
            raise LedgerError(
                f"the user has no right to create the ledger topic {topic!r}; create it, with one partition and {settings}."
            ) from None
        if code != KafkaError.TOPIC_ALREADY_EXISTS:
            raise


def _check_retention(admin: AdminClient, topic: str) -> None:
    """Refuse a topic that deletes records. Without the right to read its settings, they are taken to be right."""
    resource = ConfigResource(ResourceType.TOPIC, topic)
    try:
        settings = admin.describe_configs([resource])[resource].result(SECONDS)
    except KafkaException:
        return
    for setting in ("cleanup.policy", "retention.ms", "retention.bytes"):
        if settings[setting].value != SETTINGS[setting]:
            raise LedgerError(
                f"ledger topic {topic!r} has {setting}={settings[setting].value}, so entries would be lost; set it to "
                f"{SETTINGS[setting]}."
            )


def _end(admin: AdminClient, partition: TopicPartition, isolation: IsolationLevel) -> int:
    latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
    ends = admin.list_offsets({partition: latest}, isolation_level=isolation)
    return int(ends[partition].result(SECONDS).offset)
