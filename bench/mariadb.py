"""Append 1.2 million lineitem rows to MariaDB: Spark's JDBC writer with rewriteBatchedStatements, and foreachonce."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console

from bench.contenders import sink, spark_jdbc
from bench.place import DDL, BatchFunction, Bench, lineitem
from bench.rounds import OURS, Work, interleaved
from tests.servers.mariadb import database, mariadb

JDBC = "Spark JDBC, rewriteBatchedStatements"


def measure(bench: Bench, rounds: int, console: Console) -> Work:
    """Time both sides on a MariaDB of its own, and count their rows."""
    data = lineitem()
    with mariadb() as server, database(server) as url:
        place = Bench(bench.spark, url)

        def side(make: Callable[[], BatchFunction]) -> Callable[[], float]:
            return place.timed(make, data, "drop table if exists lineitem", DDL)

        sides = {
            JDBC: side(lambda: spark_jdbc(url, tuned=True)),
            "foreachonce, path='staged'": side(lambda: sink(url, path="staged")),
            OURS: side(lambda: sink(url)),
        }
        return interleaved(Work("append of 1.2 million rows to MariaDB", goals={JDBC: 2.0}), sides, rounds, console)
