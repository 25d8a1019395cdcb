"""Rows that a table leaves out without an error, and that the ledger must not count as written.

A trigger before a row may drop it or send it to another table, and so may a rule of PostgreSQL's. What was sent is compared
with what the table says that it took, where a table has either.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from foreachonce.errors import WriteFailed
from foreachonce.spark.frames import NOTHING_WRITTEN


def refuse_fewer(table: object, taken: int, sent: int) -> None:
    """Refuse a batch of which the table took fewer rows than it was sent.

    Raises:
        WriteFailed: naming both numbers.
    """
    if taken < sent:
        raise WriteFailed(
            f"table {table} took {taken} of the {sent} rows that it was sent: a trigger or a rule of the table drops rows, "
            "or sends them elsewhere, and the ledger would count them as written. Write to the table where they end up, or "
            f"filter in the frame instead. {NOTHING_WRITTEN}"
        )


def refuse_left(connection: Connection, table: sa.TableClause, *where: sa.ColumnElement[bool]) -> None:
    """Refuse rows that a DELETE was to delete, and that are there.

    Raises:
        WriteFailed: there is one.
    """
    if connection.execute(sa.select(sa.literal(1)).select_from(table).where(*where).limit(1)).first() is not None:
        raise WriteFailed(
            f"table {table.fullname} keeps rows that this batch deletes: a trigger or a rule of the table keeps them; "
            f"drop it, or write to another table. {NOTHING_WRITTEN}"
        )


def refuse_lost(
    connection: Connection, table: sa.TableClause, key: Sequence[str], source: sa.Select[Any], taken: int | None
) -> None:
    """Refuse a merge of which a row was not taken.

    Args:
        connection: in whose transaction.
        table: the table, with its key's columns.
        key: the names of those.
        source: the rows that were merged, each key once.
        taken: how many the table says that it took; None where rows that stayed as they are do not count: then only a row
            that is not there at all is noticed.

    Raises:
        WriteFailed: naming the numbers.
    """
    given = source.subquery("given")
    sent = sa.select(sa.func.count()).select_from(given)
    if taken is None:
        same = sa.and_(*(table.c[name] == given.c[name] for name in key))
        taken = connection.execute(sent.where(sa.exists().where(same))).scalar_one()
    refuse_fewer(table.fullname, taken, connection.execute(sent).scalar_one())
