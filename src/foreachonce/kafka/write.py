"""How a batch's rows reach Kafka: by the driver in one transaction, or by tasks in one or in several side by side."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Literal

from foreachonce.errors import Conflict, ForeachOnceError
from foreachonce.kafka.batch import HeldStream, KafkaBatch
from foreachonce.kafka.history import TopicHistory
from foreachonce.kafka.rows import PART, split
from foreachonce.spark.frames import Receipt, Task, exhaust, fetched, few, run_tasks

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame

Path = Literal["auto", "driver", "task"]
# How an error ends that is about a whole batch.
NOTHING_WRITTEN = " Nothing was written."


def write(held: HeldStream, batch: KafkaBatch, frame: DataFrame, path: Path, transactions: int) -> int:
    """Commit a frame's rows with their entry, and return their number.

    An unfinished epoch is completed with as many transactions as it was started with.

    Raises:
        Fenced, Conflict, FrameError, WriteFailed: nothing was written, or no more of the epoch than before.
        CommitInDoubt: a reply or a task was lost; the ledger shows the outcome.
    """

    def attempt(batch: KafkaBatch, before: TopicHistory) -> TopicHistory:
        unfinished = before.unfinished_at(batch.entry.seq)
        rows = _rows_for_driver(frame, path, batch.entry.position.records) if unfinished is None else None
        if rows is not None:
            return held.commit_rows(batch, rows, before)
        held.release()  # tasks take the transactional ids
        return _write_parts(replace(batch, parts=transactions if unfinished is None else unfinished.parts), frame)

    return held.commit(batch, attempt)


def _rows_for_driver(frame: DataFrame, path: Path, records: int | None) -> list[pa.RecordBatch] | None:
    if path == "driver":
        return fetched(frame)
    return few(frame, records) if path == "auto" else None


def _write_parts(batch: KafkaBatch, frame: DataFrame) -> TopicHistory:
    """Write by tasks, and return the ledger after it."""
    _run_tasks(batch, frame)
    history = batch.read()
    missing = frozenset(range(batch.parts)) - batch.committed(history)
    for part in missing:  # no row has hashed to it
        producer = batch.producer(part)
        if part not in batch.committed(batch.read()):
            batch.commit_part(producer, part, [])
    return batch.read() if missing else history


def _run_tasks(batch: KafkaBatch, frame: DataFrame) -> None:
    if batch.parts == 1:
        run_tasks(frame.coalesce(1), _task(batch))
        return
    try:
        run_tasks(split(frame, batch.parts), _task(batch))
    except ForeachOnceError as error:
        others = (
            f"This one of the batch's {batch.parts} transactions wrote nothing. Others may be committed, and the next start "
            "of the same batch completes it."
        )
        raise type(error)(f"{str(error).removesuffix(NOTHING_WRITTEN)} {others}") from error


def _task(batch: KafkaBatch) -> Task:
    def write_part(batches: Iterable[pa.RecordBatch]) -> Receipt:
        rest = iter(batches)
        first = next(rest, None)
        if first is None and batch.parts > 1:
            return Receipt(0, 0)
        part = 0 if first is None or batch.parts == 1 else first.column(PART)[0].as_py()
        producer = batch.producer(part)
        if part in batch.committed(batch.read()):
            exhaust(rest)
            return Receipt(part, 0)
        rows = rest if first is None else (_check_part(part, rows) for rows in chain((first,), rest))
        return Receipt(part, batch.commit_part(producer, part, rows).rows)

    return write_part


def _check_part(part: int, rows: pa.RecordBatch) -> pa.RecordBatch:
    """Refuse rows of another part: they belong to another transaction."""
    if PART in rows.schema.names and set(rows.column(PART).unique().to_pylist()) != {part}:
        raise Conflict("Spark put rows of two parts into one task. Nothing was written. Use transactions=1.")
    return rows
