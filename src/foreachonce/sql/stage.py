"""Rows from a staging table into their table: inserted, merged by key, or applied as changes."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy.dialects import mysql
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.expression import Executable

from foreachonce.errors import DuplicateKeys, FrameError, WriteFailed
from foreachonce.spark.frames import NOTHING_WRITTEN, Receipt
from foreachonce.sql.databases.base import Database, LoadingDatabase, note_table
from foreachonce.sql.guard import refuse_fewer, refuse_left, refuse_lost
from foreachonce.sql.statements import SqlBatch
from foreachonce.sql.table import ATTEMPT, OP, RANK, Rows, quoted

log = logging.getLogger("foreachonce")

EXAMPLES = 3
# The usual change streams' names: single letters are Debezium's, where r is a snapshot's row; words with an underscore are
# Delta's change data feed, whose preimages add nothing to the postimages.
UPSERTS = ("c", "i", "r", "u", "create", "insert", "read", "update", "update_postimage", "upsert")
DELETES = ("d", "delete")
IGNORED = ("update_preimage",)


def merge(connection: Connection, database: Database, rows: Rows, source: sa.Select[Any], count: int = 0) -> None:
    """Insert or update the rows that ``source`` selects, of which there are ``count``.

    Raises:
        DuplicateKeys: a key comes more than once, and ``order_by`` does not say which row wins.
        WriteFailed: a key holds NULL.
    """
    winners = _winners(database, rows, source)
    _refuse_null_keys(connection, rows, winners)
    _refuse_blurred_keys(connection, database, rows, winners)
    if not database.finds_duplicate_keys:
        _refuse_duplicates(connection, rows, winners)
    _upsert(connection, database, rows, winners, count)


def apply(connection: Connection, database: Database, rows: Rows, source: sa.Select[Any], count: int = 0) -> None:
    """Apply the changes that ``source`` selects, of which there are ``count``: the last one of each key.

    Raises:
        DuplicateKeys: two changes of a key are both the last.
        FrameError: a row's operation is unknown.
        WriteFailed: a key holds NULL.
    """
    _refuse_unknown_ops(connection, rows, source)
    op = sa.func.lower(sa.column(OP))
    winners = _winners(database, rows, source.where(op.not_in(IGNORED)), OP)
    _refuse_null_keys(connection, rows, winners)
    _refuse_blurred_keys(connection, database, rows, winners)
    _refuse_duplicates(connection, rows, winners)
    _delete(connection, database, rows, _of(rows, winners, DELETES))
    _upsert(connection, database, rows, _of(rows, winners, UPSERTS), count)


def _of(rows: Rows, winners: sa.Select[Any], ops: tuple[str, ...]) -> sa.Select[Any]:
    last = winners.subquery("last")
    return sa.select(*(last.c[name] for name in rows.columns)).where(sa.func.lower(last.c[OP]).in_(ops))


def _delete(connection: Connection, database: Database, rows: Rows, keys: sa.Select[Any]) -> None:
    table, deleted = rows.clause, keys.subquery("deleted")
    is_deleted = sa.exists().where(*(table.c[name] == deleted.c[name] for name in rows.target.key))
    if database.locks_in_order:
        # So that two streams into one table cannot deadlock.
        key = [table.c[name] for name in rows.target.key]
        locked = sa.select(*key).where(is_deleted).order_by(*key).with_for_update(of=table).subquery("locked")
        connection.execute(sa.select(sa.func.count()).select_from(locked))
    connection.execute(sa.delete(table).where(is_deleted))
    if rows.may_lose:
        refuse_left(connection, table, is_deleted)


def _upsert(connection: Connection, database: Database, rows: Rows, winners: sa.Select[Any], count: int) -> None:
    last, target = winners.subquery("winners"), rows.target
    # In the order of the keys, as above.
    ordered = sa.select(*(last.c[name] for name in rows.columns)).order_by(*(last.c[name] for name in target.key))
    skip = target.skip_unchanged
    fast = database.merge(connection, rows.clause, target.key, ordered, skip_unchanged=skip, count=count)
    if fast is not None and _is_done(connection, fast):
        return
    taken = _insert_or_update(connection, database, rows, winners, ordered)
    if rows.may_lose:
        refuse_lost(connection, rows.clause, target.key, winners, None if skip else taken)


def _insert_or_update(
    connection: Connection, database: Database, rows: Rows, winners: sa.Select[Any], ordered: sa.Select[Any]
) -> int:
    """Carry the database's own statements out, and return how many rows they say they took."""
    statements = database.upsert(rows.clause, rows.target.key, ordered, skip_unchanged=rows.target.skip_unchanged)
    if not database.finds_duplicate_keys:
        return sum(_taken(connection, statement) for statement in statements)
    try:
        with connection.begin_nested():
            return sum(_taken(connection, statement) for statement in statements)
    except DBAPIError:
        # Where a key came twice the database refused the whole statement; say which key it was.
        _refuse_duplicates(connection, rows, winners)
        raise


def _taken(connection: Connection, statement: Executable) -> int:
    """Carry an INSERT out, and return how many rows the database says it took."""
    return int(connection.execute(statement, execution_options={"preserve_rowcount": True}).rowcount)


def _is_done(connection: Connection, statement: Executable) -> bool:
    """Whether a statement succeeds; where it does not, it has done nothing, and its locks are released."""
    try:
        with connection.begin_nested():
            connection.execute(statement)
    except DBAPIError as error:
        if error.connection_invalidated:
            raise
        log.debug("MERGE failed, and INSERT … ON CONFLICT takes its place: %s", type(error.orig).__name__)
        return False
    return True


