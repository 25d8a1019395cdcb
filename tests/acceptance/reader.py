"""A reader that looks at the table all the time and notes every batch it saw a part of."""

from __future__ import annotations

import threading
import time
from abc import abstractmethod
from collections.abc import Mapping

# Every file, and so every batch, has this many rows: ids N * FILE_IDS up to N * FILE_IDS + ROWS.
ROWS = 400
FILE_IDS = 1000


def file_ids(number: int) -> range:
    """The ids of one file."""
    return range(number * FILE_IDS, number * FILE_IDS + ROWS)


class Reader(threading.Thread):
    """Looks until it is told to stop.

    Attributes:
        parts: what no reader must ever see.
        still: where the place keeps its versions, how many brought no file that the one before did not hold. A repair's does
            not, and a batch that is merged again does not.
        looks: how often it has looked.
    """

    every = 0.05
    """How many seconds pass between two looks."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._over = threading.Event()
        self.parts: list[str] = []
        self.still = 0
        self.looks = 0

    def __enter__(self) -> Reader:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()
        self.close()

    def run(self) -> None:
        """Look until it is over."""
        try:
            while not self._over.is_set():
                self.look()
                time.sleep(self.every)
        finally:
            if not self._over.is_set():
                self.parts.append("the reader has failed, and looked no more")

    @abstractmethod
    def look(self) -> None:
        """Look at the table as it is now."""

    @abstractmethod
    def ids(self) -> list[int]:
        """All ids in the table, in order."""

    def close(self) -> None:
        """Let go of what is open."""

    def note(self, counts: Mapping[int, int], where: str = "") -> None:
        """Note the files of which a part of the rows is there, or more than all."""
        for file, found in counts.items():
            if found != ROWS:
                self.parts.append(f"{found} of {ROWS} rows of file {file}{where}")
