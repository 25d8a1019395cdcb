"""The JDBC sink keeps the contract on every database, and on both paths where there are two."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from foreachonce import JdbcSink
from foreachonce.runner import POINTS_AFTER, POINTS_BEFORE
from foreachonce.sql.paths import DIRECT_POINTS, DRIVER_POINTS, STAGED_POINTS
from foreachonce.sql.url import parse_url
from foreachonce.testing.contract import SinkContract
from foreachonce.testing.writing import WriteContract


class JdbcPlace:
    url: str
    path = "direct"
    points = (*POINTS_BEFORE, *DIRECT_POINTS, *POINTS_AFTER)
    worker_points = DIRECT_POINTS

    def sink(self, stream, **keywords):
        return JdbcSink(self.url, table="events", stream=stream, path=self.path, **keywords)

    def read(self):
        engine = sa.create_engine(parse_url(self.url), poolclass=sa.NullPool)
        with engine.connect() as connection:
            if not sa.inspect(connection).has_table("events"):
                return []
            return list(connection.execute(sa.text("select id from events order by id")).scalars())


class JdbcContract(JdbcPlace, SinkContract):
    pass


class JdbcWay(JdbcPlace, WriteContract):
    """A second way into a database that keeps the whole contract by another one."""


class TestSqlite(JdbcContract):
    path = "driver"
    points = (*POINTS_BEFORE, *DRIVER_POINTS, *POINTS_AFTER)
    worker_points = ()
    # Only the process that holds the file's lock can let it go.
    unbreakable = ("rows-half", "rows-written", "entry-written")

    @pytest.fixture(autouse=True)
    def place(self, sqlite_url):
        self.url = f"{sqlite_url}?timeout=2"


class TestPostgresDriver(JdbcWay):
    path = "driver"
    # The others are passed in the same way as on the direct path.
    points = DRIVER_POINTS
    worker_points = ()

    @pytest.fixture(autouse=True)
    def place(self, postgres_url):
        self.url = postgres_url


class TestPostgresDirect(JdbcContract):
    @pytest.fixture(autouse=True)
    def place(self, postgres_url):
        self.url = postgres_url


class TestPostgresStaged(JdbcWay):
    path = "staged"
    points = (*POINTS_BEFORE, *STAGED_POINTS, *POINTS_AFTER)
    worker_points = ("rows-half", "part-staged")

    @pytest.fixture(autouse=True)
    def place(self, postgres_url):
        self.url = postgres_url


class TestMariaDbDirect(JdbcContract):
    @pytest.fixture(autouse=True)
    def place(self, mariadb_url):
        self.url = mariadb_url


class TestMariaDbStaged(JdbcWay):
    path = "staged"
    # The others are passed in the same way as on the direct path.
    points = STAGED_POINTS
    worker_points = ("rows-half", "part-staged")

    @pytest.fixture(autouse=True)
    def place(self, mariadb_url):
        self.url = mariadb_url
