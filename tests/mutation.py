"""Breaks the library on purpose, a guarantee at a time, and runs the tests that must fail with it:
``python -m tests.mutation [NAME …] [--jobs 2]``.

The places are in ``tests/mutants.py``. Each edit is made in a copy of the sources, and the tests run against the copy. A
mutant that they do not notice survives, and the command fails.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import psutil

from tests.mutants import MUTANTS, ROOT, UNIT, Mutant
from tests.servers import kafka, mariadb, postgres
from tests.servers.archive import offer_all

# A selection of tests that takes longer hangs because of the mutant; without it the slowest takes about a minute.
SECONDS = 420

Outcome = Literal["noticed", "hangs", "survives", "cannot run"]


@dataclass(frozen=True)
class Result:
    """What came of a mutant. ``words`` are the tests' own, where they did not fail as they should."""

    mutant: Mutant
    outcome: Outcome
    seconds: float
    words: str = ""

    @property
    def is_good(self) -> bool:
        """Whether the tests noticed."""
        return self.outcome in ("noticed", "hangs")

    def __str__(self) -> str:
        return f"{self.mutant.name:<48} {self.outcome:<11} {self.seconds:4.0f} s  {self.mutant.file}"


def check(mutant: Mutant) -> Result:
    """Make the edit in a copy of the sources, and run each selection of tests against the copy until one passes."""
    start = time.monotonic()
    outcome: Outcome = "noticed"
    words = ""
    with TemporaryDirectory(prefix="foreachonce-mutant-") as folder:
        source = Path(shutil.copytree(ROOT / "src", Path(folder, "src")))
        place = source / "foreachonce" / mutant.file
        place.write_text(place.read_text().replace(mutant.old, mutant.new))
        for selection in sorted(mutant.tests, key=lambda selection: not selection.startswith(UNIT)):
            found, words = _run(source, Path(folder), shlex.split(selection))
            if found in ("survives", "cannot run"):
                return Result(mutant, found, time.monotonic() - start, f"{selection}:\n{words}")
            outcome = "hangs" if found == "hangs" else outcome
    return Result(mutant, outcome, time.monotonic() - start)


def _run(source: Path, folder: Path, selection: list[str]) -> tuple[Outcome, str]:
    options = ["-q", "-x", "-n", "0", "-p", "no:cacheprovider", "--hypothesis-profile=mutants"]
    command = [sys.executable, "-m", "pytest", *options, *selection]
    log = folder / "log"
    with log.open("wb") as output:
        variables = {**os.environ, "PYTHONPATH": str(source)}
        process = subprocess.Popen(command, cwd=ROOT, env=variables, stdout=output, stderr=output)
        try:
            code = process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            _kill(process.pid)
            process.wait()
            return "hangs", ""
    words = log.read_text(errors="replace")
    last = (words.splitlines() or [""])[-1]
    if code == 0:
        return "survives", words[-500:]
    # What a fixture raises, such as a missing server, is no test that fails.
    return ("noticed", "") if code == 1 and " failed" in last else ("cannot run", words[-3000:])


def _kill(process: int) -> None:
    """End a process with all below it: sessions, and drivers that stand at a fault point."""
    parent = psutil.Process(process)
    for found in [*parent.children(recursive=True), parent]:
        try:
            found.kill()
        except psutil.NoSuchProcess:
            continue


def check_all(mutants: Iterable[Mutant], jobs: int) -> list[Result]:
    """Check ``jobs`` mutants at a time, those without Spark first."""
    ordered = sorted(mutants, key=lambda mutant: mutant.needs_spark)
    results = []
    with ExitStack() as stack:
        if any(mutant.needs_spark for mutant in ordered):
            _start_servers(stack)
        pool = stack.enter_context(ThreadPoolExecutor(jobs))
        for future in as_completed([pool.submit(check, mutant) for mutant in ordered]):
            results.append(future.result())
            print(f"{len(results):3} of {len(ordered)}  {results[-1]}", flush=True)
    return sorted(results, key=lambda result: ordered.index(result.mutant))


def _start_servers(stack: ExitStack) -> None:
    """One server of each kind for all tests."""
    offer_all()
    os.environ[postgres.VARIABLE] = stack.enter_context(postgres.postgres(*postgres.FAST))
    os.environ[kafka.VARIABLE] = stack.enter_context(kafka.kafka())
    if not os.environ.get("FOREACHONCE_SKIP_MARIADB"):
        os.environ[mariadb.VARIABLE] = stack.enter_context(mariadb.mariadb(*mariadb.FAST))


def main() -> int:
    """Run the mutants that are named, or all; print a table and the survivors."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="mutants; all by default")
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time")
    given = parser.parse_args()
    unknown = set(given.names) - {mutant.name for mutant in MUTANTS}
    if unknown:
        parser.error(f"no such mutants: {', '.join(sorted(unknown))}")
    start = time.monotonic()
    results = check_all([mutant for mutant in MUTANTS if not given.names or mutant.name in given.names], given.jobs)
    print("\n" + "\n".join(map(str, results)))
    survivors = [result for result in results if not result.is_good]
    for result in survivors:
        print(f"\n{result.mutant.name} {result.outcome}: {result.words}")
    print(f"\n{len(results)} mutants in {(time.monotonic() - start) / 60:.1f} minutes; surviving: "
          f"{', '.join(result.mutant.name for result in survivors) or 'none'}")  # fmt: skip
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
