"""The databases, and a way to ask them."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from foreachonce.sql.url import parse_url


@pytest.fixture(params=["sqlite_url", "postgres_url", "mariadb_url"])
def url(request) -> str:
    return request.getfixturevalue(request.param)


@pytest.fixture
def query(url):
    """Run one SQL statement in a transaction of its own; return its rows. MariaDB takes the standard's quotes here."""
    options = {"init_command": "set session sql_mode = 'ANSI_QUOTES,STRICT_ALL_TABLES'"} if url.startswith("mysql") else {}
    engine = sa.create_engine(parse_url(url), poolclass=sa.NullPool, connect_args=options)

    def run(statement: str):
        with engine.begin() as connection:
            result = connection.execute(sa.text(statement))
            return [tuple(row) for row in result] if result.returns_rows else []

    return run
