"""Append 1.2 million TPC-H lineitem rows to PostgreSQL: Spark's JDBC writer, a bare COPY, and foreachonce.

Every run is a real streaming query on a new checkpoint and an empty table; what is timed is the foreachBatch function.
All sides are measured in one session, one after the other in each round, and the medians are compared.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import sqlalchemy as sa
from pyspark.sql import DataFrame, SparkSession
from rich.console import Console
from rich.table import Table

from bench.contenders import bare_copy, foreachonce_append, spark_jdbc
from foreachonce.sql.url import parse_url
from foreachonce.testing.postgres import database, postgres

BatchFunction = Callable[[DataFrame, int], object]
DATA = Path("build/bench/lineitem")
JDBC = "org.postgresql:postgresql:42.7.7"
SCALE = "0.2"
TASKS = 2
# The goals that the project sets itself: how many times faster foreachonce is.
GOALS = {"Spark JDBC, tuned": 2.0, "Spark JDBC, default": 2.8, "COPY, no ledger": 0.95}
OURS = "foreachonce"


def lineitem() -> Path:
    """The table as ``TASKS`` Parquet files, made once."""
    if not DATA.exists():
        with tempfile.TemporaryDirectory() as folder:
            generator = Path(sys.executable).with_name("tpchgen-cli")
            subprocess.run([generator, "parquet", "-s", SCALE, "--tables", "lineitem", "--output-dir", folder], check=True)
            rows = pq.read_table(Path(folder, "lineitem.parquet"))
        DATA.mkdir(parents=True)
        size = -(-rows.num_rows // TASKS)
        for number in range(TASKS):
            pq.write_table(rows.slice(number * size, size), DATA / f"{number}.parquet")
    return DATA


def session() -> SparkSession:
    """Two cores, enough memory, PostgreSQL's JDBC driver."""
    os.environ["PYSPARK_PYTHON"] = sys.executable
    settings = {
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.driver.memory": "3g",
        "spark.log.level": "ERROR",
        "spark.jars.packages": JDBC,
    }
    builder = SparkSession.builder.master(f"local[{TASKS}]").appName("bench")
    for key, value in settings.items():
        builder = builder.config(key, value)
    return builder.getOrCreate()


def seconds(spark: SparkSession, function: BatchFunction) -> float:
    """Run one batch of all rows through ``function`` as a stream; return how long the function took."""
    took = []

    def timed(frame: DataFrame, batch_id: int) -> None:
        start = time.perf_counter()
        function(frame, batch_id)
        took.append(time.perf_counter() - start)

    schema = spark.read.parquet(str(DATA)).schema
    checkpoint = tempfile.mkdtemp(prefix="foreachonce-bench-")
    writer = spark.readStream.schema(schema).parquet(str(DATA)).writeStream.foreachBatch(timed)
    writer.option("checkpointLocation", checkpoint).trigger(availableNow=True).start().awaitTermination()
    shutil.rmtree(checkpoint)
    (only,) = took
    return only


def measure(spark: SparkSession, url: str, rounds: int, console: Console) -> dict[str, list[float]]:
    """Time every side ``rounds`` times, in turn, after one round that does not count."""
    sides: dict[str, Callable[[], BatchFunction]] = {
        "Spark JDBC, default": lambda: spark_jdbc(url, tuned=False),
        "Spark JDBC, tuned": lambda: spark_jdbc(url, tuned=True),
        "COPY, no ledger": lambda: bare_copy(url),
        OURS: lambda: foreachonce_append(url),
    }
    engine = sa.create_engine(parse_url(url), isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    expected = sum(pq.read_metadata(path).num_rows for path in DATA.glob("*.parquet"))
    found: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds + 1):
        for name, side in sides.items():
            with engine.connect() as connection:
                connection.exec_driver_sql("drop table if exists lineitem")
                connection.exec_driver_sql(DDL)
                connection.exec_driver_sql("checkpoint")
            took = seconds(spark, side())
            with engine.connect() as connection:
                assert connection.exec_driver_sql("select count(*) from lineitem").scalar_one() == expected, name
            if number:
                found[name].append(took)
            console.print(f"round {number or 'warm-up'}: {name} {took:.2f} s", highlight=False)
    return found


def report(found: dict[str, list[float]], console: Console) -> None:
    """Print medians, ranges and ratios."""
    ours = statistics.median(found[OURS])
    table = Table(title=f"Append of lineitem, {TASKS} tasks, {os.cpu_count()} cores; medians of {len(found[OURS])}")
    for column in ("side", "seconds", "range", "foreachonce is faster by", "goal"):
        table.add_column(column, justify="left" if column == "side" else "right")
    for name, took in found.items():
        ratio, goal = f"{statistics.median(took) / ours:.2f} x", f"{GOALS[name]:.2f} x" if name in GOALS else ""
        spread = f"{min(took):.2f} to {max(took):.2f}"
        table.add_row(name, f"{statistics.median(took):.2f}", spread, "" if name == OURS else ratio, goal)
    console.print(table)


DDL = """
create table lineitem (
    l_orderkey bigint, l_partkey bigint, l_suppkey bigint, l_linenumber integer, l_quantity numeric(15,2),
    l_extendedprice numeric(15,2), l_discount numeric(15,2), l_tax numeric(15,2), l_returnflag text, l_linestatus text,
    l_shipdate date, l_commitdate date, l_receiptdate date, l_shipinstruct text, l_shipmode text, l_comment text)
"""


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    console = Console(width=None if sys.stdout.isatty() else 110)
    lineitem()
    with postgres() as server, database(server) as url:
        report(measure(session(), url, rounds, console), console)


if __name__ == "__main__":
    main()
