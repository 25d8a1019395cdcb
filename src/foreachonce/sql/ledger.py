"""The ledger of a database, as everybody but a batch's own transaction uses it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from functools import cache
from pathlib import Path
from time import sleep

from sqlalchemy.engine import URL, Connection

from foreachonce.entry import Entry, Epoch, Intent, LedgerState, Run
from foreachonce.errors import CommitInDoubt, ConfigurationError, LedgerError, WriteFailed
from foreachonce.keywords import texts
from foreachonce.sql import statements
from foreachonce.sql.databases.base import Database
from foreachonce.sql.databases.generic import Generic
from foreachonce.sql.databases.mariadb import MariaDb
from foreachonce.sql.databases.postgres import Postgres
from foreachonce.sql.databases.sqlite import Sqlite
from foreachonce.sql.schema import LEDGER, create, identity
from foreachonce.sql.statements import SqlBatch
from foreachonce.sql.url import parse_url, shown

_KINDS: dict[str, type[Database]] = {"postgresql": Postgres, "mysql": MariaDb, "sqlite": Sqlite}
# How many batches Spark keeps in a checkpoint by default, and so can run again.
MIN_KEPT = 100
# Seconds between two tries to create the ledger beside another process.
_PAUSES = (0.1, 0.3, 1.0)


class SqlLedger:
    """The ledger in a database, to read and to prune. It implements [`Ledger`][foreachonce.Ledger].

    Its first use in a process creates the ledger where there is none, on SQLite the file too; ``exists()`` alone does not. A
    stream that the ledger does not have raises nothing: ``head`` returns None, and the lists are empty.

    Args:
        url: as for [`JdbcSink`][foreachonce.JdbcSink].
        schema: the schema of ``foreachonce_ledger``, the sink's ``ledger_schema``; None is the connection's default.
        generic: any database that SQLAlchemy knows, as for a sink with ``spark_jdbc=``.

    Raises:
        ConfigurationError: at once, for an address that cannot be understood.
        SinkUnavailable: by every method: the database cannot be reached.
        LedgerError: by every method: the ledger cannot be read, is of another schema version, or cannot be created.
    """

    def __init__(self, url: str, *, schema: str | None = None, generic: bool = False) -> None:
        texts(schema=schema)
        self.url = parse_url(url, generic=generic)
        self.schema = schema
        self.database = Generic(schema) if generic else _KINDS[self.url.get_backend_name()]()

    def __eq__(self, other: object) -> bool:
        """Whether both are the same ledger, whatever user they log in as."""
        return isinstance(other, SqlLedger) and self._place == other._place

    def __hash__(self) -> int:
        return hash(self._place)

    @property
    def _place(self) -> tuple[object, ...]:
        return (self.url.get_backend_name(), self.url.host, self.url.port, self.url.database, self.schema)

    def __repr__(self) -> str:
        return f"SqlLedger({shown(self.url)!r}, schema={self.schema!r})"

    def exists(self) -> bool:
        """Whether the database holds a ledger. Does not create one, nor a file."""
        if self.url.get_backend_name() == "sqlite" and not Path(str(self.url.database)).exists():
            return False
        return _existing(self.database, self.url, self.schema) is not None

    @property
    def identity(self) -> str:
        """The UUID that was created with the ledger."""
        return _identity(self.database, self.url, self.schema)

    def look(self, epoch: Epoch) -> LedgerState:
        """The stream's newest entry and the epoch's own, in two statements after the first time in a process.

        Raises:
            Fenced: the epoch's run has lost the stream to a newer one.
        """
        _ = self.identity
        with self.database.reading(self.url) as connection:
            return self._look(connection, epoch)

    def take(self, epoch: Epoch, head: Entry | None) -> LedgerState:
        """Take the stream over for the epoch's run, if ``head`` still is its newest entry; return what is there then.

        Raises:
            Fenced: the epoch's run has lost the stream to a newer one.
        """
        identity = self.identity
        with self.database.writing(self.url) as connection:
            state = self._look(connection, epoch)
            if state.is_held or state.head != head:
                return state
            # Seizing ends another run's transaction, so look first, and again once the lock is held.
            statements.seize(connection, self.database, self.schema, identity, epoch.stream)
            state = self._look(connection, epoch)
            if state.head != head:
                return state
            statements.take(connection, self.schema, epoch)
        return state._replace(is_held=True)

    def runs(self, stream: str) -> list[Run]:
        """The runs that have taken the stream, in order: ``token``, ``run_id``, ``query_id`` and ``time`` of each."""
        _ = self.identity
        with self.database.reading(self.url) as connection:
            return statements.runs(connection, self.schema, stream)

    def intents(self, stream: str) -> list[Intent]:
        """The calls of a function that were started for the stream, in order: ``entry`` and ``attempt`` of each."""
        _ = self.identity
        with self.database.reading(self.url) as connection:
            return statements.intents(connection, self.schema, stream)

    def batch(self, entry: Entry) -> SqlBatch:
        """What each process needs to write the entry's batch here."""
        return SqlBatch(self.database, self.url, self.schema, self.identity, entry)

    def prune(self, stream: str, *, keep: int = MIN_KEPT, older_than: timedelta | None = None) -> int:
        """Delete old entries of a stream, and their intents; return how many entries went.

        The newest entries always stay: the head, which the chain continues from, and as many batches as Spark can run again,
        by default 100 (``spark.sql.streaming.minBatchesToRetain``; ``keep`` must be at least that).

        Args:
            stream: the stream's name.
            keep: how many of the newest entries stay; at least 100.
            older_than: delete only what was committed longer ago than this; None deletes all but the newest.

        Raises:
            ConfigurationError: ``keep`` is not a whole number or less than 100, ``older_than`` is not a ``timedelta`` or
                negative, or the stream has no entry here.
        """
        texts(stream=stream)
        _check_what_stays(keep, older_than)
        _ = self.identity
        before = None if older_than is None else datetime.now(timezone.utc) - older_than
        with self.database.writing(self.url) as connection:
            deleted = statements.prune(connection, self.schema, stream, keep=keep, before=before)
        if deleted is None:
            raise ConfigurationError(
                f"stream={stream!r} has no entry in the ledger of {shown(self.url)}, so nothing was deleted; streams that "
                f"have are: {', '.join(map(repr, self.streams())) or 'none'}."
            )
        return deleted

    def append(self, entry: Entry) -> None:
        """Append an entry that has no rows, as the run that holds the stream."""
        batch = self.batch(entry)
        with batch.writing() as connection:
            batch.append_entry(connection, 0)

    def unfinished(self, stream: str) -> Entry | None:
        """The entry of a function's call that was started and not confirmed, unless it is known to have had no effect."""
        _ = self.identity
        with self.database.reading(self.url) as connection:
            head = statements.newest_entry(connection, self.schema, stream)
            intent = statements.newest_intent(connection, self.schema, stream, 0 if head is None else head.seq + 1)
        return None if intent is None or intent.entry.decision.kind == "undone" else intent.entry

    def newest_intent(self, entry: Entry) -> Intent | None:
        """The newest intent at the entry's place in the chain."""
        with self.database.reading(self.url) as connection:
            return statements.newest_intent(connection, self.schema, entry.stream, entry.seq)

    def _look(self, connection: Connection, epoch: Epoch) -> LedgerState:
        is_held = statements.is_held(connection, self.schema, epoch.stream, epoch.run_id)
        state = statements.look(connection, self.schema, epoch.stream, epoch.query_id, epoch.batch_id)
        return state._replace(is_held=is_held)

    def streams(self) -> list[str]:
        """The names of all streams, sorted."""
        _ = self.identity
        with self.database.reading(self.url) as connection:
            return statements.streams(connection, self.schema)

    def head(self, stream: str) -> Entry | None:
        """The stream's newest entry; None where it has none."""
        _ = self.identity
        with self.database.reading(self.url) as connection:
            return statements.newest_entry(connection, self.schema, stream)

    def entries(self, stream: str, *, after: int = -1) -> Iterator[Entry]:
        """Yield the stream's entries with a greater seq than ``after``, in order.

        It reads a page of 1,000 at a time. Between pages it holds no connection, so no writer waits for the caller.
        """
        _ = self.identity
        is_over = False
        while not is_over:
            with self.database.reading(self.url) as connection:
                page = statements.page(connection, self.schema, stream, after)
            yield from page
            is_over = len(page) < statements.PAGE
            after = page[-1].seq if page else after


