"""One side of the comparison: its driver, its table, and how often it was killed."""

from __future__ import annotations

from pathlib import Path

import launch
from checkpoint import Checkpoint
from driver import Driver
from killer import Moment, kill
from show import Show
from sinks import Count, Table

from flights import TOTAL


class Side:
    """Runs one side. Use it as a context: nothing of its driver is left at the end.

    Args:
        name: which side, a key of ``job.SIDES``.
        sink, url: what kind of database, and where it is.
        folder: for checkpoint, log and scratch files; the input is in there.
        batch_rows: the rows of a batch.
        show: where to tell what happens.
    """

    def __init__(self, name: str, *, sink: str, url: str, folder: Path, batch_rows: int, show: Show) -> None:
        self.name, self.url, self.kills = name, url, 0
        self._table, self._batch_rows, self._show = Table(url), batch_rows, show
        checkpoint, scratch = folder / f"{name}-checkpoint", folder / f"{name}-scratch"
        scratch.mkdir()
        self._checkpoint = Checkpoint(checkpoint)
        command = launch.command(name, sink, folder / "input", checkpoint)
        environment = launch.environment(url, scratch)
        self._driver = Driver(command, environment, self._checkpoint, folder / f"{name}.log")

    def __enter__(self) -> Side:
        return self

    def __exit__(self, *_: object) -> None:
        self._driver.kill()

    def kill(self, planned: Moment) -> None:
        """Run until the planned moment, kill the driver there, and tell what was committed by then."""
        landed = kill(self._driver, planned, self._tick)
        if landed is None:
            self._show.say(f"        {self.name:11}  was through with all batches before its next kill")
            return
        self.kills += 1
        first = landed.batch * self._batch_rows
        flights = range(first, min(first + self._batch_rows, TOTAL))
        self._show.killed(self.name, self.kills, planned, landed, self._table.held(flights), len(flights))
        self.count()

    def start(self) -> None:
        """Start the driver, which nobody kills any more."""
        self._driver.start()

    def is_running(self) -> bool:
        """Whether the driver is still at work; False where everything is written."""
        self._tick()
        return self._driver.is_running()

    def count(self) -> Count:
        """Count the rows that are there."""
        count = self._table.count()
        self._show.rows(self.name, count.written, self.kills)
        return count

    def _tick(self) -> None:
        self._show.batches(self.name, self._checkpoint.batches())
