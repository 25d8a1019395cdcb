"""Where the processor time of an append of 1.2 million rows goes: ``python -m bench.cpu``.

Two cores have two seconds of processor time in each second. What a way uses in all, divided by two, is the least that it can
take there, however its parts are arranged.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Mapping

import psutil
from rich.console import Console
from rich.table import Table

from bench.contenders import bare_copy, settled, sink, spark_jdbc
from bench.place import DDL, BatchFunction, Bench, lineitem, session
from tests.servers.postgres import database, postgres

ROUNDS = 3
# By a word of its name, what a process is.
KINDS = {"java": "Java", "postgres": "PostgreSQL", "python": "Python"}


def used() -> Counter[str]:
    """Seconds of processor time so far, by kind of process."""
    found: Counter[str] = Counter()
    for process in psutil.process_iter(["name", "cpu_times"]):
        times = process.info["cpu_times"]
        if times is None:
            continue
        name = process.info["name"] or ""
        kind = next((kind for word, kind in KINDS.items() if word in name), "")
        found[kind] += times.user + times.system
        if kind == "PostgreSQL":
            # Its backends end with their connections.
            found[kind] += times.children_user + times.children_system
    return found


def main() -> None:
    """Measure each way, and print one table."""
    console, data = Console(width=120), lineitem()
    table = Table("way", "seconds", "Java", "Python", "PostgreSQL", "all / cores", title=f"{os.cpu_count()} cores")
    with postgres() as server, database(server) as url:
        bench = Bench(session(), url)
        ways = {
            "Spark JDBC, tuned": lambda: spark_jdbc(url, tuned=True),
            "COPY by every task, no ledger": lambda: bare_copy(url),
            "foreachonce, after a shuffle": lambda: sink(url),
            "foreachonce, computed by one task": lambda: settled(url),
        }
        for name, make in ways.items():
            found = [_measured(bench, make(), data) for _ in range(ROUNDS + 1)][1:]
            best = min(found, key=lambda each: each["seconds"])
            spent = sum(best[kind] for kind in KINDS.values())
            figures = [best["seconds"], best["Java"], best["Python"], best["PostgreSQL"], spent / (os.cpu_count() or 1)]
            table.add_row(name, *(f"{figure:.2f}" for figure in figures))
    console.print(table)


def _measured(bench: Bench, function: BatchFunction, data: object) -> Mapping[str, float]:
    bench.sql("drop table if exists lineitem", DDL, "checkpoint")
    spent: Counter[str] = Counter()

    def watched(frame: object, batch_id: int) -> None:
        before, start = used(), time.perf_counter()
        function(frame, batch_id)
        spent.update({"seconds": time.perf_counter() - start})
        spent.update(used() - before)

    bench.stream(watched, data)
    return spent


if __name__ == "__main__":
    main()
