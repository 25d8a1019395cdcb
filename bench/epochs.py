"""Fifty batches of 1,000 rows: Spark's JDBC append, at least once, and foreachonce."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
from rich.console import Console

from bench.contenders import sink, spark_jdbc
from bench.place import DDL, BatchFunction, Bench, lineitem
from bench.rounds import OURS, Work, interleaved

EPOCHS, ROWS = 50, 1000
DATA = Path("build/bench/small")


def small_files() -> Path:
    """A file for each batch, made once."""
    if not DATA.exists():
        rows = pq.read_table(sorted(lineitem().glob("*.parquet"))[0])
        DATA.mkdir(parents=True)
        for number in range(EPOCHS):
            path = DATA / f"{number:02}.parquet"
            pq.write_table(rows.slice(number * ROWS, ROWS), path)
            os.utime(path, (number + 1, number + 1))
    return DATA


def measure(bench: Bench, rounds: int, console: Console) -> Work:
    """Time the functions of all batches together, and count the rows."""
    data = small_files()

    def side(make: Callable[[], BatchFunction]) -> Callable[[], float]:
        return bench.timed(make, data, "drop table if exists lineitem", DDL, "checkpoint", limit=1)

    sides = {
        "Spark JDBC, default": side(lambda: spark_jdbc(bench.url, tuned=False)),
        "foreachonce, path='direct'": side(lambda: sink(bench.url, path="direct")),
        "foreachonce, path='staged'": side(lambda: sink(bench.url, path="staged")),
        OURS: side(lambda: sink(bench.url)),
    }
    return interleaved(Work("50 batches of 1,000 rows", goals={"Spark JDBC, default": 1.0}), sides, rounds, console)
