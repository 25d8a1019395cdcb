"""An epoch's rows and its entry: one transaction, or several side by side, from the driver or from tasks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from itertools import chain
from typing import TYPE_CHECKING

from foreachonce.entry import Entry
from foreachonce.errors import CommitInDoubt, Conflict, ForeachOnceError
from foreachonce.faults import Point, fault
from foreachonce.kafka.history import History
from foreachonce.kafka.hold import Held, held, keep, read, refuse_others
from foreachonce.kafka.record import Part
from foreachonce.kafka.rows import PART, send, split
from foreachonce.kafka.topic import wait_until_settled
from foreachonce.kafka.writer import Writer
from foreachonce.spark.frames import Receipt, Task, exhaust, fetched, few, run_tasks

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame

    from foreachonce.kafka.ledger import KafkaLedger

# How an error ends that is true of a whole batch.
NOTHING = " Nothing was written."
# The fault points that a commit passes, in order.
TASK_POINTS: tuple[Point, ...] = (
    "fence-begun", "fenced", "transaction-begun", "rows-half", "rows-written", "entry-written", "commit-begun", "committed",
)  # fmt: skip
DRIVER_POINTS: tuple[Point, ...] = (
    "transaction-begun", "rows-half", "rows-written", "entry-written", "commit-begun", "committed",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Batch:
    """One epoch on its way into Kafka; it is pickled to tasks.

    Args:
        ledger: where its entry goes.
        entry: the entry, without its rows.
        topic: the topic of all rows; None where each row tells its own.
        timeout_ms: the transactions' time-out.
        parts: of how many transactions it is made.
        token, ids: of the run, as in :class:`~foreachonce.kafka.record.Taken`.
    """

    ledger: KafkaLedger
    entry: Entry
    topic: str | None
    timeout_ms: int
    parts: int = 1
    token: int = 0
    ids: int = 1

    def writer(self, part: int) -> Writer:
        """A producer for one of the transactions, that has fenced all others of its id."""
        stream = self.entry.stream
        writer = Writer(self.ledger.cluster, self.ledger.topic(stream), stream, part, self.timeout_ms)
        fault("fence-begun")
        writer.fence()
        fault("fenced")
        return writer

    def read(self) -> History:
        """The ledger, with all that the epoch's transactions have committed by now."""
        if self.parts > 1:
            topic = self.ledger.topic(self.entry.stream)
            wait_until_settled(self.ledger.cluster, topic, self.timeout_ms / 1000)
        return read(self.ledger, self.entry.epoch)

    def done(self, history: History) -> frozenset[int]:
        """The transactions of the epoch that are committed; of one whose id was fenced before the look, this is certain.

        Raises:
            Fenced, Conflict: the epoch is no longer to be written.
        """
        epoch = self.entry.epoch
        if history.head is not None and history.head.seq == self.entry.seq and history.head.epoch == epoch:
            return frozenset(range(self.parts))
        refuse_others(history, epoch, self.entry.seq - 1)
        begun = history.begun(self.entry.seq)
        return frozenset() if begun is None else begun.done

    def send(self, writer: Writer, part: int, batches: Iterable[pa.RecordBatch]) -> Part:
        """Commit one of the transactions: rows, then entry."""
        with writer.transaction():
            fault("transaction-begun")
            rows = send(writer, batches, self.topic)
            fault("rows-written")
            entry = replace(self.entry, time=datetime.now(timezone.utc))
            record = Part(entry=entry, part=part, parts=self.parts, rows=rows, token=self.token, ids=self.ids)
            writer.record(record)
            fault("entry-written")
            writer.flush()
            fault("commit-begun")
        fault("committed")
        return record


def write(batch: Batch, frame: DataFrame | None, path: str, transactions: int) -> int:
    """Bring an epoch into Kafka; return the number of its rows. Without a frame the entry comes alone.

    An epoch of which some transactions are there is completed with as many as it was begun with.

    Raises:
        Fenced, Conflict, FrameError, WriteFailed: nothing was written, or no more of the epoch than before.
        CommitInDoubt: a reply, or a task, was lost; the ledger tells.
    """
    ours = held(batch.ledger, batch.entry.stream, batch.entry.run_id)
    if ours is None or ours.history is None:
        raise Conflict(f"stream {batch.entry.stream!r}: run {batch.entry.run_id} does not hold it.")
    before, ours.history = ours.history, None  # known again once everything went well
    try:
        ours.history = _write_again(_held_by(batch, before), frame, path, transactions, ours, before)
    except CommitInDoubt:
        ours.writer, ours.is_in_doubt = None, True
        raise
    except BaseException:
        ours.writer = None
        raise
    return 0 if ours.history.head is None else ours.history.head.rows or 0


