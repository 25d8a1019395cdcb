"""The ledger of a database, from outside a transaction."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from functools import cache
from pathlib import Path
from time import sleep

from sqlalchemy.engine import URL, Connection

from foreachonce.entry import Entry, Intent, LedgerState, Run
from foreachonce.epoch import Epoch
from foreachonce.errors import CommitInDoubt, ConfigurationError, LedgerError, WriteFailed
from foreachonce.keywords import texts
from foreachonce.sql import entries, fence, intents
from foreachonce.sql.batch import Batch
from foreachonce.sql.databases.base import Database
from foreachonce.sql.databases.kinds import database_of
from foreachonce.sql.schema import LEDGER, create, identity
from foreachonce.sql.url import parse_url, shown

# Spark's default for how many batches it keeps in a checkpoint, and so can run again.
MIN_KEPT = 100
# Seconds between two tries to make the ledger beside another process.
_PAUSES = (0.1, 0.3, 1.0)


class SqlLedger:
    """The ledger that a database holds; it is made where there is none.

    Args:
        url: as for :class:`~foreachonce.JdbcSink`.
        schema: the schema of ``foreachonce_ledger``; None is the connection's default.
        generic: any database that SQLAlchemy knows, as for a sink with ``spark_jdbc=``.

    Raises:
        ConfigurationError: at once, for an address that cannot be understood.
        SinkUnavailable, LedgerError: by every method, where the database or its ledger cannot be read.
    """

    def __init__(self, url: str, *, schema: str | None = None, generic: bool = False) -> None:
        texts(schema=schema)
        self.url = parse_url(url, generic=generic)
        self.schema = schema
        self.database = database_of(self.url, generic=generic, ledger_schema=schema)

    def __eq__(self, other: object) -> bool:
        """Whether both are the same ledger, whoever logs in."""
        return isinstance(other, SqlLedger) and self._place == other._place

    def __hash__(self) -> int:
        return hash(self._place)

    @property
    def _place(self) -> tuple[object, ...]:
        return (self.url.get_backend_name(), self.url.host, self.url.port, self.url.database, self.schema)

    def __repr__(self) -> str:
        return f"SqlLedger({shown(self.url)!r}, schema={self.schema!r})"

    def exists(self) -> bool:
        """Whether the database holds a ledger. This alone makes none, and no file."""
        if self.url.get_backend_name() == "sqlite" and not Path(str(self.url.database)).exists():
            return False
        return _made(self.database, self.url, self.schema) is not None

    @property
    def identity(self) -> str:
        """The UUID that was made with the ledger."""
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
            found = self._look(connection, epoch)
            if found.is_held or found.head != head:
                return found
            # Seizing ends another run's transaction, so it is done only where nothing has moved, and then looked again.
            fence.seize(connection, self.database, self.schema, identity, epoch.stream)
            found = self._look(connection, epoch)
            if found.head != head:
                return found
            fence.take(connection, self.schema, epoch)
        return found._replace(is_held=True)

    def runs(self, stream: str) -> list[Run]:
        """The runs that have taken the stream over, in order."""
        _ = self.identity
        with self.database.reading(self.url) as connection:
            return fence.runs(connection, self.schema, stream)

    def intents(self, stream: str) -> list[Intent]:
        """The calls of a function that were begun for the stream, in order."""
        _ = self.identity
        with self.database.reading(self.url) as connection:
            return intents.listed(connection, self.schema, stream)

    def batch(self, entry: Entry) -> Batch:
        """What every process must know to write the entry's batch here."""
        return Batch(self.database, self.url, self.schema, self.identity, entry)

    def prune(self, stream: str, *, keep: int = MIN_KEPT, older_than: timedelta | None = None) -> int:
        """Delete old entries of a stream, and their intents; return how many entries went.

        The newest entries stay, whatever is asked: the head, which the chain goes on from, and as many batches as Spark can
        run again, 100 by its default (``spark.sql.streaming.minBatchesToRetain``; give ``keep`` at least that).

        Args:
            stream: the stream's name.
            keep: how many of the newest entries stay; at least 100.
            older_than: delete only what was committed longer ago than this; None deletes all but the newest.

        Raises:
            ConfigurationError: ``keep`` is no whole number or less than 100, ``older_than`` is no ``timedelta`` or is
                negative, or the stream has no entry here.
        """
        texts(stream=stream)
        _check_what_stays(keep, older_than)
        _ = self.identity
        before = None if older_than is None else datetime.now(timezone.utc) - older_than
        with self.database.writing(self.url) as connection:
            gone = entries.prune(connection, self.schema, stream, keep=keep, before=before)
        if gone is None:
            raise ConfigurationError(
                f"stream={stream!r} has no entry in the ledger of {shown(self.url)}, so nothing was deleted; streams that "
                f"have are: {', '.join(map(repr, self.streams())) or 'none'}."
            )
        return gone

    def append(self, entry: Entry) -> None:
        """Append an entry that has no rows, as the run that holds the stream."""
        batch = self.batch(entry)
        with batch.writing() as connection:
            batch.append_entry(connection, 0)

    def unfinished(self, stream: str) -> Entry | None:
        """The entry of a function's call that was begun and has none yet."""
        _ = self.identity
        with self.database.reading(self.url) as connection:
            head = entries.head(connection, self.schema, stream)
            found = intents.newest(connection, self.schema, stream, 0 if head is None else head.seq + 1)
        return None if found is None else found.entry

    def begun(self, entry: Entry) -> Intent | None:
        """The newest intent at the entry's place in the chain."""
        with self.database.reading(self.url) as connection:
            return intents.newest(connection, self.schema, entry.stream, entry.seq)

    def _look(self, connection: Connection, epoch: Epoch) -> LedgerState:
        is_held = fence.is_held(connection, self.schema, epoch.stream, epoch.run_id)
        found = entries.look(connection, self.schema, epoch.stream, epoch.query_id, epoch.batch_id)
        return found._replace(is_held=is_held)

    def streams(self) -> list[str]:
        """The names of all streams."""
        _ = self.identity
        with self.database.reading(self.url) as connection:
            return entries.streams(connection, self.schema)

    def head(self, stream: str) -> Entry | None:
        """The stream's newest entry; None where it has none."""
        _ = self.identity
        with self.database.reading(self.url) as connection:
            return entries.head(connection, self.schema, stream)

    def entries(self, stream: str, *, after: int = -1) -> Iterator[Entry]:
        """Yield the stream's entries in order of seq, those of a greater seq than ``after``.

        Between pages no connection is held, and no writer waits.
        """
        _ = self.identity
        is_over = False
        while not is_over:
            with self.database.reading(self.url) as connection:
                found = entries.page(connection, self.schema, stream, after)
            yield from found
            is_over = len(found) < entries.PAGE
            after = found[-1].seq if found else after


