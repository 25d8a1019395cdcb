"""Who may write a stream: the run that took it last.

A run takes the stream over before it writes its first batch, and every transaction of a batch asks again, under a lock that
a take-over waits for or breaks. So a driver that was paused, presumed dead and replaced writes nothing when it wakes up.
Source of the idea: Kafka's producer epochs, KIP-98 (zombie fencing).
"""

from __future__ import annotations

from datetime import datetime
from hashlib import sha256

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError
from sqlalchemy.sql.dml import Update

from foreachonce.entry import Run
from foreachonce.epoch import Epoch
from foreachonce.errors import Conflict, Fenced
from foreachonce.sql.databases.base import Database
from foreachonce.sql.schema import now, tables

# A transaction that is about to end may do so; a commit takes less.
GRACE_SECONDS = 1.0
# How long a take-over waits for a session that it has ended, or has no right to end.
SEIZE_SECONDS = 30


def lock_key(identity: str, stream: str) -> int:
    """The 63-bit number that stands for one stream of one ledger where a database names locks by number."""
    return int.from_bytes(sha256(f"{identity}/{stream}".encode()).digest()[:8], "big") >> 1


def _anchor(schema: str | None, stream: str) -> Update:
    """Lock the row of the stream's first run, which is there as soon as anybody has taken it.

    An UPDATE that changes nothing, since SQLAlchemy leaves FOR UPDATE out where a database does not have it.
    """
    table = tables(schema).runs
    return sa.update(table).where(table.c.stream == stream, table.c.token == 0).values(run_id=table.c.run_id)


def is_held(connection: Connection, schema: str | None, stream: str, run_id: str) -> bool:
    """Whether the run has taken the stream.

    Raises:
        Fenced: it had, and a newer run has taken it since.
    """
    found = runs(connection, schema, stream, run_id)
    ours = next((run for run in found if run.run_id == run_id), None)
    if ours is not None and found[-1] != ours:
        raise Fenced(_explain(stream, ours, found[-1]))
    return ours is not None


def hold(connection: Connection, database: Database, schema: str | None, identity: str, stream: str, run_id: str) -> None:
    """Keep the stream until the transaction ends; a run that takes it over ends this transaction.

    Raises:
        Fenced: a newer run has taken the stream.
        Conflict: the run has never taken it; the ledger is not the one it was.
    """
    database.share_lock(connection, lock_key(identity, stream), _anchor(schema, stream))
    # A statement of its own: it must see what was committed while the lock was waited for.
    if not is_held(connection, schema, stream, run_id):
        raise Conflict(f"stream {stream!r}: the ledger does not know run {run_id}; was it restored while the query ran?")


def seize(connection: Connection, database: Database, schema: str | None, identity: str, stream: str) -> None:
    """Lock the stream for a take-over; transactions of other runs on it are ended, and rolled back, by the server."""
    database.seize_lock(connection, lock_key(identity, stream), _anchor(schema, stream))


def take(connection: Connection, schema: str | None, epoch: Epoch) -> None:
    """Make the epoch's run the stream's newest; the caller has seized the stream."""
    table = tables(schema).runs
    newest = sa.select(sa.func.max(table.c.token)).where(table.c.stream == epoch.stream)
    token = connection.execute(newest).scalar()
    values = {
        "stream": epoch.stream,
        "token": 0 if token is None else token + 1,
        "run_id": epoch.run_id,
        "query_id": epoch.query_id,
        "taken_at": now(),
    }
    try:
        connection.execute(sa.insert(table), [values])
    except IntegrityError:
        raise Conflict(f"stream {epoch.stream!r}: another run was taking it over at the same moment.") from None


def runs(connection: Connection, schema: str | None, stream: str, run_id: str | None = None) -> list[Run]:
    """All runs that have taken the stream, in order; with ``run_id`` only that one and the newest."""
    table = tables(schema).runs
    wanted = sa.select(table).where(table.c.stream == stream).order_by(table.c.token)
    if run_id is not None:
        newest = sa.select(sa.func.max(table.c.token)).where(table.c.stream == stream).scalar_subquery()
        wanted = wanted.where((table.c.run_id == run_id) | (table.c.token == newest))
    return [
        Run(row.token, row.run_id, row.query_id, datetime.fromisoformat(row.taken_at)) for row in connection.execute(wanted)
    ]


def _explain(stream: str, ours: Run, newest: Run) -> str:
    text = (
        f"stream {stream!r}: run {ours.run_id} (query {ours.query_id}), which took it at {ours.time:%F %T} UTC, was "
        f"replaced by run {newest.run_id} (query {newest.query_id}) at {newest.time:%F %T} UTC. This run has written "
        "nothing since, and stops."
    )
    if newest.query_id != ours.query_id:
        text += " The query ids differ: if two queries share this stream's name, give each a stream= of its own."
    return text
