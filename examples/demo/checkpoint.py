"""A checkpoint as seen from outside: which batch has begun, which is over, and how long they take."""

from __future__ import annotations

from pathlib import Path
from statistics import median

RECENT = 5


class Checkpoint:
    """Reads a query's checkpoint folder: ``offsets/N`` begins batch N, ``commits/N`` ends it."""

    def __init__(self, folder: Path) -> None:
        self._offsets, self._commits = folder / "offsets", folder / "commits"
        self._slow: set[int] = set()
        self._over = 0

    def has_begun(self, batch: int) -> bool:
        """Whether Spark has planned the batch."""
        return (self._offsets / str(batch)).exists()

    def is_over(self, batch: int) -> bool:
        """Whether Spark knows that the batch was written."""
        return (self._commits / str(batch)).exists()

    def is_in_flight(self, batch: int) -> bool:
        """Whether the batch has begun and is not over: a restart would run it again."""
        return self.has_begun(batch) and not self.is_over(batch)

    def batches(self) -> int:
        """How many batches are over."""
        while self.is_over(self._over):
            self._over += 1
        return self._over

    def begun_at(self, batch: int) -> float:
        """When the batch began, in seconds of the wall clock."""
        return (self._offsets / str(batch)).stat().st_mtime

    def expect_slow(self) -> None:
        """Leave the coming batch out of what is usual: a driver's first one warms it up, or spans its death."""
        self._slow.add(self.batches())

    def usual(self) -> float:
        """The seconds that a batch usually takes: the median of the newest."""
        usual = [batch for batch in range(self.batches()) if batch not in self._slow]
        return median((self._commits / str(batch)).stat().st_mtime - self.begun_at(batch) for batch in usual[-RECENT:])
