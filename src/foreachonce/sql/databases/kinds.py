"""Which database an address means."""

from __future__ import annotations

from sqlalchemy.engine import URL

from foreachonce.sql.databases.base import Database
from foreachonce.sql.databases.generic import Generic
from foreachonce.sql.databases.mariadb import MariaDb
from foreachonce.sql.databases.postgres import Postgres
from foreachonce.sql.databases.sqlite import Sqlite


def database_of(url: URL, *, generic: bool, ledger_schema: str | None) -> Database:
    """The database behind an address that :func:`~foreachonce.sql.url.parse_url` has understood."""
    if generic:
        return Generic(ledger_schema)
    kinds: dict[str, type[Database]] = {"postgresql": Postgres, "mysql": MariaDb, "sqlite": Sqlite}
    return kinds[url.get_backend_name()]()
