"""The JDBC sink keeps the contract on both databases, and PostgreSQL on both paths."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from foreachonce import JdbcSink
from foreachonce.sql.url import parse_url
from foreachonce.testing.contract import SinkContract


class JdbcContract(SinkContract):
    url: str
    path = "auto"

    def sink(self, stream, **keywords):
        return JdbcSink(self.url, table="events", stream=stream, path=self.path, **keywords)

    def read(self):
        engine = sa.create_engine(parse_url(self.url), poolclass=sa.NullPool)
        with engine.connect() as connection:
            if not sa.inspect(connection).has_table("events"):
                return []
            return list(connection.execute(sa.text("select id from events order by id")).scalars())


class TestSqlite(JdbcContract):
    @pytest.fixture(autouse=True)
    def place(self, sqlite_url):
        self.url = sqlite_url


class TestPostgresDirect(JdbcContract):
    path = "direct"

    @pytest.fixture(autouse=True)
    def place(self, postgres_url):
        self.url = postgres_url


class TestPostgresStaged(JdbcContract):
    path = "staged"

    @pytest.fixture(autouse=True)
    def place(self, postgres_url):
        self.url = postgres_url
