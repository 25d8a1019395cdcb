"""A merge: staged rows into a table in one statement, one row for each key, or a refusal."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from foreachonce.errors import DuplicateKeys, WriteFailed
from foreachonce.sql.database import Database
from foreachonce.sql.table import Rows

EXAMPLES = 3


def merge(connection: Connection, database: Database, rows: Rows, source: sa.Select[Any]) -> None:
    """Bring the rows that ``source`` selects into the table.

    Raises:
        DuplicateKeys: a key comes more than once, and ``order_by`` does not say which row wins.
        WriteFailed: a key holds NULL.
    """
    winners = _winners(rows, source)
    _refuse_null_keys(connection, rows, winners)
    if not database.finds_duplicate_keys:
        _refuse_duplicates(connection, rows, winners)
    statement = database.upsert(rows.clause, rows.columns, rows.target.key, winners)
    try:
        with connection.begin_nested():
            connection.execute(statement)
    except DBAPIError:
        # Where a key came twice the database has refused the whole statement; say which key it was.
        _refuse_duplicates(connection, rows, winners)
        raise


def _winners(rows: Rows, source: sa.Select[Any]) -> sa.Select[Any]:
    """The rows to merge: all, or with order_by those with the greatest values of each key. Ties stay, to be refused."""
    if not rows.target.order_by:
        return source
    best: list[sa.ColumnElement[Any]] = [sa.column(name).desc().nulls_last() for name in rows.target.order_by]
    rank = sa.func.rank().over(partition_by=[sa.column(name) for name in rows.target.key], order_by=best)
    ranked = source.add_columns(rank.label("foreachonce_rank")).subquery("ranked")
    return sa.select(*(ranked.c[name] for name in rows.columns)).where(ranked.c.foreachonce_rank == 1)


def _refuse_null_keys(connection: Connection, rows: Rows, winners: sa.Select[Any]) -> None:
    inner = winners.subquery("incoming")
    for name in rows.target.key:
        if connection.execute(sa.select(sa.literal(1)).where(inner.c[name].is_(None)).limit(1)).first():
            raise WriteFailed(
                f"table {rows.target}: key column {name!r} holds NULL in this batch, which equals no other NULL; "
                "filter such rows out, or choose another key=. Nothing was written."
            )


def _refuse_duplicates(connection: Connection, rows: Rows, winners: sa.Select[Any]) -> None:
    target, inner = rows.target, winners.subquery("incoming")
    key = [inner.c[name] for name in target.key]
    twice = sa.select(*key, sa.func.count().label("times")).group_by(*key).having(sa.func.count() > 1).limit(EXAMPLES)
    found = connection.execute(twice).all()
    if found:
        examples = "; ".join(f"({', '.join(map(repr, row[:-1]))}) {row[-1]} times" for row in found)
        why = "order_by= leaves ties" if target.order_by else "order_by= can say which row wins"
        raise DuplicateKeys(
            f"table {target}: this batch holds the same key=({', '.join(target.key)}) more than once: "
            f"{examples}; {why}. Nothing was written."
        )
