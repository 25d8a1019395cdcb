"""A batch that the ledger holds already: how long the function takes to skip it."""

from __future__ import annotations

import tempfile
from pathlib import Path

from rich.console import Console

from bench.contenders import sink
from bench.epochs import small_files
from bench.place import DDL, Bench
from bench.rounds import OURS, Work, interleaved


def measure(bench: Bench, rounds: int, console: Console) -> Work:
    """Take the newest commits/N away and start again; the first and only batch is a replay."""
    data, checkpoint = small_files(), Path(tempfile.mkdtemp(prefix="foreachonce-bench-"))
    bench.sql("drop table if exists lineitem", DDL)
    function = sink(bench.url)
    bench.stream(function, data, limit=25, checkpoint=checkpoint)

    def replay() -> float:
        for name in ("1", ".1.crc"):
            (checkpoint / "commits" / name).unlink(missing_ok=True)
        (took,) = bench.stream(function, data, limit=25, checkpoint=checkpoint)
        return 1000 * took

    return interleaved(Work("replay of a batch", unit="ms", limit=10.0), {OURS: replay}, 2 * rounds, console)
