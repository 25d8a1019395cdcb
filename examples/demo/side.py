"""One side of the comparison: its driver, what it has written, and how often it was killed."""

from __future__ import annotations

from pathlib import Path

import launch
from checkpoint import Checkpoint
from driver import Driver
from killer import Moment, kill
from show import Show
from target import Count, Target

from flights import BATCH_ROWS, TOTAL


class Side:
    """Runs one side. Use it as a context: nothing of its driver is left at the end.

    Args:
        name: which side, a key of ``job.SIDES``.
        target: where it writes.
        folder: for checkpoint, log and scratch files.
        show: where to tell what happens.
    """

    def __init__(self, name: str, target: Target, folder: Path, show: Show) -> None:
        self.name, self.target, self.kills = name, target, 0
        self._show = show
        checkpoint, scratch = folder / f"{name}-checkpoint", folder / f"{name}-scratch"
        scratch.mkdir()
        self._checkpoint = Checkpoint(checkpoint)
        environment = launch.environment(target.variables, scratch)
        self._driver = Driver(target.command(checkpoint), environment, self._checkpoint, folder / f"{name}.log")

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
        first = landed.batch * BATCH_ROWS
        flights = range(first, min(first + BATCH_ROWS, TOTAL))
        self._show.killed(self.name, self.kills, planned, landed, self.target.held(flights), len(flights))
        self.count()

    def lose_checkpoint(self) -> None:
        """Delete the checkpoint of a driver that is dead."""
        self._checkpoint.lose()
        self._show.say(f"        {self.name:11}  its checkpoint is deleted, amid its stream")

    def start(self) -> None:
        """Start the driver, which nobody kills any more."""
        self._driver.start()

    def is_running(self) -> bool:
        """Whether the driver is still at work; False where everything is written."""
        self._tick()
        return self._driver.is_running()

    def count(self) -> Count:
        """Count the rows that are there."""
        count = self.target.count()
        self._show.rows(self.name, count.written, self.kills)
        return count

    def _tick(self) -> None:
        self._show.batches(self.name, self._checkpoint.batches())
