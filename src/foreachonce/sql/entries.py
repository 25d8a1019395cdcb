"""A stream's entries in the ledger's table: looked at, appended, listed.

The table's two keys are the compare-and-swap: whoever appends second is refused by the database, with its rows.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row
from sqlalchemy.exc import IntegrityError

from foreachonce.entry import Entry, LedgerState
from foreachonce.errors import Conflict
from foreachonce.sql.schema import as_text, now, tables

PAGE = 1000


def look(connection: Connection, schema: str | None, stream: str, query_id: str, batch_id: int) -> LedgerState:
    """The stream's newest entry and the batch's own, in one statement over two index look-ups."""
    ledger = tables(schema).ledger
    newest = sa.select(sa.func.max(ledger.c.seq)).where(ledger.c.stream == stream).scalar_subquery()
    same = (ledger.c.query_id == query_id) & (ledger.c.batch_id == batch_id)
    rows = connection.execute(sa.select(ledger).where(ledger.c.stream == stream, (ledger.c.seq == newest) | same))
    entries = sorted((_entry(row) for row in rows), key=lambda entry: entry.seq)
    batch = [entry for entry in entries if (entry.query_id, entry.batch_id) == (query_id, batch_id)]
    return LedgerState(entries[-1] if entries else None, batch[0] if batch else None)


def head(connection: Connection, schema: str | None, stream: str) -> Entry | None:
    """The stream's newest entry."""
    ledger = tables(schema).ledger
    row = connection.execute(
        sa.select(ledger).where(ledger.c.stream == stream).order_by(ledger.c.seq.desc()).limit(1)
    ).first()
    return None if row is None else _entry(row)


def append(connection: Connection, schema: str | None, entry: Entry, rows: int | None) -> None:
    """Append ``entry`` in the connection's transaction.

    Raises:
        Conflict: the stream has an entry of that seq, or of that batch, already.
    """
    values = values_of(entry) | {"rows": rows, "committed_at": now()}
    try:
        connection.execute(sa.insert(tables(schema).ledger), [values])
    except IntegrityError:
        raise Conflict(
            f"stream {entry.stream!r}: another writer has appended seq {entry.seq} or {entry.what} of query "
            f"{entry.query_id} first; this transaction was rolled back."
        ) from None


def has_batch(connection: Connection, schema: str | None, entry: Entry) -> bool:
    """Whether the entry's batch is in the ledger."""
    return look(connection, schema, entry.stream, entry.query_id, entry.batch_id).same_batch is not None


def page(connection: Connection, schema: str | None, stream: str, after: int) -> list[Entry]:
    """The stream's next entries in order of seq; fewer than PAGE are the last."""
    ledger = tables(schema).ledger
    following = sa.select(ledger).where(ledger.c.stream == stream, ledger.c.seq > after)
    return [_entry(row) for row in connection.execute(following.order_by(ledger.c.seq).limit(PAGE))]


def prune(connection: Connection, schema: str | None, stream: str, *, keep: int, before: datetime | None) -> int | None:
    """Delete the stream's entries but the ``keep`` newest, and only those committed ``before``.

    Returns how many went; None where the stream has no entry.
    """
    ledger, intents = tables(schema).ledger, tables(schema).intents
    newest = connection.execute(sa.select(sa.func.max(ledger.c.seq)).where(ledger.c.stream == stream)).scalar()
    if newest is None:
        return None
    last = newest - keep
    if before is not None:
        # Entries are in order of time; the oldest that must stay ends the range, found by the key.
        young = sa.select(sa.func.min(ledger.c.seq)).where(
            ledger.c.stream == stream, ledger.c.seq <= last, ledger.c.committed_at >= as_text(before)
        )
        stays = connection.execute(young).scalar()
        last = last if stays is None else stays - 1
    connection.execute(sa.delete(intents).where(intents.c.stream == stream, intents.c.seq <= last))
    return connection.execute(sa.delete(ledger).where(ledger.c.stream == stream, ledger.c.seq <= last)).rowcount


def streams(connection: Connection, schema: str | None) -> list[str]:
    """The names of all streams in the ledger."""
    ledger = tables(schema).ledger
    return list(connection.execute(sa.select(ledger.c.stream).distinct().order_by(ledger.c.stream)).scalars())


def values_of(entry: Entry) -> dict[str, Any]:
    """The values of the columns that an entry and an intent have in common."""
    fields = entry.to_fields()
    del fields["time"]
    fields["is_stateful"] = int(entry.is_stateful)
    return fields


def entry_of(row: Row[Any], *, rows: int | None, time: str) -> Entry:
    """The entry that the row of an entry or of an intent holds."""
    return Entry.from_fields({**row._mapping, "time": time}, rows=rows)


def _entry(row: Row[Any]) -> Entry:
    return entry_of(row, rows=row.rows, time=row.committed_at)
