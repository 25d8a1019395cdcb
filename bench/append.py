"""Append 1.2 million lineitem rows to PostgreSQL: Spark's JDBC writer, a bare COPY, and foreachonce.

Every run is a real streaming query on a new checkpoint and an empty table; what is timed is the foreachBatch function.
"""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console

from bench.contenders import bare_copy, settled, sink, spark_jdbc, two_phase
from bench.place import DDL, BatchFunction, Bench, lineitem
from bench.rounds import OURS, Work, interleaved

SETTLED = "foreachonce, a later batch"
STAGED, TWO_PHASE = "foreachonce, path='staged'", "COPY by every task, two-phase commit"


def measure(bench: Bench, rounds: int, console: Console) -> Work:
    """Time every side, and count its rows."""
    data = lineitem()

    def side(make: Callable[[], BatchFunction]) -> Callable[[], float]:
        return bench.timed(make, data, "drop table if exists lineitem", DDL, "checkpoint")

    sides = {
        "Spark JDBC, default": side(lambda: spark_jdbc(bench.url, tuned=False)),
        "Spark JDBC, tuned": side(lambda: spark_jdbc(bench.url, tuned=True)),
        "COPY by every task, no ledger": side(lambda: bare_copy(bench.url)),
        TWO_PHASE: side(lambda: two_phase(bench.url)),
        SETTLED: side(lambda: settled(bench.url)),
        STAGED: side(lambda: sink(bench.url, path="staged")),
        OURS: side(lambda: sink(bench.url)),
    }
    goals = {"Spark JDBC, default": 2.8, "Spark JDBC, tuned": 2.0, "COPY by every task, no ledger": 0.95}
    return interleaved(Work("append of 1.2 million rows", goals=goals), sides, rounds, console)
