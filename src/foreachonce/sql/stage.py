"""Staging tables: where many tasks write side by side what one transaction then moves into place."""

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
from foreachonce.sql.batch import Batch
from foreachonce.sql.merge import apply, merge
from foreachonce.sql.table import OP, Rows, quoted

ATTEMPT = "foreachonce_attempt"
PREFIX = "foreachonce_stage_"
# MariaDB makes columns as wide as the values that they are made of: CHAR alone would have no length.
_OP_TYPE = sa.Text().with_variant(mysql.CHAR(190), "mysql")
_BIGGEST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Stage:
    """A staging table for some rows of a batch; rows carry their task's attempt id beside their columns.

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

    def promote(self, connection: Connection, batch: Batch, receipts: Sequence[Receipt]) -> int:
        """Move the accepted attempts' rows into the table, empty the stage, and return their number.

        Raises:
            WriteFailed: the stage does not hold what the tasks have written.
        """
        expected, table = sum(receipt.rows for receipt in receipts), self.table
        accepted = table.c[ATTEMPT].in_([receipt.attempt for receipt in receipts])
        found = connection.execute(sa.select(sa.func.count()).select_from(table).where(accepted)).scalar_one()
        if found != expected:
            raise WriteFailed(
                f"the staging table {self.name} holds {found} rows of this batch where its tasks wrote {expected}; "
                "the server has restarted. Nothing was written."
            )
        insert(connection, batch, self.rows, sa.select(*(table.c[name] for name in self.rows.staged)).where(accepted))
        connection.exec_driver_sql(f"{batch.database.empty} {quoted(connection, table)}")
        return expected


def insert(connection: Connection, batch: Batch, rows: Rows, source: sa.Select[Any]) -> None:
    """Bring the rows that ``source`` selects into the table, as its mode says."""
    mode = rows.target.mode
    if mode == "merge":
        return merge(connection, batch.database, rows, source)
    if mode == "changes":
        return apply(connection, batch.database, rows, source)
    if mode == "overwrite":
        connection.execute(sa.delete(rows.clause))
    connection.execute(sa.insert(rows.clause).from_select(list(rows.columns), source))
    return None


def open_stages(batch: Batch, rows: Sequence[Rows]) -> list[Stage]:
    """A staging table for each of ``rows``; a run makes them once, and every batch empties them when it is committed."""
    stages = [Stage(each, _name(batch, each, number), batch.ledger_schema) for number, each in enumerate(rows)]
    if not stages:
        return []
    with batch.writing() as connection:
        for stage in stages:
            create(connection, stage.rows, stage.table, batch.database.stage_kind, tagged=True)
    return stages


def _name(batch: Batch, rows: Rows, number: int) -> str:
    # By shape: a function may return other columns from batch to batch.
    return f"{_prefix(batch.entry.stream)}{batch.entry.run_id[:8]}_{rows.shape}_{number}"


def create(
    connection: Connection, rows: Rows, stage: sa.TableClause, kind: str, tail: str = "", *, tagged: bool = False
) -> None:
    """A table with the target's own types and none of its constraints: CREATE TABLE … AS its columns, no rows."""
    op = (sa.cast("", _OP_TYPE).label(OP),) if rows.target.mode == "changes" else ()
    tag = (sa.cast(_BIGGEST, sa.BigInteger).label(ATTEMPT),) if tagged else ()
    nothing = sa.select(*rows.clause.c, *op, *tag).where(sa.false())
    body = nothing.compile(dialect=connection.dialect, compile_kwargs={"literal_binds": True})
    connection.exec_driver_sql(f"CREATE {kind} TABLE IF NOT EXISTS {quoted(connection, stage)} {tail} AS {body}")


def clear(connection: Connection, schema: str | None, stream: str) -> None:
    """Drop every staging table of the stream; the caller has just taken the stream over, so nobody uses them."""
    for name in left(connection, schema, stream):
        connection.execute(sa.text(f"DROP TABLE IF EXISTS {quoted(connection, sa.table(name, schema=schema))}"))


def left(connection: Connection, schema: str | None, stream: str) -> list[str]:
    """The names of the stream's staging tables."""
    return [name for name in sa.inspect(connection).get_table_names(schema=schema) if name.startswith(_prefix(stream))]


def new_name(stream: str) -> str:
    """A name for a staging table that no other one has or had."""
    return f"{_prefix(stream)}{uuid4().hex[:12]}"


def _prefix(stream: str) -> str:
    return f"{PREFIX}{sha256(stream.encode()).hexdigest()[:12]}_"
