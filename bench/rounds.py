"""Sides of one piece of work, measured in turn in one run."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from rich.console import Console

from bench.load import BUSY, others

OURS = "foreachonce"


@dataclass
class Work:
    """One piece of work, and what each side took for it.

    Args:
        title: what is done.
        unit: of ``took``.
        ours: the side that the others are compared with.
        goals: by side, how many times what we take it should take at least.
        limit: how much we may take, where that is the goal.
        took: by side, a figure for each round.
        load: before each figure, the share of the cores that others used.
    """

    title: str
    unit: str = "s"
    ours: str = OURS
    goals: Mapping[str, float] = field(default_factory=dict)
    limit: float | None = None
    took: dict[str, list[float]] = field(default_factory=dict)
    load: list[float] = field(default_factory=list)

    @property
    def is_disturbed(self) -> bool:
        """Whether others kept the machine busy."""
        return bool(self.load) and statistics.median(self.load) > BUSY

    def median(self, side: str) -> float:
        """The side's median."""
        return statistics.median(self.took[side])

    def ratio(self, side: str) -> float:
        """How many times what we take the side takes."""
        return self.median(side) / self.median(self.ours)


def interleaved(work: Work, sides: Mapping[str, Callable[[], float]], rounds: int, console: Console) -> Work:
    """Measure every side ``rounds`` times, in turn, after one round that does not count."""
    for number in range(rounds + 1):
        for name, side in sides.items():
            load = others()
            took = side()
            if number:
                work.load.append(load)
                work.took.setdefault(name, []).append(took)
            busy = f", others use {load:.0%} of the cores" if load > BUSY else ""
            console.print(f"{work.title}: round {number or 'warm-up'}: {name} {took:.4g} {work.unit}{busy}", highlight=False)
    return work
