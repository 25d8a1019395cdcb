"""Where the benchmarks run: a session of two cores, TPC-H's lineitem, an SQL connection."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import pyarrow.parquet as pq
import sqlalchemy as sa
from pyspark.sql import DataFrame, SparkSession

from foreachonce.sql.url import parse_url
from tests.servers.jdbc import offer_drivers

BatchFunction = Callable[[DataFrame, int], object]
DATA = Path("build/bench/lineitem")
SCALE = "0.2"
TASKS = 2
DDL = """
create table lineitem (
    l_orderkey bigint, l_partkey bigint, l_suppkey bigint, l_linenumber integer, l_quantity numeric(15,2),
    l_extendedprice numeric(15,2), l_discount numeric(15,2), l_tax numeric(15,2), l_returnflag text, l_linestatus text,
    l_shipdate date, l_commitdate date, l_receiptdate date, l_shipinstruct text, l_shipmode text, l_comment text)
"""


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


def session(master: str = f"local[{TASKS}]", more: Mapping[str, str] = MappingProxyType({})) -> SparkSession:
    """Two cores, enough memory, the databases' JDBC drivers, and settings of the caller's."""
    offer_drivers()
    os.environ["PYSPARK_PYTHON"] = sys.executable
    settings = {
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.driver.memory": "3g",
        "spark.log.level": "ERROR",
        "spark.sql.shuffle.partitions": str(TASKS),
        **more,
    }
    builder = SparkSession.builder.master(master).appName("bench")
    for key, value in settings.items():
        builder = builder.config(key, value)
    return builder.getOrCreate()


@dataclass(frozen=True)
class Bench:
    """A session and a database.

    Args:
        spark: the session.
        url: of an empty PostgreSQL database.
    """

    spark: SparkSession
    url: str

    def sql(self, *statements: str) -> object:
        """Run statements, each in a transaction of its own; return the last one's only value, if any."""
        engine = sa.create_engine(parse_url(self.url), isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        with engine.connect() as connection:
            for statement in statements:
                result = connection.exec_driver_sql(statement)
            return result.scalar() if result.returns_rows else None

    def stream(
        self, function: BatchFunction, source: Path, *, limit: int = 1000, checkpoint: Path | None = None
    ) -> list[float]:
        """Run ``source``'s files through ``function`` as a stream; return how many seconds each call took."""
        took = []

        def timed(frame: DataFrame, batch_id: int) -> None:
            start = time.perf_counter()
            function(frame, batch_id)
            took.append(time.perf_counter() - start)

        place = checkpoint or Path(tempfile.mkdtemp(prefix="foreachonce-bench-"))
        schema = self.spark.read.parquet(str(source)).schema
        frame = self.spark.readStream.schema(schema).option("maxFilesPerTrigger", limit).parquet(str(source))
        writer = frame.writeStream.foreachBatch(timed).option("checkpointLocation", str(place))
        writer.trigger(availableNow=True).start().awaitTermination()
        if checkpoint is None:
            shutil.rmtree(place)
        return took

    def timed(self, make: Callable[[], BatchFunction], source: Path, *before: str, limit: int = 1000) -> Callable[[], float]:
        """A side: runs the statements, then all of ``source`` through a new function into lineitem, and counts the rows.

        It returns how many seconds the function's calls took together.
        """
        batches, rows = -(-len(list(source.glob("*.parquet"))) // limit), count(source)

        def run() -> float:
            self.sql(*before)
            took = self.stream(make(), source, limit=limit)
            assert len(took) == batches
            assert self.sql("select count(*) from lineitem") == rows
            return sum(took)

        return run


def count(folder: Path) -> int:
    """How many rows a folder's Parquet files hold."""
    return sum(pq.read_metadata(path).num_rows for path in folder.glob("*.parquet"))
