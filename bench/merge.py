"""Merge the same rows into a table that has half of their keys: what people write today, and foreachonce."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console

from bench.contenders import KEY, execute_values, sink, stage_and_merge
from bench.place import DDL, BatchFunction, Bench, count, lineitem
from bench.rounds import OURS, Work, interleaved

MERGE = {"mode": "merge", "key": KEY.split(", ")}
SEED = "create table if not exists seed as select * from lineitem where mod(l_orderkey, 2) = 0"


def measure(bench: Bench, rounds: int, console: Console) -> Work:
    """Time every side, and count its rows."""
    data = lineitem()
    expected = count(data)
    bench.sql("drop table if exists lineitem", DDL)
    bench.stream(sink(bench.url), data)
    bench.sql(SEED, f"alter table lineitem add primary key ({KEY})")

    def side(make: Callable[[], BatchFunction]) -> Callable[[], float]:
        def run() -> float:
            bench.sql(
                "truncate lineitem", "insert into lineitem select * from seed", "vacuum analyze lineitem", "checkpoint"
            )
            (took,) = bench.stream(make(), data)
            assert bench.sql("select count(*) from lineitem") == expected
            return took

        return run

    sides = {
        "execute_values from foreachPartition": side(lambda: execute_values(bench.url)),
        "Spark JDBC staging table and MERGE": side(lambda: stage_and_merge(bench.url)),
        "foreachonce, skip_unchanged=True": side(
            lambda: sink(bench.url, mode="merge", key=KEY.split(", "), skip_unchanged=True)
        ),
        OURS: side(lambda: sink(bench.url, mode="merge", key=KEY.split(", "))),
    }
    goals = {"execute_values from foreachPartition": 5.0, "Spark JDBC staging table and MERGE": 2.0}
    return interleaved(Work("merge of 1.2 million rows, half of the keys there", goals=goals), sides, rounds, console)
