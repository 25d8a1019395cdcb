"""The killer: picks its moments at random, the same for both sides, and kills there and nowhere else."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from driver import Driver

LOOK_EVERY = 0.004


@dataclass(frozen=True)
class Moment:
    """A moment of a stream's life.

    Args:
        batch: in which batch.
        share: how far into it: the share of a usual batch's time since the batch has begun.
        usual: how many seconds a usual batch takes; None in a plan.
    """

    batch: int
    share: float
    usual: float | None = None


def plan(chance: random.Random, *, kills: int, first: int, apart: int) -> list[Moment]:
    """Pick a batch out of every ``apart`` from ``first`` on, and a moment in each of as many equal parts of a batch.

    Moments picked like this are spread evenly over a batch's time: all have the same chance, and none is left out.
    """
    shares = [(part + chance.random()) / kills for part in range(kills)]
    chance.shuffle(shares)
    return [Moment(first + apart * number + chance.randrange(apart), share) for number, share in enumerate(shares)]


def kill(driver: Driver, planned: Moment, tick: Callable[[], None]) -> Moment | None:
    """Start a driver, kill it, and return where that was; None where it came to its end before.

    Batches do not all last equally long. Where the planned one is over before its moment, the next one is tried; a kill
    counts only where the batch was in flight before it and after it.
    """
    driver.start()
    checkpoint = driver.checkpoint
    # The batch that the driver begins with is the one that was killed before: what is meant is one after it.
    batch = max(planned.batch, checkpoint.batches() + 1)
    while _comes_to(batch, driver, tick):
        begun, usual = checkpoint.begun_at(batch), checkpoint.usual()
        time.sleep(max(0.0, begun + planned.share * usual - time.time()))
        if checkpoint.is_in_flight(batch):
            now = time.time()
            driver.kill()
            if checkpoint.is_in_flight(batch):
                return Moment(batch, (now - begun) / usual, usual)
            driver.start()
        batch += 1
    return None


def _comes_to(batch: int, driver: Driver, tick: Callable[[], None]) -> bool:
    while not driver.checkpoint.has_begun(batch):
        if not driver.is_running():
            return False
        tick()
        time.sleep(LOOK_EVERY)
    return True
