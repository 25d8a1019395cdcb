"""A reader of a database's table."""

from __future__ import annotations

import sqlalchemy as sa

from foreachonce.sql.url import parse_url
from tests.acceptance.reader import FILE_IDS, Reader


class SqlReader(Reader):
    """Polls at READ COMMITTED."""

    def __init__(self, url: str) -> None:
        super().__init__()
        # One connection for the thread and one for others: opening them would take the time of what is watched.
        self._engine = sa.create_engine(parse_url(url), isolation_level="AUTOCOMMIT")

    def look(self) -> None:
        """Count each file's rows in one statement."""
        # The first id of each file; a quotient would have a fraction on MariaDB.
        counts = f"select id - id % {FILE_IDS} as file, count(*) as found from events group by 1"
        with self._engine.connect() as connection:
            if not self.looks and not sa.inspect(connection).has_table("events"):
                return
            found = connection.execute(sa.text(counts)).all()
        self.note({file // FILE_IDS: rows for file, rows in found})
        self.looks += 1

    def ids(self) -> list[int]:
        """All ids in the table, in order."""
        with self._engine.connect() as connection:
            return list(connection.execute(sa.text("select id from events order by id")).scalars())

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()
