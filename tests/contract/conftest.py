"""The databases and their paths, a way to bring rows in, a way to hurt, and a way to ask."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from foreachonce import JdbcSink, exactly_once
from foreachonce.faults import VARIABLE
from foreachonce.sql.url import parse_url
from foreachonce.testing.faults import Faults


@pytest.fixture(params=["sqlite_url", "postgres_url", "mariadb_url"])
def url(request) -> str:
    return request.getfixturevalue(request.param)


@pytest.fixture(params=["direct", "staged"])
def path(request, url) -> str:
    if request.param == "staged" and url.startswith("sqlite"):
        pytest.skip("SQLite has one path")
    return request.param


@pytest.fixture
def land(stream):
    """Bring batches of rows, one file each, through a sink; return the sink."""

    def land(sink: JdbcSink, *batches: list[tuple], schema, change=lambda frame: frame) -> JdbcSink:
        before = len(list(stream.source.glob("*.json")))

        @exactly_once(sink)
        def batch(frame, batch_id):
            return change(frame.sparkSession.createDataFrame(batches[batch_id - before], schema))

        stream.feed(*([number] for number in range(len(batches))))
        stream.run(batch)
        return sink

    return land


@pytest.fixture
def faults() -> Iterator[Faults]:
    """The fault points of this process and its workers."""
    faults = Faults(Path(os.environ[VARIABLE]))
    yield faults
    faults.clear()


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
