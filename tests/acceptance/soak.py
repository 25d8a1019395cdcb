"""Kill drivers at seeded random moments and count every row: ``python -m tests.acceptance.soak --rounds 50 --seed 7``."""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from foreachonce import DeltaSink, JdbcSink, KafkaSink
from foreachonce.chain import breaks
from foreachonce.testing.driver import Driver, Job, Victim
from foreachonce.testing.stream import FileStream
from tests.acceptance.place import NAMES, place, reader, sinks
from tests.acceptance.reader import Reader, file_ids
from tests.servers.archive import offer_all

AnySink = JdbcSink | DeltaSink | KafkaSink
# In turn. The first four are one of each; a cluster of executors takes by far the longest to start.
VICTIMS: tuple[Victim, ...] = ("python", "jvm", "all", "executors", "all", "python", "jvm", "all")
CLUSTER = "local-cluster[2,1,1024]"
MASTER = "local[8,4]"
# Counted from a batch's offsets/N. A batch takes about 0.3 s on two cores, so a kill falls into any step of one of the
# first few.
LONGEST_LIFE = 2.0
FILES_A_ROUND = 5


@dataclass
class Report:
    """What a soak has found."""

    kills: Counter[Victim] = field(default_factory=Counter)
    expected: int = 0
    lost: int = 0
    duplicated: int = 0
    parts_seen: int = 0
    repeated: int = 0
    breaks: int = 0

    @property
    def is_clean(self) -> bool:
        """Whether every row is there once, and no reader saw a part of a batch."""
        return not (self.lost or self.duplicated or self.parts_seen or self.repeated or self.breaks)


@dataclass
class Side:
    """A place, with a stream of its own.

    Args:
        where: the place's address.
        stream: the source and the checkpoint.
    """

    where: str
    stream: FileStream
    report: Report = field(default_factory=Report)

    def __post_init__(self) -> None:
        self.ways, self.watch = sinks(self.where), reader(self.where)

    def job(self, round_number: int = 0, master: str = MASTER) -> Job:
        """What is new, by one way or another."""
        return Job(self.ways[round_number % len(self.ways)], self.stream.source, self.stream.checkpoint, master=master)

    def feed(self) -> None:
        """Add files."""
        first = len(list(self.stream.source.glob("*.json")))
        self.stream.feed(*(file_ids(first + number) for number in range(FILES_A_ROUND)))


def soak(
    places: Mapping[str, str], folder: Path, *, rounds: int, seed: int, say: Callable[[str], object] = lambda line: None
) -> dict[str, Report]:
    """Run ``rounds`` drivers one after the other, each with a stream into every place; kill each at a random moment."""
    chance, done = random.Random(seed), 0
    sides = {name: Side(where, FileStream(None, folder / name)) for name, where in places.items()}
    with ExitStack() as stack:
        for side in sides.values():
            stack.enter_context(side.watch)
        while done < rounds:
            victim = VICTIMS[done % len(VICTIMS)]
            for side in sides.values():
                side.feed()
            if _kill_one(list(sides.values()), done, victim, chance):
                done += 1
                looks = {name: (side.watch.looks, len(side.watch.parts)) for name, side in sides.items()}
                say(f"kill {done} of {rounds}: {victim}; looks, and parts seen: {looks}")
                for side in sides.values():
                    side.report.kills[victim] += 1
        with Driver(*(side.job() for side in sides.values())) as driver:
            assert driver.wait() == 0, driver.log()
        for side in sides.values():
            count(side.report, side.stream.ids(), side.watch, side.ways[0])
    return {name: side.report for name, side in sides.items()}


def _kill_one(sides: Sequence[Side], number: int, victim: Victim, chance: random.Random) -> bool:
    """Start a driver and kill a part of it; whether it was still at work. Its other parts die, or go on for a while."""
    life, linger = chance.uniform(0.0, LONGEST_LIFE), chance.choice((0.0, 0.5))
    is_cluster = victim == "executors"
    with Driver(*(side.job(number, CLUSTER if is_cluster else MASTER) for side in sides)) as driver:
        driver.wait_until_ready()
        _wait_for_a_batch(driver, [side.stream.checkpoint / "offsets" for side in sides])
        time.sleep(life)
        was_at_work = driver.is_running
        driver.kill(victim)
        if is_cluster:
            driver.wait()  # Spark starts another executor and goes on
        time.sleep(linger)
    return was_at_work


def _wait_for_a_batch(driver: Driver, offsets: Sequence[Path]) -> None:
    """Wait until the driver has written the offsets of a batch of its own."""
    before = _files(offsets)
    while driver.is_running and _files(offsets) == before:
        time.sleep(0.005)


def _files(folders: Sequence[Path]) -> set[Path]:
    return {file for folder in folders for file in folder.glob("*")}


def count(report: Report, expected: list[int], reader: Reader, sink: AnySink) -> None:
    """Compare what is there with what was fed."""
    reader.look()
    found = Counter(reader.ids())
    report.expected = len(expected)
    report.lost = sum(1 for number in expected if number not in found)
    report.duplicated = sum(times - 1 for times in found.values())
    report.parts_seen = len(reader.parts)
    report.breaks = len(list(breaks(sink.ledger.entries("s"))))
    report.repeated = max(0, reader.still - sum(entry.is_repair for entry in sink.ledger.entries("s")))


def main() -> int:
    """Soak every place and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=50, help="kills, of a driver that writes to every place")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32), help="repeats a run's random moments")
    parser.add_argument("--only", choices=NAMES, nargs="+", default=NAMES, help="where to; otherwise everywhere")
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    offer_all()
    with TemporaryDirectory(prefix="foreachonce-soak-") as folder, ExitStack() as stack:
        places = {name: stack.enter_context(place(name, folder)) for name in arguments.only}
        reports = soak(places, Path(folder, "streams"), rounds=arguments.rounds, seed=arguments.seed,
                       say=lambda line: print(line, flush=True))  # fmt: skip
    for name, report in reports.items():
        print(f"{name}: {report}", flush=True)
    return 0 if all(report.is_clean for report in reports.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
