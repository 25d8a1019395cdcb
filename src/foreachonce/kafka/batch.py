"""One epoch on its way into Kafka: its transactions, by the driver or by tasks, and what its run knows between batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from threading import Lock
from typing import TYPE_CHECKING, Literal, TypeAlias
from weakref import WeakValueDictionary

from foreachonce.entry import Entry
from foreachonce.errors import BatchFailed, CommitInDoubt, Conflict, ForeachOnceError
from foreachonce.events import note_path
from foreachonce.faults import Point, fault
from foreachonce.kafka.history import Part, TopicHistory
from foreachonce.kafka.producer import TransactionalProducer
from foreachonce.kafka.rows import PART, send, split
from foreachonce.kafka.topic import LedgerTopic
from foreachonce.spark.frames import NOTHING_WRITTEN, Receipt, Task, exhaust, fetched, partitions, peeked, run_tasks
from foreachonce.spark.gather import Gather

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame

# The fault points that a commit passes, in order.
TASK_POINTS: tuple[Point, ...] = (
    "fence-begun", "fenced", "transaction-begun", "rows-half", "rows-written", "entry-written", "commit-begun", "committed",
)  # fmt: skip
DRIVER_POINTS: tuple[Point, ...] = (
    "transaction-begun", "rows-half", "rows-written", "entry-written", "commit-begun", "committed",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class KafkaBatch:
    """One epoch and how it becomes transactions; it is pickled to tasks.

    Args:
        ledger: the stream's ledger topic.
        entry: the epoch's entry, without its rows.
        topic: the topic of all rows; None where each row names its own.
        timeout_ms: the transactions' time-out.
        parts: how many transactions it is made of.
        token, ids: of the run, as in :class:`~foreachonce.kafka.history.Taken`.
    """

    ledger: LedgerTopic
    entry: Entry
    topic: str | None
    timeout_ms: int
    parts: int = 1
    token: int = 0
    ids: int = 1

    def producer(self, part: int) -> TransactionalProducer:
        """A producer for one of the transactions, which has fenced off all others of its transactional id."""
        producer = TransactionalProducer(self.ledger, part, self.timeout_ms)
        fault("fence-begun")
        producer.fence()
        fault("fenced")
        return producer

    def read(self) -> TopicHistory:
        """Read the ledger, with all that the epoch's transactions have committed by now."""
        if self.parts > 1:
            self.ledger.wait_until_settled(self.timeout_ms / 1000)
        return self.ledger.read_for(self.entry.epoch)

    def committed(self, history: TopicHistory) -> frozenset[int]:
        """The epoch's committed transactions. Certain for those whose transactional id was fenced before the read.

        Raises:
            Fenced, Conflict: the epoch must no longer be written.
        """
        epoch = self.entry.epoch
        if history.head is not None and history.head.seq == self.entry.seq and history.head.epoch == epoch:
            return frozenset(range(self.parts))
        history.check_next(epoch, self.entry.seq - 1)
        unfinished = history.unfinished_at(self.entry.seq)
        return frozenset() if unfinished is None else unfinished.committed

    def commit_part(self, producer: TransactionalProducer, part: int, batches: Iterable[pa.RecordBatch]) -> Part:
        """Commit one of the transactions: rows, then entry."""
        with producer.transaction():
            fault("transaction-begun")
            rows = send(producer, batches, self.topic)
            fault("rows-written")
            entry = replace(self.entry, time=datetime.now(timezone.utc))
            record = Part(entry=entry, part=part, parts=self.parts, rows=rows, token=self.token, ids=self.ids)
            producer.put_entry(record)
            fault("entry-written")
            producer.flush()
            fault("commit-begun")
        fault("committed")
        return record


Attempt: TypeAlias = Callable[[KafkaBatch, TopicHistory], TopicHistory]

# How many streams a process keeps a producer for. Each has connections and threads, and nothing announces the end of a run.
KEPT = 16


class HeldStream:
    """What a run knows of a stream that it has taken. The next run of the stream replaces it.

    It belongs to the process, because sinks are pickled and a run may write by several. It lives as long as the ledger of a
    sink that uses it, and is otherwise forgotten once so many other streams were written.

    Args:
        run_id: the run's id.
        history: the newest records of the ledger topic, as this run has left it; None after an error, until they are read
            again.

    Attributes:
        is_in_doubt: a transaction may still be open or under way.
        gather: what the run has learned of its batches.
    """

    def __init__(self, run_id: str, history: TopicHistory) -> None:
        self.run_id = run_id
        self.history: TopicHistory | None = history
        self.is_in_doubt = False
        self.gather = Gather()
        self._producer: TransactionalProducer | None = None

    def keep(self, producer: TransactionalProducer) -> None:
        """Keep a producer of the first transactional id for the next batch, unless its last commit was not clean."""
        self._producer = producer if producer.is_clean else None
        with _lock:
            streams = [*(each for each in _recent if each is not self), self]
            _recent[:] = streams[-KEPT:]
        for each in streams[:-KEPT]:
            each.release()

    def release(self) -> None:
        """Drop the producer: the next batch fences anew."""
        self._producer = None

    def commit(self, batch: KafkaBatch, attempt: Attempt) -> int:
        """Commit a batch by an attempt, which gets the batch and the ledger before it and returns the ledger after it.

        Returns:
            The number of its rows.

        Raises:
            Fenced, Conflict, FrameError, WriteFailed: nothing was written, or no more of the epoch than before.
            CommitInDoubt: a reply or a task was lost; the ledger shows the outcome.
        """
        if self.history is None:
            raise not_held(batch.entry)
        before, self.history = self.history, None  # known again once everything went well
        if before.holder is not None:
            batch = replace(batch, token=before.holder.token, ids=before.holder.ids)
        try:
            after = self._try_twice(batch, attempt, before)
        except (BatchFailed, CommitInDoubt):
            # Of a job that failed, a task may have its transaction open still.
            self.is_in_doubt = True
            self.release()
            raise
        except BaseException:
            self.release()
            raise
        self.history = after
        return 0 if after.head is None else after.head.rows or 0

    def _try_twice(self, batch: KafkaBatch, attempt: Attempt, before: TopicHistory) -> TopicHistory:
        """Try again if another run has fenced this one off but left it the stream, because the ledger refused that run."""
        try:
            return attempt(batch, before)
        except Conflict:
            self.release()
            epoch = batch.entry.epoch
            history = batch.ledger.read_for(epoch)
            history.check_next(epoch, batch.entry.seq - 1)
            return attempt(batch, history)

    def commit_rows(self, batch: KafkaBatch, rows: Iterable[pa.RecordBatch], before: TopicHistory) -> TopicHistory:
        """Commit a batch of one transaction by the kept producer, or by a new one; return the ledger after it."""
        producer = self._producer
        if producer is None:
            producer = batch.producer(0)
            if batch.committed(batch.read()):
                raise Conflict(f"stream {batch.entry.stream!r}: {batch.entry.what} is in the ledger already.")
        record = batch.commit_part(producer, 0, rows)
        self.keep(producer)
        return before.followed_by(record)