def _write_again(
    batch: Batch, frame: DataFrame | None, path: str, transactions: int, ours: Held, before: History
) -> History:
    """Write, once more where somebody has fenced this run off and left the stream to it: a run that was refused then."""
    try:
        return _write(batch, frame, path, transactions, ours, before)
    except Conflict:
        ours.writer = None
        epoch = batch.entry.epoch
        history = read(batch.ledger, epoch)
        refuse_others(history, epoch, batch.entry.seq - 1)
        return _write(batch, frame, path, transactions, ours, history)


def _held_by(batch: Batch, history: History) -> Batch:
    holder = history.holder
    return batch if holder is None else replace(batch, token=holder.token, ids=holder.ids)


def _write(batch: Batch, frame: DataFrame | None, path: str, transactions: int, ours: Held, before: History) -> History:
    """Write by the driver or by tasks; return the ledger as it is then."""
    if frame is None:
        return before.then(_by_driver(batch, [], ours))
    begun = before.begun(batch.entry.seq)
    rows = _rows_of_driver(frame, path, batch.entry.position.records) if begun is None else None
    if rows is not None:
        return before.then(_by_driver(batch, rows, ours))
    ours.writer = None  # tasks take the transactional ids
    batch = replace(batch, parts=transactions if begun is None else begun.parts)
    _by_tasks(batch, frame)
    history = batch.read()
    missing = frozenset(range(batch.parts)) - batch.done(history)
    for part in missing:  # no row has hashed to it
        writer = batch.writer(part)
        if part not in batch.done(batch.read()):
            batch.send(writer, part, [])
    return batch.read() if missing else history


def _by_tasks(batch: Batch, frame: DataFrame) -> None:
    if batch.parts == 1:
        run_tasks(frame.coalesce(1), _task(batch))
        return
    try:
        run_tasks(split(frame, batch.parts), _task(batch))
    except ForeachOnceError as error:
        others = (
            f"This one of the batch's {batch.parts} transactions wrote nothing; of the others some may be there, and the "
            "next start of the same batch completes it."
        )
        raise type(error)(f"{str(error).removesuffix(NOTHING)} {others}") from error


def _rows_of_driver(frame: DataFrame, path: str, records: int | None) -> list[pa.RecordBatch] | None:
    if path == "driver":
        return fetched(frame)
    return few(frame, records) if path == "auto" else None


def _by_driver(batch: Batch, rows: list[pa.RecordBatch], ours: Held) -> Part:
    writer = ours.writer
    if writer is None:
        writer = batch.writer(0)
        if batch.done(batch.read()):
            raise Conflict(f"stream {batch.entry.stream!r}: {batch.entry.what} is in the ledger already.")
    record = batch.send(writer, 0, rows)
    keep(batch.ledger, batch.entry.stream, writer)
    return record


def _task(batch: Batch) -> Task:
    def write_part(batches: Iterable[pa.RecordBatch]) -> Receipt:
        rest = iter(batches)
        first = next(rest, None)
        if first is None and batch.parts > 1:
            return Receipt(0, 0)
        part = 0 if first is None or batch.parts == 1 else first.column(PART)[0].as_py()
        writer = batch.writer(part)
        if part in batch.done(batch.read()):
            exhaust(rest)
            return Receipt(part, 0)
        given = rest if first is None else (_of(part, found) for found in chain((first,), rest))
        return Receipt(part, batch.send(writer, part, given).rows)

    return write_part


def _of(part: int, batch: pa.RecordBatch) -> pa.RecordBatch:
    """Refuse rows of another part: their transaction is another."""
    if PART in batch.schema.names and set(batch.column(PART).unique().to_pylist()) != {part}:
        raise Conflict("Spark put rows of two parts into one task; transactions=1 does without. Nothing was written.")
    return batch
