"""A checkpoint as seen from outside: which batch has begun, which is over, and how long they take."""

from __future__ import annotations

from pathlib import Path
from shutil import rmtree
from statistics import median

RECENT = 5


class Checkpoint:
    """Reads a query's checkpoint folder: ``offsets/N`` begins batch N, ``commits/N`` ends it."""

    def __init__(self, folder: Path) -> None:
        self._offsets, self._commits = folder / "offsets", folder / "commits"
        self._slow: set[int] = set()
        self._took: list[float] = []

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
        while self.is_over(batch := len(self._took)):
            # A checkpoint that was written anew has the newest batches only.
            begun = self.begun_at(batch) if self.has_begun(batch) else self._ended_at(batch)
            self._took.append(self._ended_at(batch) - begun)
        return len(self._took)

    def begun_at(self, batch: int) -> float:
        """When the batch began, in seconds of the wall clock."""
        return (self._offsets / str(batch)).stat().st_mtime

    def expect_slow(self) -> None:
        """Leave the coming batch out of what is usual: a driver's first one warms it up, or spans its death."""
        self._slow.add(self.batches())

    def usual(self) -> float:
        """The seconds that a batch usually takes: the median of the newest."""
        usual = [self._took[batch] for batch in range(self.batches()) if batch not in self._slow]
        return median(usual[-RECENT:])

    def lose(self) -> None:
        """Delete it."""
        rmtree(self._offsets.parent)

    def _ended_at(self, batch: int) -> float:
        return (self._commits / str(batch)).stat().st_mtime
