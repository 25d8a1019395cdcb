"""How cost grows with the work: rows, partitions, columns, a ledger's length, streams of one driver, and other ledgers.

Each figure is a driver of its own; where memory is looked at it runs on a local cluster, so that the executor is another
process. The exponent compares a line with the one above it: 1 grows as the work does, 0 does not grow.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.ledger import FILL
from bench.memory import MASTER, Peak
from bench.place import Bench, session
from foreachonce import JdbcSink, exactly_once, observe
from tests.servers.files import SETTINGS

PAGE = Path("build/bench/scale.md")
# By axis: what grows, and what each size is measured as.
ROWS = (100_000, 1_000_000, 10_000_000, 30_000_000)
PARTITIONS = (1, 2, 4, 8, 32, 200)
COLUMNS = (10, 100, 1_590)
ENTRIES = (10, 10_000, 1_000_000)
STREAMS = (1, 10, 100)
# All streams of a driver together: epochs a second, and how many of them are measured.
LOAD, EPOCHS = 2.5, 100
WARM_UP = 100_000


@dataclass(frozen=True)
class Case:
    """One figure of an axis.

    Args:
        axis: what grows.
        size: how far.
        rows, partitions, columns: of the batch.
        batches: how many; the last is measured.
        streams: how many queries there are in the driver.
        master: where Spark runs.
    """

    axis: str
    size: int
    rows: int = 1_000
    partitions: int = 2
    columns: int = 10
    batches: int = 2
    streams: int = 1
    master: str = MASTER


def cases() -> Iterator[Case]:
    """All figures, axis by axis."""
    yield from (Case("rows", size, rows=size) for size in ROWS)
    yield from (Case("partitions", size, rows=1_000_000, partitions=size) for size in PARTITIONS)
    yield from (Case("columns", size, rows=10_000, columns=size) for size in COLUMNS)
    yield from (Case("entries of the ledger", size, batches=EPOCHS, master="local[2]") for size in ENTRIES)
    yield from (Case("streams of the driver", size, streams=size, master="local[2]") for size in STREAMS)


def measure(bench: Bench, rounds: int, console: Console) -> list[Any]:
    """Measure every case in a new driver, and print one table."""
    table = Table("axis", "size", "seconds", "exponent", "driver MB", "worker MB", "WAL MB", title="cost as work grows")
    lines, before = [], None
    for case in cases():
        found = _measured(bench, case, min(rounds, 3))
        same_axis = before is not None and before[0].axis == case.axis
        growth = _exponent(before[0].size, case.size, before[1]["seconds"], found["seconds"]) if same_axis else ""
        cells = [case.axis, f"{case.size:,}", f"{found['seconds']:.3g}", growth]
        cells += [f"{found[name]:.0f}" if found[name] else "" for name in ("driver", "worker", "wal")]
        console.print(" | ".join(cells), highlight=False)
        table.add_row(*cells)
        lines.append(f"| {' | '.join(cells)} |")
        before = case, found
    console.print(table)
    PAGE.write_text(
        "| axis | size | seconds | exponent | driver MB | worker MB | WAL MB |\n|---|--:|--:|--:|--:|--:|--:|\n"
        + "\n".join(lines)
    )
    return []


def _exponent(size: int, larger: int, took: float, longer: float) -> str:
    return f"{math.log(longer / took) / math.log(larger / size):.2f}"


def _measured(bench: Bench, case: Case, rounds: int) -> Mapping[str, float]:
    """The medians of the rounds; a large case is measured once."""
    found = [_once(bench, case) for _ in range(1 if case.rows * case.columns > 20_000_000 or case.streams > 1 else rounds)]
    return {name: median(each[name] for each in found) for name in found[0]}


def _once(bench: Bench, case: Case) -> Mapping[str, float]:
    bench.sql("drop schema public cascade", "create schema public")
    if case.axis.startswith("entries"):
        # In a process of its own: this one knows of a ledger here that has just been dropped.
        subprocess.run(
            [sys.executable, "-m", "foreachonce.cli", "init", "--ledger", bench.url], check=True, stdout=subprocess.DEVNULL
        )
        bench.sql(FILL.format(schema="public", count=case.size).replace("'s', n", "'other', n"))
        bench.sql("vacuum analyze foreachonce_ledger")
    start = str(bench.sql("select pg_current_wal_lsn()"))
    command = [sys.executable, "-m", "bench.scale", bench.url, json.dumps(asdict(case))]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    written = float(str(bench.sql(f"select pg_current_wal_lsn() - '{start}'::pg_lsn"))) / 1e6
    return {**json.loads(done.stdout.splitlines()[-1]), "wal": written}


# --- in the driver of a case -----------------------------------------------------------------------------------------


def _drive(url: str, case: Case) -> Mapping[str, float]:
    # Else the processes that Hadoop starts for a checkpoint's files take the cores: 35 a batch, of each stream.
    spark = session(case.master, SETTINGS)
    took: dict[str, list[float]] = {}
    observe.only(lambda event: took.setdefault(event.stream, []).append(event.seconds["total"]))
    with Peak(with_workers=case.master == MASTER) as peak:
        (_many if case.streams > 1 or case.axis.startswith("streams") else _one)(spark, url, case)
    spark.stop()
    is_many = case.batches > 2 or case.axis.startswith("streams")
    every = [seconds for each in took.values() for seconds in (each[1:] if is_many else each[-1:])]
    return {"seconds": median(every), "driver": peak.driver, "worker": peak.workers}


def _function(url: str, case: Case, stream: str) -> Any:
    @exactly_once(JdbcSink(url, table=f"t_{stream}", stream=stream))
    def batch(frame: Any, batch_id: int) -> Any:
        # The first batch of a driver loads classes, and its size is not what is measured.
        rows = case.rows if batch_id else min(case.rows, WARM_UP)
        numbers = frame.sparkSession.range(0, rows, 1, case.partitions)
        # Rows of 1,590 columns of four bytes just fit a page of PostgreSQL's.
        more = (f"cast((id + {number}) % 1000000 as int) as c{number}" for number in range(case.columns - 1))
        return numbers.selectExpr("id", *more)

    return batch


def _one(spark: Any, url: str, case: Case) -> None:
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "source")
        source.mkdir()
        for number in range(case.batches):
            (source / f"{number}.txt").write_text("x")
        writer = spark.readStream.option("maxFilesPerTrigger", 1).text(str(source)).writeStream
        query = writer.foreachBatch(_function(url, case, "s")).option("checkpointLocation", f"{folder}/c")
        query.trigger(availableNow=True).start().awaitTermination()


def _many(spark: Any, url: str, case: Case) -> None:
    """All streams together write ``LOAD`` epochs a second, each in its turn.

    Spark starts batches at multiples of the trigger's interval since 1970, those of equal intervals all at one moment. So
    the intervals differ a little.
    """
    every = case.streams / LOAD
    with tempfile.TemporaryDirectory() as folder:
        queries = []
        for number in range(case.streams):
            rows = spark.readStream.format("rate").option("rowsPerSecond", 1).load()
            writer = rows.writeStream.foreachBatch(_function(url, case, f"s{number}"))
            writer = writer.option("checkpointLocation", f"{folder}/{number}")
            own = every * (0.9 + 0.2 * number / case.streams)
            writer = writer.trigger(processingTime=f"{1000 * own:.0f} milliseconds")
            queries.append(writer.start())
            time.sleep(1 / LOAD)
        time.sleep(max(0.0, (EPOCHS - case.streams) / LOAD) + 2 * every)
        for query in queries:
            query.stop()


if __name__ == "__main__":
    print(json.dumps(_drive(sys.argv[1], Case(**json.loads(sys.argv[2])))))
