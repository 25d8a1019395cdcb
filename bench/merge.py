"""Merge the same rows into a table that has half of their keys: what people write today, and foreachonce."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console

from bench.contenders import KEY, execute_values, sink, stage_and_merge
from bench.place import DDL, BatchFunction, Bench, lineitem
from bench.rounds import OURS, Work, interleaved

MERGE = {"mode": "merge", "key": KEY.split(", ")}
RESET = ("truncate lineitem", "insert into lineitem select * from seed", "vacuum analyze lineitem", "checkpoint")
SEED = "create table if not exists seed as select * from lineitem where mod(l_orderkey, 2) = 0"


def measure(bench: Bench, rounds: int, console: Console) -> Work:
    """Time every side, and count its rows."""
    data = lineitem()
    bench.sql("drop table if exists lineitem", DDL)
    bench.stream(sink(bench.url), data)
    bench.sql(SEED, f"alter table lineitem add primary key ({KEY})")

    def side(make: Callable[[], BatchFunction]) -> Callable[[], float]:
        return bench.timed(make, data, *RESET)

    sides = {
        "execute_values from foreachPartition": side(lambda: execute_values(bench.url)),
        "Spark JDBC staging table and MERGE": side(lambda: stage_and_merge(bench.url)),
        "foreachonce, skip_unchanged=True": side(lambda: sink(bench.url, **MERGE, skip_unchanged=True)),
        OURS: side(lambda: sink(bench.url, **MERGE)),
    }
    goals = {"execute_values from foreachPartition": 5.0, "Spark JDBC staging table and MERGE": 1.4}
    return interleaved(Work("merge of 1.2 million rows, half of the keys there", goals=goals), sides, rounds, console)
