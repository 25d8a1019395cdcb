"""The paths that a batch's rows can take into a database, each with one transaction for the rows and the entry.

- driver: the rows come to the driver, whose transaction writes them.
- direct: one task writes one table's rows and the entry in its own transaction. Only rows merged by key are staged, in a
  temporary table, so nothing can stay behind.
- staged: many tasks write side by side into staging tables; then the driver moves the rows of the attempts that Spark
  accepted into their tables, runs the statements between, and appends the entry, in one transaction. A row has its task's
  attempt id, which keeps the rows of repeated and abandoned attempts out.
- auto: the driver for few rows, direct where few tasks run side by side, else staged.
- spark_jdbc: Spark's own JDBC writer; see :mod:`foreachonce.sql.spark_jdbc`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Literal

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection

from foreachonce.errors import FrameError, WriteFailed
from foreachonce.events import note_path
from foreachonce.faults import Point, fault
from foreachonce.spark.frames import Receipt, Task, attempt, exhaust, fetched, partitions, peeked, run_tasks
from foreachonce.spark.gather import Gather, side_by_side
from foreachonce.sql import stage
from foreachonce.sql.databases.base import LoadingDatabase, note_table
from foreachonce.sql.stage import Stage
from foreachonce.sql.statements import SqlBatch
from foreachonce.sql.table import ATTEMPT, Rows, TableLoad
from foreachonce.sql.transaction import Statement

if TYPE_CHECKING:
    import pyarrow as pa

Path = Literal["auto", "driver", "direct", "staged"]
Work = Sequence[TableLoad | Statement]

DIRECT_POINTS: tuple[Point, ...] = ("rows-half", "rows-written", "entry-written", "committed")
DRIVER_POINTS: tuple[Point, ...] = ("rows-staged", "rows-half", "rows-written", "entry-written", "committed")
STAGED_POINTS: tuple[Point, ...] = ("rows-half", "part-staged", "rows-staged", "rows-written", "entry-written", "committed")

# Auto lets one task write what at most this many compute side by side: a shuffle costs less than writing rows twice, into
# a stage and from there. See docs/decisions/0002-direct-or-staged.md.
DIRECT_TASKS = 4

# A part of the transaction that commits a batch: does its work, and returns how many rows it brought.
Step = Callable[[Connection], int]


class WritePath(ABC):
    """A path of a batch's rows into a database."""

    @abstractmethod
    def write(self, batch: SqlBatch, work: Work) -> int:
        """Carry the work out and append the entry, in one transaction; return the number of rows."""

    @abstractmethod
    def clear(self, url: URL, schema: str | None, stream: str) -> None:
        """Drop the staging tables that earlier runs of the stream left; ``schema`` is the ledger's."""


def finish(batch: SqlBatch, steps: Sequence[Step]) -> int:
    """Carry the steps out in order and append the entry, in one transaction; return the number of rows."""
    fault("rows-staged")
    count, done = 0, 0
    try:
        with batch.writing() as connection:
            for step in steps:
                count += step(connection)
                done += 1
            batch.append_entry(connection, count)
    except (FrameError, WriteFailed) as error:
        if len(steps) == 1 or done == len(steps):
            raise
        raise type(error)(f"step {done + 1} of the {len(steps)} of tx: {error}") from None
    fault("committed")
    return count


@dataclass(frozen=True)
class LoadingPath(WritePath):
    """A path by the database's own bulk load. Subclasses say how one load's rows travel."""

    database: LoadingDatabase
    gather: Gather = field(default_factory=Gather, compare=False)

    def write(self, batch: SqlBatch, work: Work) -> int:
        """Carry every load, then finish in the driver."""
        steps: list[Step] = []
        for place, item in enumerate(work):
            if isinstance(item, Statement):
                steps.append(partial(item.run, database=self.database))
            else:
                steps.append(self.carry(batch, item, place))
        return finish(batch, steps)

    @abstractmethod
    def carry(self, batch: SqlBatch, load: TableLoad, place: int) -> Step:
        """Bring the rows to where the returned step can move them into their table; ``place`` is the load's in the work."""

    def clear(self, url: URL, schema: str | None, stream: str) -> None:
        """See :class:`WritePath`."""
        with self.database.writing(url) as connection:
            stage.clear(connection, schema, stream)


class DriverPath(LoadingPath):
    """All rows come to the driver's memory."""

    def carry(self, batch: SqlBatch, load: TableLoad, place: int) -> Step:
        """Fetch the rows."""
        note_path("driver")
        return self.from_memory(load, fetched(load.frame))

    def from_memory(self, load: TableLoad, batches: Sequence[pa.RecordBatch]) -> Step:
        """The step that writes rows which the driver has."""
        return partial(_load, database=self.database, rows=load.rows, batches=batches)


