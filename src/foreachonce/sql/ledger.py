"""The ledger as a table. As SQL a person would read it:

    create table foreachonce_ledger (
        stream        text    not null,
        seq           bigint  not null,   -- 0, 1, 2, … without a gap
        query_id      text    not null,
        batch_id      bigint  not null,
        run_id        text    not null,
        start_offsets text    not null,   -- a line id:offset for each source, verbatim
        end_offsets   text    not null,
        source_log    text,               -- JSON: the files of file sources, verbatim
        offset_log    text    not null,   -- the checkpoint's offsets/N, verbatim
        rows          bigint  not null,
        committed_at  text    not null,   -- UTC, ISO 8601
        sink          text    not null,
        versions      text    not null,
        decision      text    not null,   -- 'write', or the looser choice that was made
        primary key (stream, seq),
        unique (stream, query_id, batch_id)
    )

The two keys are the compare-and-swap: whoever appends second is refused by the database, with its rows.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from functools import cache
from typing import Any
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row
from sqlalchemy.exc import IntegrityError

from foreachonce.entry import Entry, Found
from foreachonce.errors import Conflict, LedgerError
from foreachonce.position import Position
from foreachonce.sql.database import Database

SCHEMA_VERSION = 1
LEDGER, META = "foreachonce_ledger", "foreachonce_meta"
PAGE = 1000


@cache
def tables(schema: str | None) -> tuple[sa.Table, sa.Table]:
    """The ledger and its meta table, in ``schema`` or where the connection's default puts them."""
    metadata = sa.MetaData()
    text, big = sa.Text, sa.BigInteger
    ledger = sa.Table(
        LEDGER,
        metadata,
        sa.Column("stream", text, primary_key=True),
        sa.Column("seq", big, primary_key=True, autoincrement=False),
        sa.Column("query_id", text, nullable=False),
        sa.Column("batch_id", big, nullable=False),
        sa.Column("run_id", text, nullable=False),
        sa.Column("start_offsets", text, nullable=False),
        sa.Column("end_offsets", text, nullable=False),
        sa.Column("source_log", text),
        sa.Column("offset_log", text, nullable=False),
        sa.Column("rows", big, nullable=False),
        sa.Column("committed_at", text, nullable=False),
        sa.Column("sink", text, nullable=False),
        sa.Column("versions", text, nullable=False),
        sa.Column("decision", text, nullable=False),
        sa.UniqueConstraint("stream", "query_id", "batch_id", name="foreachonce_ledger_batch"),
        schema=schema,
    )
    meta = sa.Table(
        META, metadata, sa.Column("name", text, primary_key=True), sa.Column("value", text, nullable=False), schema=schema
    )
    return ledger, meta


def prepare(connection: Connection, database: Database, schema: str | None) -> str:
    """Make the ledger where there is none, check its version, and return its identity, a UUID made with it.

    Raises:
        LedgerError: the ledger is of a newer version than this library writes.
    """
    _, meta = tables(schema)
    if not sa.inspect(connection).has_table(META, schema=schema):
        database.lock_schema(connection)
        meta.metadata.create_all(connection)
        if not connection.execute(sa.select(meta)).first():
            values = {"schema_version": str(SCHEMA_VERSION), "identity": str(uuid4())}
            connection.execute(sa.insert(meta), [{"name": name, "value": value} for name, value in values.items()])
    found = {row.name: row.value for row in connection.execute(sa.select(meta))}
    version, identity = found.get("schema_version"), found.get("identity")
    if identity is None or version is None or not version.isdigit():
        raise LedgerError(f"{META} is damaged: it says schema_version {version!r}, identity {identity!r}; restore it.")
    if int(version) != SCHEMA_VERSION:
        raise LedgerError(
            f"{META} says that {LEDGER} has schema version {version}; this foreachonce reads and writes version "
            f"{SCHEMA_VERSION}. Install the foreachonce that made it, or a newer one: pip install -U foreachonce."
        )
    return str(identity)