def _check_what_stays(keep: object, older_than: object) -> None:
    if not isinstance(keep, int) or isinstance(keep, bool):
        raise ConfigurationError(f"keep={keep!r} must be a whole number of entries.")
    if keep < MIN_KEPT:
        raise ConfigurationError(
            f"keep={keep!r} must be at least {MIN_KEPT}: Spark can run that many batches again after a rollback, and one "
            "whose entry is gone is refused."
        )
    if older_than is not None and not isinstance(older_than, timedelta):
        raise ConfigurationError(f"older_than={older_than!r} must be a datetime.timedelta, such as timedelta(days=90).")
    if older_than is not None and older_than < timedelta(0):
        raise ConfigurationError(f"older_than={older_than!r} must not be negative.")


@cache
def _identity(database: Database, url: URL, schema: str | None) -> str:
    """Check the ledger's version, or create the ledger, and return its identity; once in a process.

    Where only the tables' names keep two processes apart, the database refuses the second one in each driver's own words;
    so try again, since the first may still be between two of its tables.
    """
    pauses = iter(_PAUSES)
    while True:
        if (existing := _existing(database, url, schema)) is not None:
            return existing
        try:
            with database.writing(url) as connection:
                return create(connection, database, schema)
        except (WriteFailed, CommitInDoubt) as error:
            if (pause := next(pauses, None)) is None:
                raise LedgerError(f"{LEDGER} cannot be made: {error}") from None
            sleep(pause)


def _existing(database: Database, url: URL, schema: str | None) -> str | None:
    with database.reading(url) as connection:
        return identity(connection, schema)
