"""Kill drivers at seeded random moments and count every row: ``python -m tests.acceptance.soak --rounds 50 --seed 7``."""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
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


def soak(where: str, folder: Path, *, rounds: int, seed: int, say=lambda line: None) -> Report:
    """Run ``rounds`` drivers one after the other on one stream, kill each at a random moment, and count."""
    chance = random.Random(seed)
    ways = sinks(where)
    stream = FileStream(None, folder)
    report = Report()
    with reader(where) as watch:
        while report.kills.total() < rounds:
            number = report.kills.total()
            victim, sink = VICTIMS[number % len(VICTIMS)], ways[number % len(ways)]
            _feed(stream)
            if _kill_one(sink, stream, victim, chance):
                report.kills[victim] += 1
                say(f"kill {report.kills.total()} of {rounds}: {victim}, {watch.looks} looks, {len(watch.parts)} in part")
        with Driver(Job(ways[0], stream.source, stream.checkpoint)) as driver:
            assert driver.wait() == 0, driver.log()
        count(report, stream.ids(), watch, ways[0])
    return report


def _feed(stream: FileStream) -> None:
    first = len(list(stream.source.glob("*.json")))
    stream.feed(*(file_ids(first + number) for number in range(FILES_A_ROUND)))


def _kill_one(sink: AnySink, stream: FileStream, victim: Victim, chance: random.Random) -> bool:
    """Start a driver and kill a part of it; whether it was still at work. Its other parts die, or go on for a while."""
    life, linger = chance.uniform(0.0, LONGEST_LIFE), chance.choice((0.0, 0.5))
    is_cluster = victim == "executors"
    job = Job(sink, stream.source, stream.checkpoint, limit=1, master=CLUSTER if is_cluster else "local[2]")
    with Driver(job) as driver:
        driver.wait_until_ready()
        _wait_for_a_batch(driver, stream.checkpoint / "offsets")
        time.sleep(life)
        was_at_work = driver.is_running
        driver.kill(victim)
        if is_cluster:
            driver.wait()  # Spark starts another executor and goes on
        time.sleep(linger)
    return was_at_work


def _wait_for_a_batch(driver: Driver, offsets: Path) -> None:
    """Wait until the driver has written the offsets of a batch of its own."""
    before = set(offsets.glob("*"))
    while driver.is_running and set(offsets.glob("*")) == before:
        time.sleep(0.005)


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
    parser.add_argument("--rounds", type=int, default=50, help="kills on each place")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32), help="repeats a run's random moments")
    parser.add_argument("--only", choices=NAMES, nargs="+", default=NAMES, help="where to; otherwise everywhere")
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    offer_all()
    reports = []
    with TemporaryDirectory(prefix="foreachonce-soak-") as folder:
        for name in arguments.only:
            with place(name, folder) as where:
                report = soak(where, Path(folder, name), rounds=arguments.rounds, seed=arguments.seed,
                              say=lambda line, name=name: print(f"{name}: {line}", flush=True))  # fmt: skip
            print(f"{name}: {report}", flush=True)
            reports.append(report)
    return 0 if all(report.is_clean for report in reports) else 1


if __name__ == "__main__":
    sys.exit(main())
