"""How all rows of a frame come to one place, a task or the driver, though as many tasks compute them as Spark takes.

Where rows are cheap to compute, the fastest way is to let the one task compute them (``coalesce(1)``): they are sent while
the next are computed, and nothing is shuffled. Where they are dear, and a stream that parses, joins or calls Python mostly
is, that leaves all cores but one idle. Spark does not tell which of the two a frame is. So the first batch is computed by
all tasks and shuffled to the one, and what each batch took decides for the next. See
docs/decisions/0018-computed-by-all-tasks.md.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

from foreachonce.events import note_path
from foreachonce.spark.frames import (
    FEW_BYTES,
    FEW_RECORDS,
    FEW_ROWS,
    Receipt,
    Task,
    estimate,
    fetched,
    partitions,
    timed,
)

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame

# Rows that were fetched in less than so many seconds are not worth more tasks than one.
QUICK = 0.2
# How many tasks at least are taken to run side by side where a frame has more partitions than one.
LEAST = 2


class Gather:
    """What a sink has learned of its batches.

    Attributes:
        is_cheap: the task that takes the rows may compute them too.
        is_quick: so may one task of the few rows that the driver fetches.
        is_whole: a frame of few rows had one partition.
    """

    def __init__(self) -> None:
        self.is_cheap = self.is_quick = self.is_whole = False

    def run(self, frame: DataFrame, task: Task, *, tasks: int | None) -> list[Receipt]:
        """Run ``task`` once, over all rows of the frame.

        Args:
            frame: the rows.
            task: what takes them.
            tasks: how many tasks would compute the frame; None where that is not known.

        Raises:
            ForeachOnceError: as :func:`~foreachonce.spark.frames.run_tasks`.
        """
        alone = tasks == 1 or self.is_cheap
        note_path("one task" if alone else "one task, after a shuffle")
        start = perf_counter()
        receipts, took, waited = timed(frame.coalesce(1) if alone else frame.repartition(1), task)
        if tasks != 1:
            # Its share of a shuffled job began when the last row was computed.
            waiting = waited if alone else perf_counter() - start - took
            at_once = max(LEAST, side_by_side(frame, tasks) or 0)
            self.is_cheap = waiting * (at_once - 1) <= took - waited
        return receipts

    def few(self, frame: DataFrame, records: int | None = None) -> list[pa.RecordBatch] | None:
        """The frame's rows, fetched to the driver, if Spark takes them for few and they are; None otherwise.

        A task in Python costs several times as much as fetching them; see docs/decisions/0009-small-batches.md.

        Args:
            frame: the batch, or what was made of it.
            records: at most how many records the batch's sources bring; None where that is not known.

        Raises:
            ForeachOnceError: as :func:`~foreachonce.spark.frames.run_tasks`.
        """
        size = estimate(frame)
        if size is None or (size > FEW_BYTES and (records is None or records > FEW_RECORDS)):
            return None
        start = perf_counter()
        # Without, a limit shuffles what has more partitions than one.
        alone = size <= FEW_BYTES and self.is_quick and not self.is_whole
        batches = fetched((frame.coalesce(1) if alone else frame).limit(FEW_ROWS + 1))
        took = perf_counter() - start
        if took < QUICK and not self.is_quick:
            self.is_whole = partitions(frame) == 1
        self.is_quick = took < QUICK
        if sum(batch.num_rows for batch in batches) > FEW_ROWS:
            return None
        note_path("driver")
        return batches


def side_by_side(frame: DataFrame, tasks: int | None) -> int | None:
    """How many tasks would compute the frame at one time; None where that is not known (Connect).

    Args:
        frame: the batch.
        tasks: how many there are; None where that is not known.
    """
    context = getattr(frame.sparkSession, "_sc", None)
    cores = None if context is None else int(context.defaultParallelism)
    known = [number for number in (tasks, cores) if number is not None]
    return min(known) if known else None
