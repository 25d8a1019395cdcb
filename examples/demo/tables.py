"""Databases: one of its own for each side, and what SQL counts in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import launch
import sqlalchemy as sa
from jdbc import driver_jar
from job import STREAM, TABLE, once
from query import COLUMNS, TASKS
from target import Count, Target

import flights
from foreachonce import Entry
from tests.servers.postgres import database, postgres


@contextmanager
def tables(sink: str, names: Sequence[str], folder: Path) -> Iterator[dict[str, Target]]:
    """Write the files that both sides read, and yield a new table for each name."""
    jar, source = driver_jar(sink), folder / "input"
    flights.write_files(source, flights.BATCHES * TASKS)
    with databases(sink, names, folder) as urls:
        yield {name: Table(name, urls[name], source, jar) for name in names}


@contextmanager
def databases(sink: str, names: Sequence[str], folder: Path) -> Iterator[dict[str, str]]:
    """Yield the address of a new database for each name."""
    with ExitStack() as stack:
        if sink == "sqlite":
            yield {name: f"sqlite:///{folder}/{name}.db" for name in names}
        else:
            server = stack.enter_context(postgres())
            yield {name: stack.enter_context(database(server)) for name in names}


class Table:
    """A side's table, a :class:`~target.Target`.

    Args:
        side: which side writes it.
        url: the database's address.
        source: the folder that the side reads.
        jar: the database's JDBC driver.
    """

    def __init__(self, side: str, url: str, source: Path, jar: Path) -> None:
        self._side, self._url, self._source, self._jar = side, url, source, jar
        address = url.replace("postgresql://", "postgresql+psycopg://", 1)
        self._engine = sa.create_engine(address, poolclass=sa.NullPool)
        with self._engine.begin() as connection:
            connection.execute(sa.text(f"create table {TABLE} ({COLUMNS.replace('string', 'text')})"))

    @property
    def variables(self) -> Mapping[str, str]:
        """The address, which may hold a password."""
        return {"DATABASE_URL": self._url}

    def command(self, checkpoint: Path) -> list[str]:
        """The command line of ``job.py``."""
        return launch.command("job.py", self._side, self._source, checkpoint, self._jar)

    def count(self) -> Count:
        """Count all rows, and the different flights among them."""
        written, different = self._numbers(f"select count(*), count(distinct flight_id) from {TABLE}")
        return Count(written, different)

    def held(self, flight_ids: range) -> int:
        """Count how many of these flights are there."""
        ids = f"flight_id >= {flight_ids.start} and flight_id < {flight_ids.stop}"
        return self._numbers(f"select count(distinct flight_id) from {TABLE} where {ids}")[0]

    def entries(self) -> list[Entry]:
        """The ledger in this database."""
        return list(once(self._url).ledger.entries(STREAM))

    def _numbers(self, query: str) -> list[int]:
        with self._engine.connect() as connection:
            return list(connection.execute(sa.text(query)).one())
