"""The tables of a ledger. As SQL a person would read it:

    create table foreachonce_ledger (            -- one row for each batch that was written
        stream        text    not null,
        seq           bigint  not null,          -- 0, 1, 2, … without a gap
        query_id      text    not null,
        batch_id      bigint  not null,
        run_id        text    not null,
        start_offsets text    not null,          -- a line id:offset for each source, verbatim
        end_offsets   text    not null,
        source_log    text,                      -- JSON: the files of file sources, verbatim
        offset_log    text    not null,          -- the checkpoint's offsets/N, verbatim
        is_stateful   smallint not null,         -- 1 where the query keeps state
        rows          bigint,                    -- null for a function
        committed_at  text    not null,          -- UTC, ISO 8601
        sink          text    not null,
        versions      text    not null,
        decision      text    not null,          -- 'write', or why else
        primary key (stream, seq),
        unique (stream, query_id, batch_id)
    )

    create table foreachonce_intents (           -- one row for each call of a function that no transaction covers
        … the ledger's columns up to is_stateful,
        attempt       bigint  not null,          -- 0, and one more for each new call for the same seq
        begun_at      text    not null,
        sink          text    not null,
        versions      text    not null,
        decision      text    not null,          -- 'write', or why it was called again
        primary key (stream, seq, attempt)
    )

    create table foreachonce_runs (              -- the runs that took a stream, in order; the newest may write
        stream        text    not null,
        token         bigint  not null,          -- 0, 1, 2, …
        run_id        text    not null,
        query_id      text    not null,
        taken_at      text    not null,
        primary key (stream, token),
        unique (stream, run_id)
    )

    create table foreachonce_meta (name text primary key, value text not null)   -- schema_version, identity

No row is ever changed.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy.dialects import mysql
from sqlalchemy.engine import Connection

from foreachonce.errors import LedgerError
from foreachonce.sql.databases.base import Database

SCHEMA_VERSION = 2
LEDGER, INTENTS, RUNS, META = "foreachonce_ledger", "foreachonce_intents", "foreachonce_runs", "foreachonce_meta"
_Big = sa.BigInteger
# MariaDB's and MySQL's TEXT ends at 64 KB and cannot be a key; their usual collations ignore case.
_Text = sa.Text().with_variant(mysql.LONGTEXT(charset="utf8mb4", collation="utf8mb4_bin"), "mysql")
_BinaryKey = mysql.VARCHAR(190, charset="utf8mb4", collation="utf8mb4_bin")
# Databases but PostgreSQL and SQLite must know how long a key's text may be.
_Key = sa.String(255).with_variant(sa.Text(), "postgresql", "sqlite").with_variant(_BinaryKey, "mysql")


class Tables(NamedTuple):
    """A ledger's tables."""

    ledger: sa.Table
    intents: sa.Table
    runs: sa.Table
    meta: sa.Table


@cache
def tables(schema: str | None) -> Tables:
    """The tables in ``schema``; None is the connection's default."""
    metadata = sa.MetaData(schema=schema)
    ledger = sa.Table(
        LEDGER,
        metadata,
        *_epoch_columns(),
        sa.Column("rows", _Big),
        sa.Column("committed_at", _Text, nullable=False),
        *_why_columns(),
        sa.UniqueConstraint("stream", "query_id", "batch_id", name="foreachonce_ledger_batch"),
    )
    intents = sa.Table(
        INTENTS,
        metadata,
        *_epoch_columns(),
        sa.Column("attempt", _Big, primary_key=True, autoincrement=False),
        sa.Column("begun_at", _Text, nullable=False),
        *_why_columns(),
    )
    runs = sa.Table(
        RUNS,
        metadata,
        sa.Column("stream", _Key, primary_key=True),
        sa.Column("token", _Big, primary_key=True, autoincrement=False),
        sa.Column("run_id", _Key, nullable=False),
        sa.Column("query_id", _Key, nullable=False),
        sa.Column("taken_at", _Text, nullable=False),
        sa.UniqueConstraint("stream", "run_id", name="foreachonce_runs_run"),
    )
    meta = sa.Table(META, metadata, sa.Column("name", _Key, primary_key=True), sa.Column("value", _Text, nullable=False))
    return Tables(ledger, intents, runs, meta)


def identity(connection: Connection, schema: str | None) -> str | None:
    """Check the ledger's version and return its identity, a UUID made with it; None where there is no ledger.

    Raises:
        LedgerError: the ledger is of a newer version than this library writes.
    """
    meta = tables(schema).meta
    if not sa.inspect(connection).has_table(META, schema=schema):
        return None
    values = {row.name: row.value for row in connection.execute(sa.select(meta))}
    if not values:
        return None
    version, made = values.get("schema_version"), values.get("identity")
    if made is None or version is None or not version.isdigit():
        raise LedgerError(f"{META} is damaged: it says schema_version {version!r}, identity {made!r}; restore it.")
    if int(version) != SCHEMA_VERSION:
        raise LedgerError(
            f"{META} says that {LEDGER} has schema version {version}; this foreachonce reads and writes version "
            f"{SCHEMA_VERSION}. Install the foreachonce that made it, or a newer one: pip install -U foreachonce."
        )
    return str(made)


def create(connection: Connection, database: Database, schema: str | None) -> str:
    """Create the ledger, unless another process has just done so, and return its identity."""
    database.lock_schema(connection)
    meta = tables(schema).meta
    meta.metadata.create_all(connection)
    if (existing := identity(connection, schema)) is not None:
        return existing
    values = {"schema_version": str(SCHEMA_VERSION), "identity": str(uuid4())}
    connection.execute(sa.insert(meta), [{"name": name, "value": value} for name, value in values.items()])
    return values["identity"]


def check_identity(connection: Connection, schema: str | None, identity: str) -> None:
    """Refuse to write where an executor sees another ledger than the driver."""
    meta = tables(schema).meta
    seen = connection.execute(sa.select(meta.c.value).where(meta.c.name == "identity")).scalar()
    if seen != identity:
        raise LedgerError(
            f"the ledger that this executor sees (identity {seen}) is not the driver's ({identity}): they do not share "
            "the database. An SQLite file must be on the machine of both."
        )


def _epoch_columns() -> list[sa.Column[str] | sa.Column[int]]:
    return [
        sa.Column("stream", _Key, primary_key=True),
        sa.Column("seq", _Big, primary_key=True, autoincrement=False),
        sa.Column("query_id", _Key, nullable=False),
        sa.Column("batch_id", _Big, nullable=False),
        sa.Column("run_id", _Key, nullable=False),
        sa.Column("start_offsets", _Text, nullable=False),
        sa.Column("end_offsets", _Text, nullable=False),
        sa.Column("source_log", _Text),
        sa.Column("offset_log", _Text, nullable=False),
        sa.Column("is_stateful", sa.SmallInteger, nullable=False),
    ]


def _why_columns() -> list[sa.Column[str]]:
    return [sa.Column(name, _Text, nullable=False) for name in ("sink", "versions", "decision")]
