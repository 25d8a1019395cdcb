"""A stream's ledger topic: its name, its making, and its newest records.

The topic has one partition, so its records have one order. Nothing is ever deleted from it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import unquote

from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # its stubs hide what it offers
    AdminClient,
    ConfigResource,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

from foreachonce.errors import ConfigurationError, Conflict, LedgerError, SinkUnavailable
from foreachonce.kafka.cluster import Cluster
from foreachonce.kafka.errors import UNKNOWN, Complaints, translated
from foreachonce.kafka.history import History
from foreachonce.kafka.record import Record, from_bytes

# How long a server may take to answer.
SECONDS = 30.0
# The longest name that Kafka takes: Topic.java of apache/kafka.
LONGEST = 249
# How many offsets from the end are looked at first; a batch takes two, its entry and Kafka's own mark of the commit.
FIRST_LOOK = 64
SETTINGS = {
    "cleanup.policy": "delete",
    "retention.ms": "-1",
    "retention.bytes": "-1",
    # An entry names the files of its batch.
    "max.message.bytes": str(16 * 1024 * 1024),
}


def name(prefix: str, stream: str) -> str:
    """The name of a stream's ledger topic: what Kafka's names cannot hold is written as ``_`` and hexadecimal digits.

    Raises:
        ConfigurationError: the stream's name is too long for that.
    """
    found = prefix + re.sub(r"[^A-Za-z0-9.-]", lambda match: "".join(f"_{byte:02x}" for byte in match[0].encode()), stream)
    if len(found) > LONGEST:
        raise ConfigurationError(f"stream={stream!r}: its ledger topic's name would be longer than {LONGEST}; shorten it.")
    return found


def stream_of(prefix: str, topic: str) -> str | None:
    """The stream whose ledger a topic is, None for any other topic."""
    if not topic.startswith(prefix):
        return None
    return unquote(re.sub(r"_([0-9a-f]{2})", r"%\1", topic.removeprefix(prefix)))


def make(cluster: Cluster, topic: str) -> None:
    """Make the ledger topic, or see that nothing is deleted from the one that is there.

    Raises:
        LedgerError: it cannot be made, or would lose entries.
        SinkUnavailable: the cluster cannot be reached.
    """
    admin, complaints = admin_of(cluster)
    with translated(cluster, f"ledger topic {topic!r}", complaints):
        found = admin.list_topics(timeout=SECONDS).topics.get(topic)
        if found is None:
            _make(admin, topic)
        elif len(found.partitions) != 1:
            raise LedgerError(
                f"ledger topic {topic!r} has {len(found.partitions)} partitions, and must have one; delete it."
            )
    _check(admin, topic)


def _make(admin: AdminClient, topic: str) -> None:
    made = admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=-1, config=SETTINGS)])
    try:
        made[topic].result(SECONDS)
    except KafkaException as error:
        code = error.args[0].code()
        if code in (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED):
            settings = ", ".join(f"{key}={value}" for key, value in SETTINGS.items())
            raise LedgerError(
                f"the user has no right to make the ledger topic {topic!r}; make it, with one partition and {settings}."
            ) from None
        if code != KafkaError.TOPIC_ALREADY_EXISTS:
            raise


def _check(admin: AdminClient, topic: str) -> None:
    """Refuse a topic that forgets. Who may not ask is believed."""
    asked = ConfigResource(ResourceType.TOPIC, topic)
    try:
        found = admin.describe_configs([asked])[asked].result(SECONDS)
    except KafkaException:
        return
    for setting in ("cleanup.policy", "retention.ms", "retention.bytes"):
        if found[setting].value != SETTINGS[setting]:
            raise LedgerError(
                f"ledger topic {topic!r} has {setting}={found[setting].value}, so entries would be lost; set it to "
                f"{SETTINGS[setting]}."
            )


def require(cluster: Cluster, topic: str) -> None:
    """Refuse to write to a topic that is not there, and that the broker does not make when it is asked for it.

    Raises:
        ConfigurationError: naming the keyword.
        SinkUnavailable: the cluster cannot be reached.
    """
    admin, complaints = admin_of(cluster)
    with translated(cluster, f"topic {topic!r}", complaints):
        for wait in (0.1, 0.4, 1.0, 0.0):
            error = admin.list_topics(topic, timeout=SECONDS).topics[topic].error
            if error is None:
                return
            if error.code() not in UNKNOWN:
                raise KafkaException(error)
            time.sleep(wait)  # where the broker makes it, it takes a moment
    raise ConfigurationError(
        f"topic={topic!r} is not there, and the broker at {cluster.servers} makes no topic by itself: make it. Nothing was "
        "written."
    )


def wait_until_settled(cluster: Cluster, topic: str, seconds: float) -> None:
    """Wait until every transaction that has written the ledger topic so far is over.

    A reader of committed records stops before the first transaction that is open, and so may miss what others have
    committed behind it: the transactions of one epoch run side by side.

    Raises:
        Conflict: one of them is open after so many seconds.
    """
    admin, complaints = admin_of(cluster)
    partition, deadline = TopicPartition(topic, 0), time.monotonic() + seconds
    with translated(cluster, f"ledger topic {topic!r}", complaints):
        end = _end(admin, partition, IsolationLevel.READ_UNCOMMITTED)
        while _end(admin, partition, IsolationLevel.READ_COMMITTED) < end:
            if time.monotonic() > deadline:
                raise Conflict(f"ledger topic {topic!r}: another transaction of this batch is open. Nothing was written.")
            time.sleep(0.05)


def _end(admin: AdminClient, partition: TopicPartition, isolation: IsolationLevel) -> int:
    latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
    found = admin.list_offsets({partition: latest}, isolation_level=isolation)
    return int(found[partition].result(SECONDS).offset)


def topics(cluster: Cluster) -> list[str]:
    """The names of all topics of the cluster."""
    admin, complaints = admin_of(cluster)
    with translated(cluster, "the list of topics", complaints):
        return list(admin.list_topics(timeout=SECONDS).topics)


def admin_of(cluster: Cluster) -> tuple[AdminClient, Complaints]:
    """A client that asks and makes, and what it hears of errors."""
    complaints = Complaints(cluster)
    admin = AdminClient(cluster.settings(error_cb=complaints.hear))
    complaints.poll = admin.poll
    return admin, complaints


class Reader:
    """A read-committed consumer of a ledger topic."""

    def __init__(self, consumer: Consumer, topic: str, stream: str) -> None:
        self._consumer, self._topic, self._stream = consumer, topic, stream

    def bounds(self) -> tuple[int, int] | None:
        """The offsets of the oldest record and after the newest that is stable; None where there is no topic."""
        found = self._consumer.list_topics(self._topic, timeout=SECONDS).topics[self._topic]
        if found.error is not None and found.error.code() in UNKNOWN:
            return None
        if found.error is not None:
            raise KafkaException(found.error)
        low, high = self._consumer.get_watermark_offsets(TopicPartition(self._topic, 0), timeout=SECONDS)
        return low, high

    def records(self, start: int) -> Iterator[Record]:
        """Yield the records from an offset to the stable end."""
        self._consumer.assign([TopicPartition(self._topic, 0, start)])
        while True:
            message = self._consumer.poll(SECONDS)
            if message is None:
                raise SinkUnavailable(f"ledger topic {self._topic!r} was not sent within {SECONDS:.0f} s.")
            error = message.error()
            if error is None:
                yield from_bytes(self._stream, message.value())
            elif error.code() == KafkaError._PARTITION_EOF:
                return
            else:
                raise KafkaException(error)

    def newest(self, is_enough: Callable[[History], bool]) -> History:
        """The newest records, as far back as needed.

        Raises:
            LedgerError: the topic has lost its oldest records, and what is left tells no head.
        """
        bounds = self.bounds()
        if bounds is None or bounds[0] == bounds[1] == 0:
            return History((), is_whole=True)
        (low, end), span = bounds, FIRST_LOOK
        while True:
            start = max(low, end - span)
            history = History(tuple(self.records(start)), is_whole=start == low)
            if history.is_whole and low > 0 and history.head is None:
                raise LedgerError(
                    f"stream {self._stream!r}: the ledger topic {self._topic!r} begins at offset {low}, its older records "
                    "are deleted, and no entry is left. Was its retention changed? Put the topic back, or give the sink "
                    "another stream=, which begins anew."
                )
            if history.is_whole or is_enough(history):
                return history
            span *= 8


@contextmanager
def reading(cluster: Cluster, topic: str, stream: str) -> Iterator[Reader]:
    """Open a ledger topic to read it.

    Raises:
        SinkUnavailable: the cluster cannot be reached.
    """
    complaints = Complaints(cluster)
    consumer = Consumer(
        cluster.settings(
            error_cb=complaints.hear,
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
    complaints.poll = consumer.poll
    try:
        with translated(cluster, f"ledger topic {topic!r}", complaints):
            yield Reader(consumer, topic, stream)
    finally:
        consumer.close()
