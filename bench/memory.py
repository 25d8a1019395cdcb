"""What the driver holds while a batch is written: 1.2 million rows against a tenth of them.

Each is a driver of its own on a local cluster, so that the executor's memory is another process's.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pyarrow.parquet as pq
from rich.console import Console

from bench.contenders import sink
from bench.place import DDL, Bench, lineitem, session
from bench.rounds import Work, interleaved

DATA = Path("build/bench/tenth")
OURS, OTHER = "1.2 million rows", "a tenth of them"
MASTER = "local-cluster[1,2,2048]"
SECONDS_BETWEEN_LOOKS = 0.02


def tenth() -> Path:
    """Files of a tenth of the rows, made once."""
    if not DATA.exists():
        DATA.mkdir(parents=True)
        for path in lineitem().glob("*.parquet"):
            rows = pq.read_table(path)
            pq.write_table(rows.slice(0, rows.num_rows // 10), DATA / path.name)
    return DATA


def measure(bench: Bench, rounds: int, console: Console) -> Work:
    """Ask a new driver for each figure."""

    def side(data: Path) -> Callable[[], float]:
        def run() -> float:
            bench.sql("drop table if exists lineitem", DDL)
            command = [sys.executable, "-m", "bench.memory", bench.url, str(data)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            return float(json.loads(done.stdout.splitlines()[-1]))

        return run

    work = Work("peak memory of the driver's Python and Java", unit="MB", ours=OURS, goals={OTHER: 1 / 1.1})
    return interleaved(work, {OTHER: side(tenth()), OURS: side(lineitem())}, min(rounds, 3), console)


class Peak:
    """The most that this process and its JVM hold meanwhile, and what that JVM has started, in MB.

    Args:
        with_workers: look at what the JVM has started too.
    """

    def __init__(self, *, with_workers: bool = False) -> None:
        self.driver = self.workers = 0.0
        self._with_workers, self._is_over = with_workers, threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _watch(self) -> None:
        python = psutil.Process()
        jvm = next(child for child in python.children(recursive=True) if "java" in child.name())
        while not self._is_over.wait(SECONDS_BETWEEN_LOOKS):
            self.driver = max(self.driver, _resident([python, jvm]))
            if self._with_workers:
                self.workers = max(self.workers, _resident(jvm.children(recursive=True)))


def _resident(processes: list[psutil.Process]) -> float:
    total = 0.0
    for process in processes:
        # Workers come and go.
        with suppress(psutil.NoSuchProcess):
            total += process.memory_info().rss / 1e6
    return total


def _drive(url: str, data: Path) -> float:
    """Write one batch, and return the most that this process and its JVM held, in MB."""
    spark = session(MASTER)
    with Peak() as peak:
        Bench(spark, url).stream(sink(url), data)
    spark.stop()
    return peak.driver


if __name__ == "__main__":
    print(json.dumps(_drive(sys.argv[1], Path(sys.argv[2]))))
