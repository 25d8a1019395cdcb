"""The statements over a ledger's tables: entries, intents and runs.

The keys of the entries' table are the compare-and-swap: the database refuses whoever appends second, rows and all.

The run that took a stream last may write it. A run takes its stream before its first write, and each transaction of a batch
checks that, under a lock which a take-over waits for or breaks. So a driver that was paused, presumed dead and replaced
writes nothing when it wakes up. Source of the idea: Kafka's producer epochs, KIP-98 (zombie fencing).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, Row
from sqlalchemy.exc import IntegrityError

from foreachonce.entry import Entry, Epoch, Intent, LedgerState, Run
from foreachonce.errors import Conflict, Fenced
from foreachonce.faults import fault
from foreachonce.sql.databases.base import Database, StreamLock
from foreachonce.sql.schema import check_identity, tables

PAGE = 1000


@dataclass(frozen=True, slots=True)
class SqlBatch:
    """What each process that works on a batch must know; executors get a copy.

    Args:
        database, url: where the rows go.
        ledger_schema, identity: the ledger, and the identity that the driver has read there.
        entry: the entry that is committed with the rows.
    """

    database: Database
    url: URL
    ledger_schema: str | None
    identity: str
    entry: Entry

    @contextmanager
    def writing(self, *, executor: bool = False) -> Iterator[Connection]:
        """A transaction of the run that holds the stream, committed at the end of the block.

        Raises:
            Fenced: a newer run has taken the stream.
            LedgerError: this process sees another ledger than the driver.
        """
        with self.database.writing(self.url, executor=executor) as connection:
            if executor:
                check_identity(connection, self.ledger_schema, self.identity)
            entry = self.entry
            hold(connection, self.database, self.ledger_schema, self.identity, entry.stream, entry.run_id)
            yield connection

    def append_entry(self, connection: Connection, rows: int | None) -> None:
        """Append the entry in the transaction of the rows."""
        fault("rows-written")
        append_entry(connection, self.ledger_schema, self.entry, rows)
        fault("entry-written")

    def is_committed(self, connection: Connection) -> bool:
        """Whether the ledger has an entry of this batch."""
        return has_batch(connection, self.ledger_schema, self.entry)


# --- entries ---------------------------------------------------------------------------------------------------------


def look(connection: Connection, schema: str | None, stream: str, query_id: str, batch_id: int) -> LedgerState:
    """The stream's newest entry and the batch's own, in one statement over two index look-ups."""
    ledger = tables(schema).ledger
    newest = sa.select(sa.func.max(ledger.c.seq)).where(ledger.c.stream == stream).scalar_subquery()
    is_same = (ledger.c.query_id == query_id) & (ledger.c.batch_id == batch_id)
    wanted = sa.select(ledger).where(ledger.c.stream == stream, (ledger.c.seq == newest) | is_same)
    head = same_batch = None
    for row in connection.execute(wanted.order_by(ledger.c.seq)):
        head = _entry(row)
        if (row.query_id, row.batch_id) == (query_id, batch_id):
            same_batch = head
    return LedgerState(head, same_batch)


def newest_entry(connection: Connection, schema: str | None, stream: str) -> Entry | None:
    """The stream's newest entry."""
    ledger = tables(schema).ledger
    row = connection.execute(
        sa.select(ledger).where(ledger.c.stream == stream).order_by(ledger.c.seq.desc()).limit(1)
    ).first()
    return None if row is None else _entry(row)


def append_entry(connection: Connection, schema: str | None, entry: Entry, rows: int | None) -> None:
    """Append an entry in the connection's transaction.

    Raises:
        Conflict: the stream has an entry of that seq, or of that batch, already.
    """
    values = values_of(entry) | {"rows": rows, "committed_at": _now()}
    try:
        connection.execute(sa.insert(tables(schema).ledger), [values])
    except IntegrityError:
        raise Conflict(
            f"stream {entry.stream!r}: another writer has appended seq {entry.seq} or {entry.what} of query "
            f"{entry.query_id} first; this transaction was rolled back."
        ) from None


def has_batch(connection: Connection, schema: str | None, entry: Entry) -> bool:
    """Whether the ledger has an entry of the same batch."""
    return look(connection, schema, entry.stream, entry.query_id, entry.batch_id).same_batch is not None


