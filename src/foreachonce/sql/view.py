"""The ledger of a database, from outside a transaction."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from sqlalchemy.engine import URL

from foreachonce.entry import Entry, Found
from foreachonce.epoch import Epoch
from foreachonce.errors import LedgerError, WriteFailed
from foreachonce.keywords import texts
from foreachonce.sql import ledger
from foreachonce.sql.database import Database
from foreachonce.sql.kinds import database_of
from foreachonce.sql.url import parse_url, shown


class SqlLedger:
    """The ledger that a database holds; it is made where there is none.

    Args:
        url: as for :class:`~foreachonce.JdbcSink`.
        schema: the schema of ``foreachonce_ledger``; None is the connection's default.

    Raises:
        ConfigurationError: at once, for an address that cannot be understood.
        SinkUnavailable, LedgerError: by every method, where the database or its ledger cannot be read.
    """

    def __init__(self, url: str, *, schema: str | None = None) -> None:
        texts(schema=schema)
        self.url = parse_url(url)
        self.schema = schema
        self.database = database_of(self.url)

    def __repr__(self) -> str:
        return f"SqlLedger({shown(self.url)!r}, schema={self.schema!r})"

    @property
    def identity(self) -> str:
        """The UUID that was made with the ledger."""
        return _identity(self.database, self.url, self.schema)

    def look(self, epoch: Epoch) -> Found:
        """The stream's newest entry and the epoch's own, in one statement after the first time in a process."""
        _ = self.identity
        with self.database.reading(self.url) as connection:
            return ledger.look(connection, self.schema, epoch.stream, epoch.query_id, epoch.batch_id)

    def streams(self) -> list[str]:
        """The names of all streams."""
        _ = self.identity
        with self.database.reading(self.url) as connection:
            return ledger.streams(connection, self.schema)

    def head(self, stream: str) -> Entry | None:
        """The stream's newest entry; None where it has none."""
        _ = self.identity
        with self.database.reading(self.url) as connection:
            return ledger.head(connection, self.schema, stream)

    def entries(self, stream: str) -> Iterator[Entry]:
        """Yield the stream's entries in order of seq. Between pages no connection is held, and no writer waits."""
        _ = self.identity
        after, is_over = -1, False
        while not is_over:
            with self.database.reading(self.url) as connection:
                found = ledger.page(connection, self.schema, stream, after)
            yield from found
            is_over = len(found) < ledger.PAGE
            after = found[-1].seq if found else after


@cache
def _identity(database: Database, url: URL, schema: str | None) -> str:
    """The ledger's identity, after it was made and its version checked; once in a process."""
    try:
        with database.writing(url) as connection:
            return ledger.prepare(connection, database, schema)
    except WriteFailed as error:
        raise LedgerError(f"{ledger.LEDGER} cannot be made or read: {error}") from None
