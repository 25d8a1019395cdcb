"""Intents: what a ledger knows of a function that was begun. Each call has one; it is written before the call."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from foreachonce.entry import Entry, Intent
from foreachonce.errors import Conflict
from foreachonce.sql.entries import entry_of, values_of
from foreachonce.sql.schema import now, tables


def newest(connection: Connection, schema: str | None, stream: str, seq: int) -> Intent | None:
    """The newest intent to make the stream's entry ``seq``."""
    table = tables(schema).intents
    wanted = sa.select(table).where(table.c.stream == stream, table.c.seq == seq)
    row = connection.execute(wanted.order_by(table.c.attempt.desc()).limit(1)).first()
    return None if row is None else Intent(entry_of(row, rows=None, time=row.begun_at), row.attempt)


def append(connection: Connection, schema: str | None, entry: Entry, attempt: int) -> None:
    """Write down, in the connection's transaction, that ``entry`` is about to be attempted.

    Raises:
        Conflict: that attempt is there already.
    """
    values = values_of(entry) | {"attempt": attempt, "begun_at": now()}
    try:
        connection.execute(sa.insert(tables(schema).intents), [values])
    except IntegrityError:
        raise Conflict(f"stream {entry.stream!r}: another run has begun seq {entry.seq}, attempt {attempt}.") from None


def listed(connection: Connection, schema: str | None, stream: str) -> list[Intent]:
    """All intents of the stream, in order."""
    table = tables(schema).intents
    rows = connection.execute(sa.select(table).where(table.c.stream == stream).order_by(table.c.seq, table.c.attempt))
    return [Intent(entry_of(row, rows=None, time=row.begun_at), row.attempt) for row in rows]
