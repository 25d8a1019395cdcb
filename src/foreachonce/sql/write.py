"""The two ways of a batch into a table, both with one transaction that readers see at once or not at all.

- direct: one task carries the rows and the entry in a transaction of its own. Nothing is staged but a merge's temporary
  table, and nothing can stay behind.
- staged: many tasks write side by side into an unlogged staging table; then the driver moves what Spark accepted of it
  into the table, with the entry, in one transaction. Rows carry their task's attempt id, so that those of a repeated or
  abandoned attempt stay out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import chain
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection
from sqlalchemy.exc import DBAPIError

from foreachonce.entry import Entry
from foreachonce.errors import DuplicateKeys, WriteFailed
from foreachonce.faults import fault
from foreachonce.spark.frames import Receipt, Task, attempt, exhaust
from foreachonce.sql import ledger
from foreachonce.sql.database import Database
from foreachonce.sql.table import Target

if TYPE_CHECKING:
    import pyarrow as pa

ATTEMPT = "foreachonce_attempt"
STAGE = "foreachonce_stage_"
EXAMPLES = 3


@dataclass(frozen=True, slots=True)
class Write:
    """All that a task must know to write its part of a batch; it travels to the executors.

    Args:
        database, url, target: where the rows go.
        columns: the frame's columns, in order.
        ledger_schema, identity: which ledger, and the identity that the driver has read there.
        entry: the entry that is committed with the rows.
    """

    database: Database
    url: URL
    target: Target
    columns: tuple[str, ...]
    ledger_schema: str | None
    identity: str
    entry: Entry

    def append_entry(self, connection: Connection, rows: int) -> None:
        """Append the entry to the ledger, in the transaction of the rows."""
        fault("rows-written")
        ledger.append(connection, self.ledger_schema, self.entry, rows)
        fault("entry-written")


def direct(write: Write) -> Task:
    """The task that carries a whole batch."""

    def task(batches: Iterable[pa.RecordBatch]) -> Receipt:
        number, tries = attempt()
        with write.database.writing(write.url, executor=True) as connection:
            ledger.check_identity(connection, write.ledger_schema, write.identity)
            # A task that Spark repeats may have committed before; the ledger's keys would refuse it, later and dearer.
            if tries > 0 and ledger.has_batch(connection, write.ledger_schema, write.entry):
                # Read to the end all the same: what computes the rows may keep state, which this attempt must commit.
                exhaust(batches)
                return Receipt(number, 0)
            rows = _load(connection, write, batches)
            write.append_entry(connection, rows)
        fault("committed")
        return Receipt(number, rows)

    return task


def _load(connection: Connection, write: Write, batches: Iterable[pa.RecordBatch]) -> int:
    watched = _watched(batches)
    if not write.target.key:
        return write.database.load(connection, write.target.clause(write.columns), write.columns, watched)
    stage = sa.table(f"{STAGE}rows", *(sa.column(name) for name in write.columns))
    _create_stage(connection, write, stage, kind="TEMPORARY", extra=())
    rows = write.database.load(connection, stage, write.columns, watched)
    _merge(connection, write, stage)
    connection.execute(sa.text(f"DROP TABLE {_quoted(connection, stage)}"))
    return rows


def stage_name(entry: Entry) -> str:
    """A staging table's name: by stream and query, so that a later run can clear its leftovers; then by run and batch."""
    return f"{_stage_prefix(entry)}{entry.run_id[:8]}_{entry.batch_id}"


def _stage_prefix(entry: Entry) -> str:
    # Another query under the same stream's name keeps its stage: the ledger must tell it that it has lost, not a lost table.
    owner = f"{entry.stream}/{entry.query_id}"
    return f"{STAGE}{sha256(owner.encode()).hexdigest()[:12]}_"


def open_stage(write: Write) -> sa.TableClause:
    """Make the batch's staging table, and clear away those that earlier runs of the query have left."""
    columns = (*write.columns, ATTEMPT)
    stage = sa.table(stage_name(write.entry), *(sa.column(name) for name in columns), schema=write.ledger_schema)
    with write.database.writing(write.url) as connection:
        for name in sa.inspect(connection).get_table_names(schema=write.ledger_schema):
            if name.startswith(_stage_prefix(write.entry)):
                old = sa.table(name, schema=write.ledger_schema)
                connection.execute(sa.text(f"DROP TABLE IF EXISTS {_quoted(connection, old)}"))
        _create_stage(connection, write, stage, kind="UNLOGGED", extra=(sa.cast(0, sa.BigInteger).label(ATTEMPT),))
    return stage


def staged(write: Write, stage: sa.TableClause) -> Task:
    """The task that carries one partition into the staging table."""

    def task(batches: Iterable[pa.RecordBatch]) -> Receipt:
        number, _ = attempt()
        tagged = _tagged(_watched(batches), number)
        first = next(tagged, None)
        if first is None:
            return Receipt(number, 0)
        with write.database.writing(write.url, executor=True) as connection:
            rows = write.database.load(connection, stage, (*write.columns, ATTEMPT), chain([first], tagged))
        return Receipt(number, rows)

    return task


