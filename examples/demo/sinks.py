"""The databases: one of its own for each side, and what SQL counts in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from jdbc import PACKAGES
from job import COLUMNS, TABLE

from flights import TOTAL
from foreachonce.testing.postgres import database, postgres

SINKS = tuple(PACKAGES)


@contextmanager
def databases(sink: str, names: Sequence[str], folder: Path) -> Iterator[dict[str, str]]:
    """Yield the address of a new database for each name."""
    with ExitStack() as stack:
        if sink == "sqlite":
            yield {name: f"sqlite:///{folder}/{name}.db" for name in names}
        else:
            server = stack.enter_context(postgres())
            yield {name: stack.enter_context(database(server)) for name in names}


@dataclass(frozen=True)
class Count:
    """What a table holds."""

    written: int
    different: int

    @property
    def duplicated(self) -> int:
        """The rows that are there once too often."""
        return self.written - self.different

    @property
    def lost(self) -> int:
        """The flights that are not there."""
        return TOTAL - self.different


class Table:
    """A side's table. It is made by the demo, so that both sides start with the same."""

    def __init__(self, url: str) -> None:
        address = url.replace("postgresql://", "postgresql+psycopg://", 1)
        self._engine = sa.create_engine(address, poolclass=sa.NullPool)
        with self._engine.begin() as connection:
            connection.execute(sa.text(f"create table {TABLE} ({COLUMNS.replace('string', 'text')})"))

    def count(self) -> Count:
        """Count all rows, and the different flights among them."""
        written, different = self._numbers(f"select count(*), count(distinct flight_id) from {TABLE}")
        return Count(written, different)

    def held(self, flight_ids: range) -> int:
        """Count how many of these flights are there."""
        ids = f"flight_id >= {flight_ids.start} and flight_id < {flight_ids.stop}"
        return self._numbers(f"select count(distinct flight_id) from {TABLE} where {ids}")[0]

    def _numbers(self, query: str) -> list[int]:
        with self._engine.connect() as connection:
            return list(connection.execute(sa.text(query)).one())
