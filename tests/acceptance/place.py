"""The places that drivers write to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from foreachonce import DeltaSink, JdbcSink
from foreachonce.testing.jdbc import offer_drivers
from foreachonce.testing.mariadb import database as mariadb_database
from foreachonce.testing.mariadb import mariadb
from foreachonce.testing.postgres import database, postgres
from tests.acceptance.delta_reader import DeltaReader
from tests.acceptance.reader import Reader
from tests.acceptance.sql_reader import SqlReader

NAMES = ("sqlite", "postgres", "mariadb", "delta")


@contextmanager
def place(name: str, folder: str) -> Iterator[str]:
    """A new place: a database's address, or a Delta table's path."""
    if name == "sqlite":
        yield f"sqlite:///{folder}/sink.db"
    elif name == "postgres":
        with postgres() as server, database(server) as url:
            yield url
    elif name == "mariadb":
        with mariadb() as server, mariadb_database(server) as url:
            yield url
    else:
        offer_drivers()
        yield f"{folder}/events"


def sinks(place: str) -> list[JdbcSink] | list[DeltaSink]:
    """Every way of rows into a place. They share a ledger, so drivers can take them in turn."""
    if "://" not in place:
        merge = {"stream": "s", "mode": "merge", "key": "id"}
        return [DeltaSink(place, stream="s"), DeltaSink(place, **merge), DeltaSink(place, **merge, when_matched="keep")]
    # The executors are killed with rows under way first.
    paths = ("direct", "driver") if place.startswith("sqlite") else ("direct", "driver", "staged")
    return [JdbcSink(place, table="events", stream="s", path=path) for path in paths]


def reader(place: str) -> Reader:
    """Somebody who looks at the place from outside."""
    return SqlReader(place) if "://" in place else DeltaReader(place)
