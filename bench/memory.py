"""What the driver holds while a batch is written: 1.2 million rows against a tenth of them.

Each is a driver of its own on a local cluster, so that the executor's memory is another process's.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable
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


def _resident(processes: list[psutil.Process]) -> float:
    return sum(process.memory_info().rss for process in processes) / 1e6


def _drive(url: str, data: Path) -> float:
    """Write one batch, and return the most that this process and its JVM held, in MB."""
    spark = session(MASTER)
    bench = Bench(spark, url)
    python = psutil.Process()
    driver = next(child for child in python.children(recursive=True) if "java" in child.name())
    seen, is_over = [0.0], threading.Event()

    def watch() -> None:
        while not is_over.wait(SECONDS_BETWEEN_LOOKS):
            seen.append(_resident([python, driver]))

    watcher = threading.Thread(target=watch)
    watcher.start()
    bench.stream(sink(url), data)
    is_over.set()
    watcher.join()
    spark.stop()
    return max(seen)


if __name__ == "__main__":
    print(json.dumps(_drive(sys.argv[1], Path(sys.argv[2]))))
