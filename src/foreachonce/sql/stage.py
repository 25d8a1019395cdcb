"""Staging tables: many tasks write into them side by side, and one transaction moves the rows into their tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy.dialects import mysql
from sqlalchemy.engine import Connection

from foreachonce.errors import WriteFailed
from foreachonce.spark.frames import Receipt
from foreachonce.sql.databases.base import Database, LoadingDatabase
from foreachonce.sql.merge import apply, merge
from foreachonce.sql.statements import SqlBatch
from foreachonce.sql.table import OP, Rows, quoted

ATTEMPT = "foreachonce_attempt"
PREFIX = "foreachonce_stage_"
# MariaDB makes columns as wide as the values in the query: CHAR alone would have no length.
_OP_TYPE = sa.Text().with_variant(mysql.CHAR(190), "mysql")
_BIGGEST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Stage:
    """A staging table for some rows of a batch; beside its columns each row has its task's attempt id.

    Args:
        rows: what is staged.
        name, schema: the staging table's.
    """

    rows: Rows
    name: str
    schema: str | None

    @property
    def table(self) -> sa.TableClause:
        """The staging table for statements."""
        return sa.table(self.name, *(sa.column(name) for name in self.columns), schema=self.schema)

    @property
    def columns(self) -> tuple[str, ...]:
        """Its columns, in order."""
        return (*self.rows.staged, ATTEMPT)

    def promote(self, connection: Connection, database: LoadingDatabase, receipts: Sequence[Receipt]) -> int:
        """Move the rows of the accepted attempts into their table, empty the stage, and return the number of rows.

        Raises:
            WriteFailed: the stage does not hold what the tasks have written.
        """
        expected, table = sum(receipt.rows for receipt in receipts), self.table
        accepted = table.c[ATTEMPT].in_([receipt.attempt for receipt in receipts])
        staged = connection.execute(sa.select(sa.func.count()).select_from(table).where(accepted)).scalar_one()
        if staged != expected:
            raise WriteFailed(
                f"the staging table {self.name} holds {staged} rows of this batch where its tasks wrote {expected}; "
                "the server has restarted. Nothing was written."
            )
        insert(connection, database, self.rows, sa.select(*(table.c[name] for name in self.rows.staged)).where(accepted))
        database.empty_table(connection, quoted(connection, table))
        return expected


def insert(connection: Connection, database: Database, rows: Rows, source: sa.Select[Any]) -> None:
    """Bring the rows that ``source`` selects into their table, as its mode says."""
    mode = rows.target.mode
    if mode == "merge":
        return merge(connection, database, rows, source)
    if mode == "changes":
        return apply(connection, database, rows, source)
    if mode == "overwrite":
        connection.execute(sa.delete(rows.clause))
    connection.execute(sa.insert(rows.clause).from_select(list(rows.columns), source))
    return None


def open_stage(batch: SqlBatch, database: LoadingDatabase, rows: Rows, place: int) -> Stage:
    """The staging table for the rows at a place of a batch; a run creates it once, and each commit empties it."""
    # By shape: a function may return other columns from batch to batch.
    name = f"{_prefix(batch.entry.stream)}{batch.entry.run_id[:8]}_{rows.shape}_{place}"
    stage = Stage(rows, name, batch.ledger_schema)
    with batch.writing() as connection:
        database.create_stage(connection, quoted(connection, stage.table), _columns(connection, rows, is_tagged=True))
    return stage


def open_temporary(connection: Connection, database: LoadingDatabase, rows: Rows) -> sa.TableClause:
    """An empty temporary table for rows; the connection keeps it for its next batch."""
    stage = sa.table(f"{PREFIX}{rows.shape}", *(sa.column(name) for name in rows.staged))
    database.create_temporary(connection, quoted(connection, stage), _columns(connection, rows))
    # Rows of the connection's last batch, or of this transaction's last step.
    connection.execute(sa.delete(stage))
    return stage


def _columns(connection: Connection, rows: Rows, *, is_tagged: bool = False) -> str:
    """A query without rows that has the table's own types, and none of its constraints."""
    op = (sa.cast("", _OP_TYPE).label(OP),) if rows.target.mode == "changes" else ()
    tag = (sa.cast(_BIGGEST, sa.BigInteger).label(ATTEMPT),) if is_tagged else ()
    nothing = sa.select(*rows.clause.c, *op, *tag).where(sa.false())
    return str(nothing.compile(dialect=connection.dialect, compile_kwargs={"literal_binds": True}))


def clear(connection: Connection, schema: str | None, stream: str) -> None:
    """Drop all staging tables of the stream; the caller has just taken it over, so nobody uses them."""
    for name in names_of(connection, schema, stream):
        connection.execute(sa.text(f"DROP TABLE IF EXISTS {quoted(connection, sa.table(name, schema=schema))}"))


def names_of(connection: Connection, schema: str | None, stream: str) -> list[str]:
    """The names of the stream's staging tables."""
    return [name for name in sa.inspect(connection).get_table_names(schema=schema) if name.startswith(_prefix(stream))]


def new_name(stream: str) -> str:
    """A name for a staging table that no other one has or had."""
    return f"{_prefix(stream)}{uuid4().hex[:12]}"


def _prefix(stream: str) -> str:
    return f"{PREFIX}{sha256(stream.encode()).hexdigest()[:12]}_"
