"""A transactional producer of one stream.

The life of a transaction:

1. ``fence()``: ``init_transactions``. The broker ends whatever another producer of the same transactional id has open, and
   refuses that producer from then on. Only what is read after this is certain.
2. The ledger topic is read to its stable end, and the run looks whether it still holds the stream.
3. ``begin()``, the rows, the entry, ``commit()``. A producer that has lost its id meanwhile is refused at the latest here.

librdkafka may send the end of a transaction twice where a reply is lost, and the broker may then take the second for the
next transaction's (confluentinc/librdkafka issue 5423). So a producer is used again only after a commit that was clean: no
connection was lost, and the reply came long before librdkafka would ask again.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from types import MappingProxyType
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from foreachonce.errors import WriteFailed
from foreachonce.kafka.cluster import Cluster
from foreachonce.kafka.errors import Complaints, doubt, in_our_words, refusal, translated
from foreachonce.kafka.record import Record, to_bytes
from foreachonce.kafka.topic import SECONDS

# librdkafka asks again after socket.timeout.ms, 60 s unless set, 10 ms to 5 min; a commit takes milliseconds.
CLEAN_SECONDS = 2.0
# How long a commit's reply is waited for; the broker may be electing.
COMMIT_SECONDS = 60.0
# How much of a transaction's time may pass before it is given up: the commit must still fit in.
USABLE = 0.8
NOTHING: Mapping[str, Any] = MappingProxyType({})


class Writer:
    """One producer under one of a stream's transactional ids.

    Args:
        cluster: where to.
        topic: the stream's ledger topic; its name is the transactional id's too.
        stream: the stream's name.
        number: which of the stream's transactional ids.
        timeout_ms: after how long the broker aborts a transaction, in milliseconds.
    """

    def __init__(self, cluster: Cluster, topic: str, stream: str, number: int, timeout_ms: int) -> None:
        self.cluster, self.topic, self.stream, self.number = cluster, topic, stream, number
        self._timeout, self._complaints = timeout_ms / 1000, Complaints(cluster)
        self._began, self.is_clean = 0.0, True
        self._clean = min(CLEAN_SECONDS, float(str(dict(cluster.client).get("socket.timeout.ms", 60_000))) / 2000)
        defaults = {"partitioner": "murmur2_random", "linger.ms": 0, "queue.buffering.max.messages": 500_000}
        # A row whose topic is not there need not wait longer: the topic was asked for before, or is some row's.
        defaults["topic.metadata.propagation.max.ms"] = 10_000
        given = cluster.settings(
            transactional_id=f"{topic}.{number}",
            transaction_timeout_ms=timeout_ms,
            delivery_report_only_error=True,
            error_cb=self._complaints.hear,
        )
        with translated(cluster, self._what):
            self.producer = Producer({**defaults, **given, "on_delivery": self._complaints.hear_delivery})
        self._complaints.poll = self.producer.poll

    @property
    def _what(self) -> str:
        return f"stream {self.stream!r}"

    def fence(self) -> None:
        """Shut out every other producer of this transactional id; what it has open is aborted, or committed if it said so.

        Raises:
            SinkUnavailable: the broker did not answer.
            WriteFailed: a right is missing.
        """
        with translated(self.cluster, self._what, self._complaints):
            # Where no connection is up, init_transactions looks again only after half a second. The bootstrap server's,
            # which may answer first, is closed then; the second answer comes by one that stays.
            for _ in range(2):
                self.producer.list_topics(self.topic, timeout=SECONDS)
            self.producer.init_transactions(SECONDS)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit what the block sends, or abort it where the block raises.

        Raises:
            Conflict: another run has fenced this one off; nothing was written.
            WriteFailed: a record was refused, or it took too long; nothing was written.
            CommitInDoubt: the reply to the commit was lost.
        """
        self.is_clean, self._began = False, time.monotonic()
        heard = self._complaints.count
        with translated(self.cluster, self._what, self._complaints):
            self.producer.begin_transaction()
        try:
            with translated(self.cluster, self._what, self._complaints):
                yield
                self.flush()
        except BaseException:
            self.abort()
            raise
        took = self._commit()
        self.is_clean = took < self._clean and self._complaints.count == heard

    def flush(self) -> None:
        """Send everything, in view of the transaction's time, so that the commit itself is short."""
        # Not by flush(), which breaks off with a SystemError where the producer was fenced.
        while len(self.producer):
            self.producer.poll(0.001)
            self.check_time()
        self.check_time()

    def _commit(self) -> float:
        began = time.monotonic()
        try:
            self.producer.commit_transaction(COMMIT_SECONDS)
        except KafkaException as caught:
            error = caught.args[0]
            if not error.txn_requires_abort():
                raise doubt(error, self.cluster, self._what, self._complaints) from None
            self.abort()
            raise in_our_words(error, self.cluster, self._what, self._complaints) from None
        return time.monotonic() - began

    def abort(self) -> None:
        """Give the transaction up. Where the broker does not hear it, the next fence or the time-out ends it."""
        with suppress(KafkaException):
            self.producer.purge()
            self.producer.abort_transaction(SECONDS)

    def check_time(self) -> None:
        """Give a transaction up that would outlive its time.

        Raises:
            WriteFailed: with the keyword that gives it more.
        """
        self.producer.poll(0)
        took = time.monotonic() - self._began
        if self._complaints.refused:
            raise WriteFailed(f"{self._what}: {'; '.join(self._complaints.refused)}. Nothing was written.")
        if took > USABLE * self._timeout:
            raise WriteFailed(
                f"{self._what}: the batch's transaction has taken {took:.0f} s, and the broker aborts it after "
                f"transaction_timeout_ms={self._timeout * 1000:.0f}. Nothing was written. Set it to "
                f"{self._timeout * 4000:.0f} (the broker's transaction.max.timeout.ms must allow it), or let batches be "
                "smaller (maxOffsetsPerTrigger, maxFilesPerTrigger)."
            )

    def record(self, record: Record) -> None:
        """Put a record into the ledger topic, in the open transaction."""
        self.put((self.topic, to_bytes(self.stream, record), None), {"partition": 0})

    def put(self, record: tuple[str, bytes | None, bytes | None], options: Mapping[str, Any] = NOTHING) -> None:
        """Put topic, value and key on their way, in the open transaction; waits while too many are under way.

        Raises:
            WriteFailed: the client refuses it; nothing was written.
            Conflict: another run has fenced this one off.
        """
        while True:
            try:
                return self.producer.produce(*record, **options)
            except BufferError:
                self.producer.poll(0.05)
                self.check_time()
            except KafkaException as caught:
                error = caught.args[0]
                self.check_time()  # what was refused before is the cause of what comes now
                if error.code() != KafkaError.MSG_SIZE_TOO_LARGE:
                    raise
                reason = refusal(error, record[0], self.cluster)
                raise WriteFailed(f"{self._what}: {reason}. Nothing was written.") from None
