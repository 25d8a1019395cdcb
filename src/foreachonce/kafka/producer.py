"""A transactional producer of one stream.

The life of a transaction:

1. ``fence()``: ``init_transactions``. The broker ends any transaction that another producer of the same transactional id has
   open, and rejects that producer from then on. Only what is read after this is certain.
2. The ledger topic is read to its stable end, and the run checks that it still holds the stream.
3. ``begin_transaction``, the rows, the entry, ``commit_transaction``. A producer that has lost its id meanwhile is rejected
   here at the latest.

librdkafka may send the end of a transaction twice if a reply is lost, and the broker may then take the second for the
next transaction's (confluentinc/librdkafka issue 5423). So a producer is used again only after a clean commit: no
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
from foreachonce.kafka.errors import ClientErrors, commit_in_doubt, rejection, translate, translating
from foreachonce.kafka.history import Record, to_bytes
from foreachonce.kafka.topic import SECONDS, LedgerTopic

# librdkafka asks again after socket.timeout.ms, 60 s by default, 10 ms to 5 min; a commit takes milliseconds.
CLEAN_SECONDS = 2.0
# How long to wait for a commit's reply; the broker may be electing.
COMMIT_SECONDS = 60.0
# The share of a transaction's time that may pass before it is given up: the commit must still fit in.
USABLE = 0.8
NO_OPTIONS: Mapping[str, Any] = MappingProxyType({})


class TransactionalProducer:
    """One producer under one of a stream's transactional ids.

    Args:
        topic: the stream's ledger topic; its name begins the transactional id.
        number: which of the stream's transactional ids.
        timeout_ms: after how many milliseconds the broker aborts a transaction.

    Attributes:
        is_clean: whether the producer may be used again.
    """

    def __init__(self, topic: LedgerTopic, number: int, timeout_ms: int) -> None:
        self._topic, self._cluster = topic, topic.cluster
        self._timeout, self._errors = timeout_ms / 1000, ClientErrors(topic.cluster)
        self._began, self.is_clean = 0.0, True
        socket_timeout = dict(topic.cluster.client).get("socket.timeout.ms", 60_000)
        self._clean = min(CLEAN_SECONDS, float(str(socket_timeout)) / 2000)
        defaults = {"partitioner": "murmur2_random", "linger.ms": 0, "queue.buffering.max.messages": 500_000}
        # A row whose topic does not exist need not wait longer: the sink's topic was checked before, others are the rows'.
        defaults["topic.metadata.propagation.max.ms"] = 10_000
        settings = topic.cluster.settings(
            transactional_id=f"{topic.name}.{number}",
            transaction_timeout_ms=timeout_ms,
            delivery_report_only_error=True,
            error_cb=self._errors.on_error,
        )
        with translating(self._cluster, self._what):
            self._client = Producer({**defaults, **settings, "on_delivery": self._errors.on_delivery})
        self._errors.poll = self._client.poll

    @property
    def _what(self) -> str:
        return f"stream {self._topic.stream!r}"

    def fence(self) -> None:
        """Fence off every other producer of this transactional id; its open transaction is over then.

        Raises:
            SinkUnavailable: the broker did not answer.
            WriteFailed: a right is missing.
        """
        with translating(self._cluster, self._what, self._errors):
            # Without a connection init_transactions looks again only after half a second. The bootstrap server's, which may
            # answer first, is closed then; the second answer comes by one that stays.
            for _ in range(2):
                self._client.list_topics(self._topic.name, timeout=SECONDS)
            self._client.init_transactions(SECONDS)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit what the block sends, or abort if the block raises.

        Raises:
            Conflict: another run has fenced this one off; nothing was written.
            WriteFailed: a record was rejected, or the transaction took too long; nothing was written.
            CommitInDoubt: the reply to the commit was lost.
        """
        self.is_clean, self._began = False, time.monotonic()
        errors_before = self._errors.count
        with translating(self._cluster, self._what, self._errors):
            self._client.begin_transaction()
        try:
            with translating(self._cluster, self._what, self._errors):
                yield
                self.flush()
        except BaseException:
            self._abort()
            raise
        seconds = self._commit()
        self.is_clean = seconds < self._clean and self._errors.count == errors_before

    def flush(self) -> None:
        """Send everything within the transaction's time, so that the commit itself is short."""
        # Not by flush(), which breaks off with a SystemError if the producer was fenced.
        while len(self._client):
            self._client.poll(0.001)
            self.check_time()
        self.check_time()

    def _commit(self) -> float:
        began = time.monotonic()
        try:
            self._client.commit_transaction(COMMIT_SECONDS)
        except KafkaException as caught:
            error = caught.args[0]
            if not error.txn_requires_abort():
                raise commit_in_doubt(error, self._cluster, self._what, self._errors) from None
            self._abort()
            raise translate(error, self._cluster, self._what, self._errors) from None
        return time.monotonic() - began

    def _abort(self) -> None:
        """Abort the transaction. If the broker cannot be reached, the next fence or the time-out does."""
        with suppress(KafkaException):
            self._client.purge()
            self._client.abort_transaction(SECONDS)

    def check_time(self) -> None:
        """Give up a transaction that has a rejected record, or would outlive its time.

        Raises:
            WriteFailed: with the cause, and the keyword that allows more time.
        """
        self._client.poll(0)
        seconds = time.monotonic() - self._began
        if self._errors.rejections:
            raise WriteFailed(f"{self._what}: {'; '.join(self._errors.rejections)}. Nothing was written.")
        if seconds > USABLE * self._timeout:
            raise WriteFailed(
                f"{self._what}: the batch's transaction has taken {seconds:.0f} s, and the broker aborts it after "
                f"transaction_timeout_ms={self._timeout * 1000:.0f}. Nothing was written. Raise it to "
                f"{self._timeout * 4000:.0f} (the broker's transaction.max.timeout.ms must allow that), or make batches "
                "smaller (maxOffsetsPerTrigger, maxFilesPerTrigger)."
            )

    def put_entry(self, record: Record) -> None:
        """Queue a record for the ledger topic, in the open transaction."""
        self.put((self._topic.name, to_bytes(self._topic.stream, record), None), {"partition": 0})

    def put(self, record: tuple[str, bytes | None, bytes | None], options: Mapping[str, Any] = NO_OPTIONS) -> None:
        """Queue topic, value and key, in the open transaction; waits while the queue is full.

        Raises:
            WriteFailed: the client rejects the record; nothing was written.
            Conflict: another run has fenced this one off.
        """
        while True:
            try:
                return self._client.produce(*record, **options)
            except BufferError:
                self._client.poll(0.05)
                self.check_time()
            except KafkaException as caught:
                error = caught.args[0]
                self.check_time()  # an earlier rejection is the cause of this error
                if error.code() != KafkaError.MSG_SIZE_TOO_LARGE:
                    raise
                reason = rejection(error, record[0], self._cluster)
                raise WriteFailed(f"{self._what}: {reason}. Nothing was written.") from None


def fenced_producer(topic: LedgerTopic, number: int, timeout_ms: int) -> TransactionalProducer:
    """A producer that has fenced off all others of its transactional id."""
    producer = TransactionalProducer(topic, number, timeout_ms)
    producer.fence()
    return producer