_lock = Lock()
_held: WeakValueDictionary[LedgerTopic, HeldStream] = WeakValueDictionary()
# The streams that were written last, the newest at the end.
_recent: list[HeldStream] = []


def hold(topic: LedgerTopic, run_id: str, history: TopicHistory) -> HeldStream:
    """Note that a run has taken a stream, in place of an earlier run of this process."""
    held = HeldStream(run_id, history)
    with _lock:
        earlier = _held.get(topic)
        _recent[:] = [each for each in _recent if each is not earlier]
        _held[topic] = held
    return held


def held_by(topic: LedgerTopic, run_id: str) -> HeldStream | None:
    """What is known of a stream that the run has taken; None if this process does not know that it has."""
    held = _held.get(topic)
    return held if held is not None and held.run_id == run_id else None


def not_held(entry: Entry) -> Conflict:
    """The error of a run that must take the stream first."""
    return Conflict(f"stream {entry.stream!r}: run {entry.run_id} does not hold it. Nothing was written.")


Path = Literal["auto", "driver", "task"]


def write(held: HeldStream, batch: KafkaBatch, frame: DataFrame, path: Path, transactions: int) -> int:
    """Commit a frame's rows with their entry, and return their number.

    An unfinished epoch is completed with as many transactions as it was started with.

    Raises:
        Fenced, Conflict, FrameError, WriteFailed: nothing was written, or no more of the epoch than before.
        CommitInDoubt: a reply or a task was lost; the ledger shows the outcome.
    """

    def attempt(batch: KafkaBatch, before: TopicHistory) -> TopicHistory:
        unfinished = before.unfinished_at(batch.entry.seq)
        rows = _rows_for_driver(held.gather, frame, path, batch.entry.position.records) if unfinished is None else None
        if rows is not None:
            return held.commit_rows(batch, rows, before)
        held.release()  # tasks take the transactional ids
        parts = transactions if unfinished is None else unfinished.parts
        return _write_parts(held.gather, replace(batch, parts=parts), frame)

    return held.commit(batch, attempt)


def _rows_for_driver(gather: Gather, frame: DataFrame, path: Path, records: int | None) -> list[pa.RecordBatch] | None:
    if path == "driver":
        note_path("driver")
        return fetched(frame)
    return gather.few(frame, records) if path == "auto" else None


def _write_parts(gather: Gather, batch: KafkaBatch, frame: DataFrame) -> TopicHistory:
    """Write by tasks, and return the ledger after it."""
    _run_tasks(gather, batch, frame)
    history = batch.read()
    missing = frozenset(range(batch.parts)) - batch.committed(history)
    for part in missing:  # no row has hashed to it
        producer = batch.producer(part)
        if part not in batch.committed(batch.read()):
            batch.commit_part(producer, part, [])
    return batch.read() if missing else history


def _run_tasks(gather: Gather, batch: KafkaBatch, frame: DataFrame) -> None:
    if batch.parts == 1:
        gather.run(frame, _task(batch), tasks=partitions(frame))
        return
    note_path(f"{batch.parts} tasks, a transaction each")
    try:
        run_tasks(split(frame, batch.parts), _task(batch))
    except ForeachOnceError as error:
        others = (
            f"This one of the batch's {batch.parts} transactions wrote nothing. Others may be committed, and the next start "
            "of the same batch completes it."
        )
        raise type(error)(f"{str(error).removesuffix(NOTHING_WRITTEN).rstrip()} {others}") from error


def _task(batch: KafkaBatch) -> Task:
    def write_part(batches: Iterable[pa.RecordBatch]) -> Receipt:
        first, batches = peeked(batches)
        if first is None and batch.parts > 1:
            return Receipt(0, 0)
        part = 0 if first is None or batch.parts == 1 else first.column(PART)[0].as_py()
        producer = batch.producer(part)
        if part in batch.committed(batch.read()):
            exhaust(batches)
            return Receipt(part, 0)
        checked = (_check_part(part, rows) for rows in batches)
        return Receipt(part, batch.commit_part(producer, part, checked).rows)

    return write_part


def _check_part(part: int, rows: pa.RecordBatch) -> pa.RecordBatch:
    """Refuse rows of another part: they belong to another transaction."""
    if PART in rows.schema.names and set(rows.column(PART).unique().to_pylist()) != {part}:
        raise Conflict("Spark put rows of two parts into one task. Nothing was written. Use transactions=1.")
    return rows