def _check_what_stays(keep: object, older_than: object) -> None:
    if not isinstance(keep, int) or isinstance(keep, bool):
        raise ConfigurationError(f"keep={keep!r} must be a whole number, of the newest entries that stay.")
    if keep < MIN_KEPT:
        raise ConfigurationError(
            f"keep={keep!r} must be at least {MIN_KEPT}: so many batches can Spark run again after a rollback, and one "
            "whose entry is gone is refused."
        )
    if older_than is not None and not isinstance(older_than, timedelta):
        raise ConfigurationError(f"older_than={older_than!r} must be a datetime.timedelta, such as timedelta(days=90).")
    if older_than is not None and older_than < timedelta(0):
        raise ConfigurationError(f"older_than={older_than!r} must not be negative.")


@cache
def _identity(database: Database, url: URL, schema: str | None) -> str:
    """The ledger's identity, after it was made and its version checked; once in a process.

    Where nothing but the tables' names keeps two processes apart, whoever comes second is refused, in each driver's own
    words, and looks again: the other one may be between two of its tables.
    """
    pauses = iter(_PAUSES)
    while True:
        if (found := _made(database, url, schema)) is not None:
            return found
        try:
            with database.writing(url) as connection:
                return create(connection, database, schema)
        except (WriteFailed, CommitInDoubt) as error:
            if (pause := next(pauses, None)) is None:
                raise LedgerError(f"{LEDGER} cannot be made: {error}") from None
            sleep(pause)


def _made(database: Database, url: URL, schema: str | None) -> str | None:
    with database.reading(url) as connection:
        return identity(connection, schema)