def check_identity(connection: Connection, schema: str | None, identity: str) -> None:
    """Refuse to write where the ledger is not the one that the driver has read."""
    _, meta = tables(schema)
    found = connection.execute(sa.select(meta.c.value).where(meta.c.name == "identity")).scalar()
    if found != identity:
        raise LedgerError(
            f"the ledger that this executor sees (identity {found}) is not the driver's ({identity}): they do not share "
            "the database. An SQLite file must be on the machine of both."
        )


def look(connection: Connection, schema: str | None, stream: str, query_id: str, batch_id: int) -> Found:
    """The stream's newest entry and the batch's own, in one statement over two index look-ups."""
    ledger, _ = tables(schema)
    newest = sa.select(sa.func.max(ledger.c.seq)).where(ledger.c.stream == stream).scalar_subquery()
    same = (ledger.c.query_id == query_id) & (ledger.c.batch_id == batch_id)
    rows = connection.execute(sa.select(ledger).where(ledger.c.stream == stream, (ledger.c.seq == newest) | same))
    entries = sorted((_entry(row) for row in rows), key=lambda entry: entry.seq)
    batch = [entry for entry in entries if (entry.query_id, entry.batch_id) == (query_id, batch_id)]
    return Found(entries[-1] if entries else None, batch[0] if batch else None)


def head(connection: Connection, schema: str | None, stream: str) -> Entry | None:
    """The stream's newest entry."""
    ledger, _ = tables(schema)
    row = connection.execute(
        sa.select(ledger).where(ledger.c.stream == stream).order_by(ledger.c.seq.desc()).limit(1)
    ).first()
    return None if row is None else _entry(row)


def append(connection: Connection, schema: str | None, entry: Entry, rows: int) -> None:
    """Append ``entry`` in the connection's transaction.

    Raises:
        Conflict: the stream has an entry of that seq, or of that batch, already.
    """
    ledger, _ = tables(schema)
    counted = replace(entry, rows=rows, time=datetime.now(timezone.utc))
    try:
        connection.execute(sa.insert(ledger), [_row(counted)])
    except IntegrityError:
        raise Conflict(
            f"stream {entry.stream!r}: another writer has appended seq {entry.seq} or batch {entry.batch_id} of query "
            f"{entry.query_id} first; this transaction was rolled back."
        ) from None


def has_batch(connection: Connection, schema: str | None, entry: Entry) -> bool:
    """Whether the entry's batch is in the ledger."""
    return look(connection, schema, entry.stream, entry.query_id, entry.batch_id).same_batch is not None


def page(connection: Connection, schema: str | None, stream: str, after: int) -> list[Entry]:
    """The stream's next entries in order of seq; fewer than PAGE are the last."""
    ledger, _ = tables(schema)
    following = sa.select(ledger).where(ledger.c.stream == stream, ledger.c.seq > after)
    return [_entry(row) for row in connection.execute(following.order_by(ledger.c.seq).limit(PAGE))]


def streams(connection: Connection, schema: str | None) -> list[str]:
    """The names of all streams in the ledger."""
    ledger, _ = tables(schema)
    return list(connection.execute(sa.select(ledger.c.stream).distinct().order_by(ledger.c.stream)).scalars())


def _row(entry: Entry) -> dict[str, Any]:
    return {
        "stream": entry.stream,
        "seq": entry.seq,
        "query_id": entry.query_id,
        "batch_id": entry.batch_id,
        "run_id": entry.run_id,
        "start_offsets": entry.position.starts,
        "end_offsets": entry.position.ends,
        "source_log": entry.position.source_log,
        "offset_log": entry.offset_log,
        "rows": entry.rows,
        "committed_at": entry.time.isoformat(timespec="microseconds"),
        "sink": entry.sink,
        "versions": entry.versions,
        "decision": entry.decision,
    }


def _entry(row: Row[Any]) -> Entry:
    return Entry(
        stream=row.stream,
        seq=row.seq,
        query_id=row.query_id,
        batch_id=row.batch_id,
        run_id=row.run_id,
        position=Position.restore(row.start_offsets, row.end_offsets, row.source_log),
        offset_log=row.offset_log,
        rows=row.rows,
        time=datetime.fromisoformat(row.committed_at),
        sink=row.sink,
        versions=row.versions,
        decision=row.decision,
    )
