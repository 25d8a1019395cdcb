"""The address of a database's ledger: a URL as SQLAlchemy or JDBC writes it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection

from foreachonce.address import PASSWORD, AddressOptions, Counts, Creation, LedgerAddress, TableName, naming_option
from foreachonce.entry import Entry
from foreachonce.errors import ConfigurationError, LedgerError
from foreachonce.sql.ledger import SqlLedger
from foreachonce.sql.schema import tables as ledger_tables
from foreachonce.sql.url import DRIVERS, parse_url, shown

# What a streaming user needs; docs/sinks/postgresql.md, Rights, lists it, and a test writes with a user who has no more.
PRIVILEGES = {
    "foreachonce_meta": "SELECT",
    "foreachonce_ledger": "SELECT, INSERT",
    "foreachonce_runs": "SELECT, INSERT",
    # Only @exactly_once(ledger=…) needs these two; to others they do no harm.
    "foreachonce_intents": "SELECT, INSERT",
}
_SECRET = re.compile(r"(?i)password|secret|token")
_HINT = f" --help lists the other kinds of address; a password is best in {PASSWORD}."


@dataclass(frozen=True)
class SqlAddress(LedgerAddress):
    """A database.

    Args:
        url: its address.
        schema: the schema of the ledger's tables; None is the connection's default.
        is_generic: whether only SQLAlchemy knows the database, and the library has no code of its own for it.
    """

    url: URL
    schema: str | None
    is_generic: bool

    forms = "postgresql://user@host/db, mariadb://…, sqlite:///path"
    count_option = "--table NAME"

    @classmethod
    def parse(cls, text: str, options: AddressOptions) -> SqlAddress | None:
        """Understand any ``scheme:…`` that :func:`~foreachonce.sql.url.parse_url` does, with the environment's password."""
        if ":" not in text:
            return None
        name = re.split(r"[+:]", text.removeprefix("jdbc:"), maxsplit=1)[0]
        is_generic = name not in DRIVERS and not text.startswith("jdbc:")
        with naming_option("url=", _HINT):
            url = parse_url(text, generic=is_generic)
        password = os.environ.get(PASSWORD)
        if url.password is None and password and url.get_backend_name() != "sqlite":
            url = url.set(password=password)
        return cls(url, options.schema, is_generic)

    @property
    def shown(self) -> str:
        """See :class:`~foreachonce.address.LedgerAddress`."""
        return shown(self.url)

    @property
    def arguments(self) -> Sequence[str]:
        """See :class:`~foreachonce.address.LedgerAddress`."""
        plain = self.url if self.is_generic else self.url.set(drivername=self.url.drivername.split("+")[0])
        query = {name: value for name, value in plain.query.items() if not _SECRET.search(name)}
        address = URL.create(plain.drivername, plain.username, None, plain.host, plain.port, plain.database, query)
        return ["--ledger", str(address), *([] if self.schema is None else ["--ledger-schema", self.schema])]

    @property
    def omits_password(self) -> bool:
        """See :class:`~foreachonce.address.LedgerAddress`."""
        return self.url.password is not None

    def ledger(self) -> SqlLedger:
        """Open the ledger, if it exists."""
        ledger = self.open()
        if not ledger.exists():
            where = "" if self.schema is None else f" in schema {self.schema!r}"
            raise LedgerError(
                f"there is no ledger at {self.shown}{where}. Is the address right? A sink's first batch creates one, and so "
                "does `foreachonce init`."
            )
        return ledger

    def open(self) -> SqlLedger:
        """Open the ledger; its first use creates it."""
        return SqlLedger(self.url.render_as_string(hide_password=False), schema=self.schema, generic=self.is_generic)

    def create(self, user: str) -> Creation:
        """Create the ledger's tables."""
        ledger = self.open()
        is_new = not ledger.exists()
        identity = ledger.identity
        if self.url.get_backend_name() == "sqlite":
            statements, needs = [], "A user who writes needs write permission on the file and its folder."
        else:
            statements = list(self._grants(user))
            needs = f"A user who writes to it, here {user}, needs these privileges, and others on the tables of the rows:"
        state = "Created the ledger" if is_new else "The ledger exists already"
        return Creation(f"{state}: {self.shown}, identity {identity}.\n{needs}", is_new, identity, statements)

    def prune(self, stream: str, *, keep: int, older_than: timedelta | None) -> int:
        """Delete a stream's old entries; see :meth:`~foreachonce.SqlLedger.prune`."""
        return self.ledger().prune(stream, keep=keep, older_than=older_than)

    def count(self, stream: str, tables: Sequence[TableName]) -> Counts:
        """Count the stream's rows by its entries, and the tables' rows, in one statement.

        Raises:
            ConfigurationError: a table does not exist.
        """
        ledger = self.ledger()
        with ledger.database.reading(ledger.url) as connection:
            self._refuse_unknown(connection, tables)
            return _count(connection, self.schema, stream, tables)

    def explain_unfinished(self, entry: Entry) -> str:
        """A call in doubt stops a query that starts on the best of checkpoints."""
        return (
            f"Batch {entry.batch_id} is in doubt: its call was started at {entry.time:%Y-%m-%d %H:%M:%S} UTC and has no "
            f"entry. Its idempotency key is {entry.epoch.idempotency_key}. The next start stops with InDoubt, unless "
            "in_doubt= says what to do (docs/operations/a-batch-is-in-doubt.md)."
        )

    def _grants(self, user: str) -> Iterator[str]:
        kind = self.url.get_backend_name()
        # MariaDB's databases are its schemas, and its GRANT names the schema.
        schema = self.schema or (self.url.database if kind == "mysql" else None)
        return grants(user, schema, self.url.get_dialect()().identifier_preparer.quote, has_schemas=kind != "mysql")

    def _refuse_unknown(self, connection: Connection, tables: Sequence[TableName]) -> None:
        inspector = sa.inspect(connection)
        missing = [
            repr(name) if schema is None else f"{name!r} in schema {schema!r}"
            for schema, name in tables
            if not inspector.has_table(name, schema=schema)
        ]
        if missing:
            raise ConfigurationError(f"--table: {self.shown} has no table {', '.join(missing)}; --schema names its schema.")


def grants(user: str, schema: str | None, quote: Callable[[str], str], *, has_schemas: bool) -> Iterator[str]:
    """The statements that give a user the privileges that a job needs on the ledger.

    Args:
        user: the user's name.
        schema: where the tables are; None is the connection's default.
        quote: quotes a name as the database does.
        has_schemas: whether a schema has privileges of its own, as in PostgreSQL.
    """
    if has_schemas and schema is not None:
        yield f"GRANT USAGE ON SCHEMA {quote(schema)} TO {quote(user)}"
    where = "" if schema is None else f"{quote(schema)}."
    for table, privileges in PRIVILEGES.items():
        yield f"GRANT {privileges} ON {where}{table} TO {quote(user)}"


def _count(connection: Connection, schema: str | None, stream: str, tables: Sequence[TableName]) -> Counts:
    """Count in one statement, so that no batch comes in between."""
    ledger = ledger_tables(schema).ledger
    entered = sa.select(sa.func.coalesce(sa.func.sum(ledger.c.rows), 0)).where(ledger.c.stream == stream)
    counted = [sa.select(sa.func.count()).select_from(sa.table(name, schema=place)) for place, name in tables]
    row = connection.execute(sa.select(*(each.scalar_subquery() for each in (entered, *counted)))).one()
    return Counts(int(row[0]), sum(int(value) for value in row[1:]))