def page(connection: Connection, schema: str | None, stream: str, after: int) -> list[Entry]:
    """The stream's next entries in order of seq; a page of fewer than PAGE is the last."""
    ledger = tables(schema).ledger
    following = sa.select(ledger).where(ledger.c.stream == stream, ledger.c.seq > after)
    return [_entry(row) for row in connection.execute(following.order_by(ledger.c.seq).limit(PAGE))]


def prune(connection: Connection, schema: str | None, stream: str, *, keep: int, before: datetime | None) -> int | None:
    """Delete all but the ``keep`` newest entries, and of those only what was committed ``before``.

    Returns:
        The number of deleted entries; None where the stream has none.
    """
    ledger, intents = tables(schema).ledger, tables(schema).intents
    newest = connection.execute(sa.select(sa.func.max(ledger.c.seq)).where(ledger.c.stream == stream)).scalar()
    if newest is None:
        return None
    last = newest - keep
    if before is not None:
        # Entries are in order of time, so the oldest that stays ends the range; the key finds it.
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
    """The values of the columns that entries and intents share."""
    fields = entry.to_fields()
    del fields["time"]
    fields["is_stateful"] = int(entry.is_stateful)
    return fields


def _entry(row: Row[Any]) -> Entry:
    return Entry.from_fields({**row._mapping, "time": row.committed_at}, rows=row.rows)


# --- intents: each call of a function has one, written before the call -----------------------------------------------


def newest_intent(connection: Connection, schema: str | None, stream: str, seq: int) -> Intent | None:
    """The newest intent to append the stream's entry ``seq``."""
    table = tables(schema).intents
    wanted = sa.select(table).where(table.c.stream == stream, table.c.seq == seq)
    row = connection.execute(wanted.order_by(table.c.attempt.desc()).limit(1)).first()
    return None if row is None else _intent(row)


def append_intent(connection: Connection, schema: str | None, entry: Entry, attempt: int) -> None:
    """Record in the connection's transaction that ``entry`` is about to be attempted.

    Raises:
        Conflict: the ledger has that attempt already.
    """
    values = values_of(entry) | {"attempt": attempt, "begun_at": _now()}
    try:
        connection.execute(sa.insert(tables(schema).intents), [values])
    except IntegrityError:
        raise Conflict(f"stream {entry.stream!r}: another run has begun seq {entry.seq}, attempt {attempt}.") from None


def intents(connection: Connection, schema: str | None, stream: str) -> list[Intent]:
    """All intents of the stream, in order."""
    table = tables(schema).intents
    rows = connection.execute(sa.select(table).where(table.c.stream == stream).order_by(table.c.seq, table.c.attempt))
    return [_intent(row) for row in rows]


def _intent(row: Row[Any]) -> Intent:
    return Intent(Entry.from_fields({**row._mapping, "time": row.begun_at}), row.attempt)


# --- runs ------------------------------------------------------------------------------------------------------------


def is_held(connection: Connection, schema: str | None, stream: str, run_id: str) -> bool:
    """Whether the run has taken the stream.

    Raises:
        Fenced: it had, and a newer run has taken it since.
    """
    ours_and_newest = runs(connection, schema, stream, run_id)
    if not ours_and_newest or ours_and_newest[0].run_id != run_id:
        return False
    if ours_and_newest[-1].run_id != run_id:
        raise Fenced(_explain(stream, ours_and_newest[0], ours_and_newest[-1]))
    return True


def hold(connection: Connection, database: Database, schema: str | None, identity: str, stream: str, run_id: str) -> None:
    """Hold the stream until the transaction ends; a run that takes it over ends this transaction.

    Raises:
        Fenced: a newer run has taken the stream.
        Conflict: the run has never taken it; the ledger is not the one it was.
    """
    database.share_lock(connection, StreamLock(identity, stream, tables(schema).runs))
    # A statement of its own, to see what was committed while this one waited for the lock.
    if not is_held(connection, schema, stream, run_id):
        raise Conflict(f"stream {stream!r}: the ledger does not know run {run_id}; was it restored while the query ran?")


def seize(connection: Connection, database: Database, schema: str | None, identity: str, stream: str) -> None:
    """Lock the stream for a take-over; the server ends other runs' transactions on it and rolls them back."""
    database.seize_lock(connection, StreamLock(identity, stream, tables(schema).runs))


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
        "taken_at": _now(),
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


# --- times -----------------------------------------------------------------------------------------------------------


def as_text(time: datetime) -> str:
    """A time as the tables hold it; such texts sort in order of time."""
    return time.astimezone(timezone.utc).isoformat(timespec="microseconds")


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="microseconds")
