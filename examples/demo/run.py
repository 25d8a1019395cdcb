"""The demo: a streaming job is killed over and over, as it is written today and with foreachonce; then its rows are counted.

Both sides read the same rows in the same batches, and their kills are planned for the same moments: in the same batches,
after the same share of the time that a batch usually takes there. In the middle foreachonce's checkpoint is deleted as well.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import repeat
from pathlib import Path
from tempfile import TemporaryDirectory

import launch
from driver import DriverError
from job import SIDES
from killer import plan
from show import Show
from side import Side
from sinks import SINKS, Sink
from target import Count

from flights import BATCHES, TOTAL
from tests.servers.jdbc import NoDriver
from tests.servers.kafka import NoKafka
from tests.servers.postgres import NoPostgres

KILLS = 6
# After this kill foreachonce's checkpoint is deleted; the plain side keeps its own, without which it would begin anew.
LOST_AFTER = 3
SHOWN_ENTRIES = 5
LOOK_EVERY = 0.1


def main(sink: str, seed: int) -> int:
    """Run the demo; 0 where foreachonce has written every row once."""
    with Show(SIDES, BATCHES) as show:
        show.say(f"seed {seed}: make demo SINK={sink} SEED={seed} plans the same kills again")
        with set_up(SINKS[sink], show) as sides:
            begun = time.monotonic()
            compare(sides, seed, show)
            show.say(f"{time.monotonic() - begun:.0f} s after set-up")
            return report(SINKS[sink], sides, show)


@contextmanager
def set_up(sink: Sink, show: Show) -> Iterator[list[Side]]:
    """Make ready what the comparison needs, and yield both sides; nothing of it is left afterwards."""
    show.say(f"set-up: {sink.needs}")
    launch.prepare()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="foreachonce-demo-")))
        targets = stack.enter_context(sink.targets(list(SIDES), folder))
        yield [stack.enter_context(Side(name, targets[name], folder, show)) for name in SIDES]


def compare(sides: list[Side], seed: int, show: Show) -> None:
    """Kill both sides at the same moments, then let both come to their end; they run side by side."""
    show.say(f"{TOTAL:,} flights in {BATCHES} batches; {KILLS} times each side's driver gets SIGKILL amid a batch")
    show.say("picked at random, a random part of a usual batch's time after Spark has written its offsets; a batch that is")
    show.say("over before its moment is spared, and the next one is tried")
    with ThreadPoolExecutor(max_workers=len(sides)) as threads:
        for number, moment in enumerate(plan(random.Random(seed), kills=KILLS, first=3, apart=3), 1):
            list(threads.map(Side.kill, sides, repeat(moment)))
            if number == LOST_AFTER:
                sides[-1].lose_checkpoint()
    for side in sides:
        side.start()
    while sum(side.is_running() for side in sides):
        time.sleep(LOOK_EVERY)


def report(sink: Sink, sides: list[Side], show: Show) -> int:
    """Print the end of foreachonce's ledger, what is counted on both sides, and the verdict; return the exit code."""
    entries = sides[-1].target.entries()
    show.entries(f"The last {SHOWN_ENTRIES} of {len(entries)} ledger entries", entries[-SHOWN_ENTRIES:])
    counts = {side: side.count() for side in sides}
    show.table(
        f"Counted {sink.counted}",
        {"": "left"} | dict.fromkeys(("rows expected", "written", "duplicated", "lost", "kills survived"), "right"),
        [(side.name, TOTAL, n.written, n.duplicated, n.lost, side.kills) for side, n in counts.items()],
    )
    return verdict(*counts.values(), sum(entry.rows or 0 for entry in entries), show)


def verdict(plain: Count, ours: Count, ledger: int, show: Show) -> int:
    """The exit code: 0 where every flight is there once, and the ledger knows of each."""
    if (ours.written, ours.duplicated, ours.lost, ledger) == (TOTAL, 0, 0, TOTAL):
        show.say(f"foreachonce wrote every row exactly once; the same job without it wrote {plain.duplicated:,} rows twice.")
        return 0
    show.say(f"foreachonce HAS FAILED: {ours}, {ledger:,} rows in the ledger; expected {TOTAL:,}")
    return 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sink", choices=SINKS, default="sqlite", help="where the rows go")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="plans the kills of an earlier run again")
    return parser.parse_args()


if __name__ == "__main__":
    # A polite end is an end all the same: what was started is stopped, what was made is removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        sys.exit(main(**vars(_arguments())))
    except KeyboardInterrupt:
        sys.exit(130)
    except (DriverError, NoDriver, NoKafka, NoPostgres) as error:
        sys.exit(str(error))