def promote(write: Write, stage: sa.TableClause, receipts: Sequence[Receipt]) -> int:
    """Move the accepted attempts' rows from the stage into the table, with the entry, in one transaction."""
    fault("rows-staged")
    expected = sum(receipt.rows for receipt in receipts)
    accepted = sa.column(ATTEMPT).in_([receipt.attempt for receipt in receipts])
    with write.database.writing(write.url) as connection:
        found = connection.execute(sa.select(sa.func.count()).select_from(stage).where(accepted)).scalar_one()
        if found != expected:
            raise WriteFailed(
                f"the staging table {stage.name} holds {found} rows of this batch where its tasks wrote {expected}; "
                "another run of the stream has cleared it, or the server restarted. Nothing was written."
            )
        if write.target.key:
            _merge(connection, write, stage, accepted)
        else:
            columns: list[sa.ColumnClause[Any]] = [sa.column(name) for name in write.columns]
            rows = sa.select(*columns).select_from(stage).where(accepted)
            table = write.target.clause(write.columns)
            connection.execute(sa.insert(table).from_select(list(write.columns), rows))
        connection.execute(sa.text(f"DROP TABLE {_quoted(connection, stage)}"))
        write.append_entry(connection, expected)
    fault("committed")
    return expected


def _create_stage(
    connection: Connection, write: Write, stage: sa.TableClause, *, kind: str, extra: tuple[sa.Label[int], ...]
) -> None:
    """A table with the target's own types and none of its constraints: CREATE TABLE … AS its columns, no rows."""
    target = write.target.clause(write.columns)
    rows = sa.select(*target.c, *extra).where(sa.false())
    body = rows.compile(dialect=connection.dialect, compile_kwargs={"literal_binds": True})
    connection.exec_driver_sql(f"CREATE {kind} TABLE {_quoted(connection, stage)} AS {body}")


def _merge(connection: Connection, write: Write, stage: sa.TableClause, accepted: Any = None) -> None:
    """Bring the stage's rows into the table, one for each key, or refuse."""
    rows = _winners(write, stage, accepted)
    _refuse_null_keys(connection, write, rows)
    if not write.database.finds_duplicate_keys:
        _refuse_duplicates(connection, write, rows)
    statement = write.database.upsert(write.target.clause(write.columns), write.columns, write.target.key, rows)
    try:
        with connection.begin_nested():
            connection.execute(statement)
    except DBAPIError:
        # Where a key came twice the database has refused the whole statement; say which key it was.
        _refuse_duplicates(connection, write, rows)
        raise


def _winners(write: Write, stage: sa.TableClause, accepted: Any) -> sa.Select[Any]:
    """The rows to merge: all, or with order_by those with the greatest values of each key. Ties stay, to be refused."""
    columns: list[sa.ColumnClause[Any]] = [sa.column(name) for name in write.columns]
    everything = sa.select(*columns).select_from(stage)
    if accepted is not None:
        everything = everything.where(accepted)
    if not write.target.order_by:
        return everything
    best: list[sa.ColumnElement[Any]] = [sa.column(name).desc().nulls_last() for name in write.target.order_by]
    rank = sa.func.rank().over(partition_by=[sa.column(name) for name in write.target.key], order_by=best)
    ranked = everything.add_columns(rank.label("foreachonce_rank")).subquery("ranked")
    return sa.select(*(ranked.c[name] for name in write.columns)).where(ranked.c.foreachonce_rank == 1)


def _refuse_null_keys(connection: Connection, write: Write, rows: sa.Select[Any]) -> None:
    inner = rows.subquery("incoming")
    for name in write.target.key:
        if connection.execute(sa.select(sa.literal(1)).where(inner.c[name].is_(None)).limit(1)).first():
            raise WriteFailed(
                f"table {write.target}: key column {name!r} holds NULL in this batch, which equals no other NULL; "
                "filter such rows out, or choose another key=. Nothing was written."
            )


def _refuse_duplicates(connection: Connection, write: Write, rows: sa.Select[Any]) -> None:
    inner = rows.subquery("incoming")
    key = [inner.c[name] for name in write.target.key]
    twice = sa.select(*key, sa.func.count().label("times")).group_by(*key).having(sa.func.count() > 1).limit(EXAMPLES)
    found = connection.execute(twice).all()
    if found:
        examples = "; ".join(f"({', '.join(map(repr, row[:-1]))}) {row[-1]} times" for row in found)
        why = "order_by= leaves ties" if write.target.order_by else "order_by= can say which row wins"
        raise DuplicateKeys(
            f"table {write.target}: this batch holds the same key=({', '.join(write.target.key)}) more than once: "
            f"{examples}; {why}. Nothing was written."
        )


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


def _quoted(connection: Connection, table: sa.TableClause) -> str:
    return connection.dialect.identifier_preparer.format_table(table)
