"""Many entries as few: what a plot shows where it has not the width for each. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from statistics import median
from typing import NamedTuple

from foreachonce.cli.page.scale import step_of
from foreachonce.cli.page.story import Point

# So many entries are shown one by one.
FEW = 300


class Bin(NamedTuple):
    """Entries that are shown as one."""

    start: float
    end: float
    """The moments between which they were committed; one entry has one moment."""
    points: Sequence[Point]

    @property
    def rows(self) -> int:
        """The rows of all."""
        return sum(point.rows or 0 for point in self.points)

    @property
    def seconds(self) -> tuple[float, float, float] | None:
        """The least, middle and greatest time since the batch before; None where there was none."""
        found = [point.seconds for point in self.points if point.seconds is not None]
        return (min(found), median(found), max(found)) if found else None

    @property
    def rate(self) -> float | None:
        """Rows a second."""
        timed = [point for point in self.points if point.seconds and point.rows is not None]
        seconds = sum(point.seconds or 0 for point in timed)
        return sum(point.rows or 0 for point in timed) / seconds if seconds else None


def binned(points: Iterable[Point], first: float, last: float) -> tuple[Sequence[Bin], float | None]:
    """Batches one by one where they are few, else by steps of time, whose length in seconds comes with them."""
    # Clocks may go back.
    batches = sorted((point for point in points if not point.is_repair), key=lambda point: point.time)
    if len(batches) <= FEW:
        return [Bin(point.time, point.time, [point]) for point in batches], None
    step = step_of((last - first) / FEW)
    groups = groupby(batches, key=lambda point: int(point.time // step))
    return [Bin(number * step, (number + 1) * step, list(found)) for number, found in groups], step
