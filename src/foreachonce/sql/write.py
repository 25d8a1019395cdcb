"""The three ways of a batch into a database, each with one transaction that readers see at once or not at all.

- driver: few rows come to the driver, whose transaction brings them and the entry.
- direct: one task carries one table's rows and the entry in a transaction of its own. Nothing is staged but, for rows that
  go by key, in a temporary table, and nothing can stay behind.
- staged: many tasks write side by side into unlogged staging tables; then the driver moves what Spark accepted of them
  into their tables, runs the statements between, and appends the entry, in one transaction. Rows carry their task's attempt
  id, so that those of a repeated or abandoned attempt stay out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from foreachonce.faults import Point, fault
from foreachonce.spark.frames import Receipt, Task, attempt, exhaust
from foreachonce.sql.arrow import peeked
from foreachonce.sql.batch import Batch
from foreachonce.sql.databases.base import SqlType
from foreachonce.sql.stage import ATTEMPT, PREFIX, Stage, create, insert
from foreachonce.sql.table import Rows

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame

DIRECT_POINTS: tuple[Point, ...] = ("rows-half", "rows-written", "entry-written", "committed")
DRIVER_POINTS: tuple[Point, ...] = ("rows-staged", "rows-half", "rows-written", "entry-written", "committed")
STAGED_POINTS: tuple[Point, ...] = ("rows-half", "part-staged", "rows-staged", "rows-written", "entry-written", "committed")

# A part of the transaction that ends a staged batch: does its work, and returns how many rows it brought.
Step = Callable[[Connection], int]


@dataclass(frozen=True, slots=True)
class Load:
    """A frame, checked and in the form in which it travels; where its rows go, and the types of the columns there."""

    frame: DataFrame
    rows: Rows
    types: tuple[SqlType, ...]


@dataclass(frozen=True, slots=True)
class Fetched:
    """Rows that are in the driver already."""

    rows: Rows
    batches: Sequence[pa.RecordBatch]

    def run(self, connection: Connection, batch: Batch) -> int:
        """Bring them into place; return how many."""
        return _load(connection, batch, self.rows, self.batches)


def direct(batch: Batch, rows: Rows) -> Task:
    """The task that carries a whole batch."""

    def task(batches: Iterable[pa.RecordBatch]) -> Receipt:
        number, tries = attempt()
        with batch.writing(executor=True) as connection:
            # A task that Spark repeats may have committed before; the ledger's keys would refuse it, later and dearer.
            if tries > 0 and batch.is_committed(connection):
                # Read to the end all the same: what computes the rows may keep state, which this attempt must commit.
                exhaust(batches)
                return Receipt(number, 0)
            count = _load(connection, batch, rows, batches)
            batch.append_entry(connection, count)
        fault("committed")
        return Receipt(number, count)

    return task


def _load(connection: Connection, batch: Batch, rows: Rows, batches: Iterable[pa.RecordBatch]) -> int:
    watched = _watched(batches)
    if rows.target.is_keyed:
        return _load_by_key(connection, batch, rows, watched)
    if rows.target.mode == "overwrite":
        connection.execute(sa.delete(rows.clause))
    return batch.database.load(connection, rows.clause, rows.columns, watched)


def _load_by_key(connection: Connection, batch: Batch, rows: Rows, batches: Iterable[pa.RecordBatch]) -> int:
    """By a temporary table, which the connection keeps for its next batch."""
    stage = sa.table(f"{PREFIX}{rows.shape}", *(sa.column(name) for name in rows.staged))
    create(connection, rows, stage, "TEMPORARY", batch.database.temporary)
    if not batch.database.empties_temporary:
        connection.execute(sa.delete(stage))
    count = batch.database.load(connection, stage, rows.staged, batches)
    insert(connection, batch, rows, sa.select(*stage.c))
    return count


def staged(batch: Batch, stage: Stage) -> Task:
    """The task that carries one partition into a staging table."""

    def task(batches: Iterable[pa.RecordBatch]) -> Receipt:
        number, _ = attempt()
        first, tagged = peeked(_tagged(_watched(batches), number))
        if first is None:
            return Receipt(number, 0)
        with batch.writing(executor=True) as connection:
            count = batch.database.load(connection, stage.table, stage.columns, tagged)
        fault("part-staged")
        return Receipt(number, count)

    return task


def finish(batch: Batch, steps: Sequence[Step]) -> int:
    """Carry the steps out in order, and append the entry, in one transaction; return the number of rows."""
    fault("rows-staged")
    with batch.writing() as connection:
        count = sum(step(connection) for step in steps)
        batch.append_entry(connection, count)
    fault("committed")
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
