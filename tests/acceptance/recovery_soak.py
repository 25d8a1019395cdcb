"""Kill drivers, lose checkpoints and roll them back, at random, with other limits each time, and count every row:
``python -m tests.acceptance.recovery_soak --rounds 200 --seed 7``.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from foreachonce.testing.driver import Driver, Job
from foreachonce.testing.recovery import DAMAGES
from foreachonce.testing.stream import FileStream
from tests.acceptance.place import NAMES, place, reader, sinks
from tests.acceptance.reader import file_ids
from tests.acceptance.soak import AnySink, Report, count
from tests.servers.archive import offer_all

MOST_FILES, MOST_LIMIT = 3, 4
# Of all rounds, those in which the driver is killed, and those in which the checkpoint is hurt before it starts.
KILLED, HURT = 0.4, 0.6
# From the start of a job on; a repair and some batches take a second or two.
LONGEST_LIFE = 2.5
COPIES = 4


@dataclass
class Rounds:
    """One stream's life.

    Args:
        stream: the source and the checkpoint.
        chance: what is random.
        ways: every sink that may write it.
    """

    stream: FileStream
    chance: random.Random
    ways: list[AnySink]
    done: Counter[str] = field(default_factory=Counter)
    driver: Driver | None = None

    def play(self) -> None:
        """Feed, hurt, run, and kill or not."""
        first = len(list(self.stream.source.glob("*.json")))
        self.stream.feed(*(file_ids(first + number) for number in range(self.chance.randint(0, MOST_FILES))))
        if self.chance.random() < HURT:
            self._hurt()
        job = Job(self.chance.choice(self.ways), self.stream.source, self.stream.checkpoint,
                  limit=self.chance.randint(1, MOST_LIMIT), heal=True)  # fmt: skip
        if self.driver is None:
            self.driver = Driver().__enter__()
        self.driver.submit(job)
        if self.chance.random() < KILLED:
            self._kill()
        else:
            self.finish()
            self._copy()

    def finish(self) -> None:
        """Wait for the job's end, which must be a good one."""
        assert self.driver is not None
        error = self.driver.result()
        assert error == "", error
        self.done["run to its end"] += 1

    def close(self) -> None:
        """Kill what runs."""
        if self.driver is not None:
            self.driver.__exit__()
            self.driver = None

    def _kill(self) -> None:
        assert self.driver is not None
        self.driver.wait_until_ready()
        time.sleep(self.chance.uniform(0.0, LONGEST_LIFE))
        self.done["killed" if self.driver.is_busy else "killed after its end"] += 1
        self.close()

    def _hurt(self) -> None:
        """Do one of the things that can happen to a checkpoint; one that does not apply to what is there is passed over."""
        how = self.chance.choice([self._roll_back, *DAMAGES])
        try:
            how() if how == self._roll_back else how(self.stream)
        except (FileNotFoundError, ValueError):
            return
        self.done[how.__name__.strip("_")] += 1

    def _roll_back(self) -> None:
        copies = sorted(self.stream.checkpoint.parent.glob("copy-*"))
        if not copies:
            raise FileNotFoundError("no copy yet")
        shutil.rmtree(self.stream.checkpoint, ignore_errors=True)
        shutil.copytree(self.chance.choice(copies), self.stream.checkpoint)

    def _copy(self) -> None:
        copies = sorted(self.stream.checkpoint.parent.glob("copy-*"))
        if len(copies) == COPIES:
            shutil.rmtree(self.chance.choice(copies))
        # The one that a damage puts back, and one of some that a rollback does.
        for name in ("older", f"copy-{time.time_ns()}"):
            shutil.rmtree(self.stream.checkpoint.parent / name, ignore_errors=True)
            self.stream.copy_checkpoint(name)


def soak(
    where: str, folder: Path, *, rounds: int, seed: int, say: Callable[[str], object] = lambda line: None
) -> tuple[Report, Counter[str]]:
    """Play so many rounds on one stream, then run it to its end, and count."""
    report, ways = Report(), sinks(where, heal=True)
    life = Rounds(FileStream(None, folder), random.Random(seed), ways)
    with ExitStack() as stack:
        stack.callback(life.close)
        watch = stack.enter_context(reader(where))
        for number in range(rounds):
            life.play()
            say(f"round {number + 1} of {rounds}: {dict(life.done)}, {watch.looks} looks, {len(watch.parts)} in part")
        life.close()
        with Driver(Job(ways[0], life.stream.source, life.stream.checkpoint, heal=True)) as driver:
            assert driver.wait() == 0, driver.log()
        count(report, life.stream.ids(), watch, ways[0])
    report.kills["all"] = life.done["killed"]
    return report, life.done


def main() -> int:
    """Soak every place and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200, help="on each place")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32), help="repeats a run's random moments")
    parser.add_argument("--only", choices=NAMES, nargs="+", default=NAMES, help="where to; otherwise everywhere")
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    offer_all()
    reports = []
    with TemporaryDirectory(prefix="foreachonce-recovery-") as folder:
        for name in arguments.only:
            with place(name, folder) as where:
                report, done = soak(where, Path(folder, name), rounds=arguments.rounds, seed=arguments.seed,
                                    say=lambda line, name=name: print(f"{name}: {line}", flush=True))  # fmt: skip
            print(f"{name}: {report} {dict(done)}", flush=True)
            reports.append(report)
    return 0 if all(report.is_clean for report in reports) else 1


if __name__ == "__main__":
    sys.exit(main())
