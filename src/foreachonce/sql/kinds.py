"""Which database an address means."""

from __future__ import annotations

from sqlalchemy.engine import URL

from foreachonce.sql.database import Database
from foreachonce.sql.postgres import Postgres
from foreachonce.sql.sqlite import Sqlite


def database_of(url: URL) -> Database:
    """The database behind an address that :func:`~foreachonce.sql.url.parse_url` has understood."""
    return Sqlite() if url.get_backend_name() == "sqlite" else Postgres()
