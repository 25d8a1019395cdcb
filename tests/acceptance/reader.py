"""A reader that looks at the table all the time and notes every batch it saw a part of."""

from __future__ import annotations

import threading
import time

import sqlalchemy as sa

from foreachonce.sql.url import parse_url

# Every file, and so every batch, has this many rows: ids N * FILE_IDS up to N * FILE_IDS + ROWS.
ROWS = 400
FILE_IDS = 1000


def file_ids(number: int) -> range:
    """The ids of one file."""
    return range(number * FILE_IDS, number * FILE_IDS + ROWS)


class Reader(threading.Thread):
    """Polls at READ COMMITTED until it is told to stop; ``parts`` holds what no reader must ever see."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        # One connection for the thread and one for others: opening them would take the time of what is watched.
        self._engine = sa.create_engine(parse_url(url), isolation_level="AUTOCOMMIT")
        self._over = threading.Event()
        self.parts: list[str] = []
        self.looks = 0

    def __enter__(self) -> Reader:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()
        self._engine.dispose()

    def run(self) -> None:
        """Look until it is over."""
        while not self._over.is_set():
            self.look()
            time.sleep(0.05)

    def look(self) -> None:
        """Count each file's rows in one statement."""
        # The first id of each file; a quotient would have a fraction on MariaDB.
        counts = f"select id - id % {FILE_IDS} as file, count(*) as found from events group by 1"
        with self._engine.connect() as connection:
            if not self.looks and not sa.inspect(connection).has_table("events"):
                return
            for file, found in connection.execute(sa.text(counts)):
                if found != ROWS:
                    self.parts.append(f"{found} of {ROWS} rows of file {file // FILE_IDS}")
        self.looks += 1

    def ids(self) -> list[int]:
        """All ids in the table, in order."""
        with self._engine.connect() as connection:
            return list(connection.execute(sa.text("select id from events order by id")).scalars())
