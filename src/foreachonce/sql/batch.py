"""One batch on its way into a database: where to, and the entry that is committed with its rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy.engine import URL, Connection

from foreachonce.entry import Entry
from foreachonce.faults import fault
from foreachonce.sql import entries, fence
from foreachonce.sql.databases.base import Database
from foreachonce.sql.schema import check_identity


@dataclass(frozen=True, slots=True)
class Batch:
    """What every process that works on a batch must know; it travels to the executors.

    Args:
        database, url: where the rows go.
        ledger_schema, identity: which ledger, and the identity that the driver has read there.
        entry: the entry that is committed with the rows.
    """

    database: Database
    url: URL
    ledger_schema: str | None
    identity: str
    entry: Entry

    @contextmanager
    def writing(self, *, executor: bool = False) -> Iterator[Connection]:
        """A transaction of the run that holds the stream; committed when the block ends.

        Raises:
            Fenced: a newer run has taken the stream.
            LedgerError: the database is not the one that the driver has read.
        """
        with self.database.writing(self.url, executor=executor) as connection:
            if executor:
                check_identity(connection, self.ledger_schema, self.identity)
            entry = self.entry
            fence.hold(connection, self.database, self.ledger_schema, self.identity, entry.stream, entry.run_id)
            yield connection

    def append_entry(self, connection: Connection, rows: int | None) -> None:
        """Append the entry to the ledger, in the transaction of the rows."""
        fault("rows-written")
        entries.append(connection, self.ledger_schema, self.entry, rows)
        fault("entry-written")

    def is_committed(self, connection: Connection) -> bool:
        """Whether the ledger has an entry of this batch."""
        return entries.has_batch(connection, self.ledger_schema, self.entry)
