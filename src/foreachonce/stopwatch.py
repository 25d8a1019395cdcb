"""How long the steps of an epoch take. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

from foreachonce.events import Step


class Stopwatch:
    """Seconds by step; it runs from the moment when it is made."""

    def __init__(self) -> None:
        self._steps: dict[Step, float] = {}
        self._start = perf_counter()

    @contextmanager
    def step(self, name: Step) -> Iterator[None]:
        """Time a block, also one that raises. A step that is taken twice takes as long as both."""
        start = perf_counter()
        try:
            yield
        finally:
            self._steps[name] = self._steps.get(name, 0.0) + perf_counter() - start

    def again(self) -> Stopwatch:
        """Another one, on which just the steps so far have passed."""
        other = Stopwatch()
        other._steps = dict(self._steps)
        other._start -= sum(self._steps.values())
        return other

    @property
    def seconds(self) -> dict[Step, float]:
        """The steps that were taken, and the total."""
        return {**self._steps, "total": perf_counter() - self._start}