def _winners(database: Database, rows: Rows, source: sa.Select[Any], *more: str) -> sa.Select[Any]:
    """The rows to merge: all, or with order_by each key's rows with the greatest values. Ties stay, to be refused."""
    if not rows.target.order_by:
        return source
    best = [
        part
        for name in rows.target.order_by
        for part in _greatest_first(sa.column(name), database.sortable(sa.column(name), rows.kind(name)))
    ]
    rank = sa.func.rank().over(partition_by=[sa.column(name) for name in rows.target.key], order_by=best)
    ranked = source.add_columns(rank.label(RANK)).subquery("ranked")
    return sa.select(*(ranked.c[name] for name in (*rows.columns, *more))).where(ranked.c[RANK] == 1)


def _greatest_first(column: sa.ColumnElement[Any], by: sa.ColumnElement[Any]) -> tuple[sa.ColumnElement[Any], ...]:
    """NULL last, for databases without NULLS LAST too."""
    return sa.case((column.is_(None), 1), else_=0), by.desc()


def _refuse_null_keys(connection: Connection, rows: Rows, winners: sa.Select[Any]) -> None:
    inner = winners.subquery("incoming")
    is_null = [inner.c[name].is_(None) for name in rows.target.key]
    row = connection.execute(sa.select(*is_null).where(sa.or_(*is_null)).limit(1)).first()
    if row is not None:
        name = next(name for name, missing in zip(rows.target.key, row, strict=True) if missing)
        raise WriteFailed(
            f"table {rows.target}: key column {name!r} holds NULL in this batch, which equals no other NULL; "
            "filter such rows out, or choose another key=. Nothing was written."
        )


def _refuse_blurred_keys(connection: Connection, database: Database, rows: Rows, winners: sa.Select[Any]) -> None:
    inner = winners.subquery("incoming")
    for name in rows.target.key:
        condition = database.blurs(inner.c[name], rows.kind(name))
        if condition is not None and connection.execute(sa.select(sa.literal(1)).where(condition).limit(1)).first():
            raise WriteFailed(
                f"table {rows.target}: key column {name!r} of this batch has a text with trailing blanks, which the "
                "column's collation ignores, so it would meet the row of another key; trim it in the frame, or give "
                f"the column a collation without padding, such as utf8mb4_nopad_bin or utf8mb4_0900_bin. {NOTHING_WRITTEN}"
            )


def _refuse_duplicates(connection: Connection, rows: Rows, winners: sa.Select[Any]) -> None:
    target, inner = rows.target, winners.subquery("incoming")
    key = [inner.c[name] for name in target.key]
    twice = sa.select(*key, sa.func.count().label("times")).group_by(*key).having(sa.func.count() > 1).limit(EXAMPLES)
    duplicates = connection.execute(twice).all()
    if duplicates:
        examples = "; ".join(f"({', '.join(map(repr, row[:-1]))}) {row[-1]} times" for row in duplicates)
        why = "order_by= leaves ties" if target.order_by else "order_by= can say which row wins"
        raise DuplicateKeys(
            f"table {target}: this batch holds the same key=({', '.join(target.key)}) more than once: "
            f"{examples}; {why}. Nothing was written."
        )


def _refuse_unknown_ops(connection: Connection, rows: Rows, source: sa.Select[Any]) -> None:
    op = source.subquery("incoming").c[OP]
    known = (*UPSERTS, *DELETES, *IGNORED)
    wrong = sa.select(op).where(sa.or_(op.is_(None), sa.func.lower(op).not_in(known))).limit(1)
    row = connection.execute(wrong).first()
    if row is not None:
        said = "NULL" if row[0] is None else repr(row[0])
        raise FrameError(
            f"table {rows.target}: column {rows.target.op!r} says {said}, which is no known change; known are "
            f"{', '.join(known)}; write one of them, or filter such rows out. Nothing was written."
        )


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
        insert(
            connection,
            database,
            self.rows,
            sa.select(*(table.c[name] for name in self.rows.staged)).where(accepted),
            expected,
        )
        database.empty_table(connection, quoted(connection, table))
        return expected


def insert(connection: Connection, database: Database, rows: Rows, source: sa.Select[Any], count: int = 0) -> None:
    """Bring the rows that ``source`` selects, ``count`` of them, into their table, as its mode says.

    Raises:
        WriteFailed: the table is another than the frame was compared with, or as :func:`merge` and :func:`apply`.
    """
    note_table(connection, rows.target)
    mode = rows.target.mode
    if mode == "merge":
        merge(connection, database, rows, source, count)
    elif mode == "changes":
        apply(connection, database, rows, source, count)
    else:
        if mode == "overwrite":
            empty(connection, rows)
        statement = sa.insert(rows.clause).prefix_with("OR ABORT", dialect="sqlite")
        taken = _taken(connection, statement.from_select(list(rows.columns), source))
        if rows.may_lose:
            refuse_fewer(rows.target, taken, count)
    rows.refuse_altered(connection, database)


@contextmanager
def named(connection: Connection, rows: Rows, stage: str) -> Iterator[None]:
    """Let an error name the user's table instead of the stage, which nobody has heard of."""
    note_table(connection, rows.target)
    try:
        yield
    except (FrameError, WriteFailed) as error:
        raise type(error)(str(error).replace(stage, str(rows.target))) from None


def empty(connection: Connection, rows: Rows) -> None:
    """Delete all rows of a table that is overwritten.

    Raises:
        WriteFailed: a row is still there.
    """
    connection.execute(sa.delete(rows.clause))
    if rows.may_lose:
        refuse_left(connection, rows.clause)


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