class StagedPath(LoadingPath):
    """Tasks write side by side into staging tables; on a database with one writer one task does."""

    def carry(self, batch: SqlBatch, load: TableLoad, place: int) -> Step:
        """Stage the rows."""
        target = stage.open_stage(batch, self.database, load.rows, place)
        task = _staging(batch, self.database, target)
        if self.database.is_parallel:
            note_path("many tasks, by a stage")
            receipts = run_tasks(load.frame, task)
        else:
            receipts = self.gather.run(load.frame, task, tasks=partitions(load.frame))
        return partial(target.promote, database=self.database, receipts=receipts)


class DirectPath(StagedPath):
    """One task writes a batch that is a single load; a batch of several steps is staged."""

    def write(self, batch: SqlBatch, work: Work) -> int:
        """See :class:`WritePath`."""
        if len(work) != 1 or not isinstance(load := work[0], TableLoad):
            return super().write(batch, work)
        return self.write_one(batch, load, partitions(load.frame))

    def write_one(self, batch: SqlBatch, load: TableLoad, tasks: int | None) -> int:
        """Write a single load, which so many tasks compute."""
        receipts = self.gather.run(load.frame, _direct(batch, self.database, load.rows), tasks=tasks)
        return sum(receipt.rows for receipt in receipts)


class AutoPath(LoadingPath):
    """The driver where the rows are few, one task where the partitions are, else staging tables."""

    def write(self, batch: SqlBatch, work: Work) -> int:
        """See :class:`WritePath`."""
        if len(work) != 1 or not isinstance(load := work[0], TableLoad):
            return super().write(batch, work)
        if (step := self._from_driver(batch, load)) is not None:
            return finish(batch, [step])
        tasks = partitions(load.frame)
        at_once = side_by_side(load.frame, tasks)
        if not self.database.is_parallel or (at_once is not None and at_once <= DIRECT_TASKS):
            return DirectPath(self.database, self.gather).write_one(batch, load, tasks)
        return StagedPath(self.database, self.gather).write(batch, work)

    def carry(self, batch: SqlBatch, load: TableLoad, place: int) -> Step:
        """Choose for each load of a batch of several steps."""
        step = self._from_driver(batch, load)
        return StagedPath(self.database, self.gather).carry(batch, load, place) if step is None else step

    def _from_driver(self, batch: SqlBatch, load: TableLoad) -> Step | None:
        batches = self.gather.few(load.frame, batch.entry.position.records)
        return None if batches is None else DriverPath(self.database).from_memory(load, batches)


PATHS: dict[Path, type[LoadingPath]] = {
    "auto": AutoPath,
    "driver": DriverPath,
    "direct": DirectPath,
    "staged": StagedPath,
}


# --- what a task or the driver does with a connection ----------------------------------------------------------------


def _direct(batch: SqlBatch, database: LoadingDatabase, rows: Rows) -> Task:
    """The task that writes a whole batch."""

    def task(batches: Iterable[pa.RecordBatch]) -> Receipt:
        number, tries = attempt()
        # The first rows may take long to compute, and a transaction that waits for them holds locks.
        _, batches = peeked(batches)
        with batch.writing(executor=True) as connection:
            # A task that Spark repeats may have committed before. The ledger's keys would refuse it too, but later.
            if tries > 0 and batch.is_committed(connection):
                # Read the input to its end: what computes it may keep state, which this attempt must commit.
                exhaust(batches)
                return Receipt(number, 0)
            count = _load(connection, database, rows, batches)
            batch.append_entry(connection, count)
        fault("committed")
        return Receipt(number, count)

    return task


def _staging(batch: SqlBatch, database: LoadingDatabase, target: Stage) -> Task:
    """The task that writes one partition into a staging table."""

    def task(batches: Iterable[pa.RecordBatch]) -> Receipt:
        number, _ = attempt()
        first, tagged = peeked(_tagged(_watched(batches), number))
        if first is None:
            return Receipt(number, 0)
        with batch.writing(executor=True) as connection, stage.named(connection, target.rows, target.name):
            count = database.load(connection, target.table, target.columns, tagged)
        fault("part-staged")
        return Receipt(number, count)

    return task


def _load(connection: Connection, database: LoadingDatabase, rows: Rows, batches: Iterable[pa.RecordBatch]) -> int:
    """Write rows into their table; those that are merged by key pass through a temporary table."""
    watched = _watched(batches)
    if rows.target.is_keyed:
        temporary = stage.open_temporary(connection, database, rows)
        with stage.named(connection, rows, temporary.name):
            count = database.load(connection, temporary, rows.staged, watched)
        stage.insert(connection, database, rows, sa.select(*temporary.c), count)
        return count
    note_table(connection, rows.target)
    if rows.target.mode == "overwrite":
        stage.empty(connection, rows)
    count = database.load(connection, rows.clause, rows.columns, watched)
    rows.refuse_altered(connection, database)
    return count


def _watched(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        yield batch
        fault("rows-half")


def _tagged(batches: Iterable[pa.RecordBatch], number: int) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa

    for batch in batches:
        if batch.num_rows:
            tag = pa.repeat(pa.scalar(number, pa.int64()), batch.num_rows)
            yield pa.RecordBatch.from_arrays([*batch.columns, tag], names=[*batch.schema.names, ATTEMPT])
