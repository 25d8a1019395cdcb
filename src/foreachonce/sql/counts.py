"""A stream's rows by its ledger, and the rows of tables, counted at one moment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from foreachonce.sql.schema import tables


class Counts(NamedTuple):
    """What one statement has counted."""

    entered: int
    """The rows that the stream's entries count together."""
    tables: tuple[int, ...]
    """The rows of each table."""


def count(connection: Connection, schema: str | None, stream: str, names: Sequence[tuple[str | None, str]]) -> Counts:
    """Count in one statement, so that no batch comes in between.

    Args:
        connection: to read by.
        schema: the ledger's.
        stream: the stream's name.
        names: each table's schema, None for the connection's default, and its name; the dialect quotes them.
    """
    ledger = tables(schema).ledger
    entered = sa.select(sa.func.coalesce(sa.func.sum(ledger.c.rows), 0)).where(ledger.c.stream == stream)
    counted = [sa.select(sa.func.count()).select_from(sa.table(name, schema=place)) for place, name in names]
    row = connection.execute(sa.select(*(each.scalar_subquery() for each in (entered, *counted)))).one()
    return Counts(int(row[0]), tuple(int(value) for value in row[1:]))
