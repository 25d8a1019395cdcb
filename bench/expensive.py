"""Rows that are dear to compute: hashes, parsed JSON, a Python function; Spark's own writers, and foreachonce.

Each is a stream of two batches into a new table or topic by a new sink: of the first it has to learn what the rows cost.
"""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from rich.console import Console

from bench.contenders import spark_jdbc
from bench.kafka import PARTITIONS as TOPIC_PARTITIONS
from bench.kafka import ours, spark_sink
from bench.place import BatchFunction, Bench
from bench.rounds import OURS, Work, interleaved
from foreachonce import JdbcSink
from tests.servers.kafka import broker, make_topic
from tests.servers.mariadb import database, mariadb

BATCHES, HASHES = 2, 12
FIELDS = ("name", "city", "street", "amount", "price", "time", "kind", "note", "tag", "code")
ROWS = {"hashes": 200_000, "json": 300_000, "python": 100_000}
PARTITIONS = (2, 4, 8)
SPARK, ALONE = "Spark's own writer", "foreachonce, computed by one task"


@dataclass(frozen=True)
class Place:
    """Where the rows go: a new one for each run.

    Args:
        ours, spark: make a function of a batch from the table's or topic's name.
    """

    ours: Callable[[str], BatchFunction]
    spark: Callable[[str], BatchFunction] | None


def measure(bench: Bench, rounds: int, console: Console) -> list[Work]:
    """Each kind of rows into each place."""
    with mariadb() as server, database(server) as maria, broker() as kafka, tempfile.TemporaryDirectory() as folder:
        places = {
            "PostgreSQL": Place(_table(bench.url), _jdbc(bench.url)),
            "Kafka": Place(_topic(kafka.servers, ours), _topic(kafka.servers, spark_sink)),
            "MariaDB": Place(_table(maria), _jdbc(maria)),
            "SQLite": Place(_table(f"sqlite:///{folder}/bench.db"), None),
        }
        return [_work(bench, *case, rounds, console) for case in _cases(places)]


def _cases(places: Mapping[str, Place]) -> Iterator[tuple[str, str, int, Place]]:
    for name, place in places.items():
        for kind in ROWS:
            for partitions in PARTITIONS if name in ("PostgreSQL", "Kafka") else (4,):
                yield name, kind, partitions, place


def _work(bench: Bench, name: str, kind: str, partitions: int, place: Place, rounds: int, console: Console) -> Work:
    data = files(kind, partitions)

    def side(make: Callable[[str], BatchFunction], *, alone: bool = False) -> Callable[[], float]:
        def run() -> float:
            function = make(f"expensive_{uuid4().hex[:8]}")

            def batch(frame: DataFrame, batch_id: int) -> None:
                rows = COMPUTED[kind](frame)
                rows = rows.selectExpr("cast(id as string) key", "value") if name == "Kafka" else rows
                function(rows.coalesce(1) if alone else rows, batch_id)

            with _splits(bench, partitions):
                return sum(bench.stream(batch, data, limit=partitions))

        return run

    sides = {} if place.spark is None else {SPARK: side(place.spark)}
    sides |= {ALONE: side(place.ours, alone=True), OURS: side(place.ours)}
    work = Work(f"{kind}, {partitions} partitions, to {name}", goals={} if place.spark is None else {SPARK: 1.0})
    return interleaved(work, sides, rounds, console)


@contextmanager
def _splits(bench: Bench, partitions: int) -> Iterator[None]:
    """Let Spark read each file as a partition of its own."""
    bench.spark.conf.set("spark.sql.files.minPartitionNum", partitions)
    try:
        yield
    finally:
        bench.spark.conf.unset("spark.sql.files.minPartitionNum")


def files(kind: str, partitions: int) -> Path:
    """A file for each partition of two batches, made once: an id and a JSON object of ten fields."""
    folder = Path("build/bench/expensive", kind, str(partitions))
    if not folder.exists():
        folder.mkdir(parents=True)
        size, draw = ROWS[kind] // partitions, random.Random(kind)
        for number in range(BATCHES * partitions):
            ids = list(range(number * size, (number + 1) * size))
            bodies = [json.dumps({field: f"{draw.getrandbits(64):x}" for field in FIELDS}) for _ in ids]
            pq.write_table(pa.table({"id": ids, "body": bodies}), folder / f"{number:03}.parquet")
    return folder


def _hashes(frame: DataFrame) -> DataFrame:
    value = F.col("body")
    for _ in range(HASHES):
        value = F.sha2(F.concat(value, "body"), 512)
    return frame.select("id", value.alias("value"))


def _json(frame: DataFrame) -> DataFrame:
    parsed = F.from_json("body", ", ".join(f"{field} string" for field in FIELDS))
    return frame.select("id", parsed.alias("p")).selectExpr(
        "id", f"concat_ws(' ', {', '.join(f'p.{field}' for field in FIELDS)}) value"
    )


def _python(frame: DataFrame) -> DataFrame:
    def slow(body: str) -> str:
        return "-".join(sorted(json.loads(body).values()))

    return frame.select("id", F.udf(slow, "string")("body").alias("value"))


COMPUTED: Mapping[str, Callable[[DataFrame], DataFrame]] = {"hashes": _hashes, "json": _json, "python": _python}


def _table(url: str) -> Callable[[str], BatchFunction]:
    return lambda name: JdbcSink(url, table=name, stream=name)


def _jdbc(url: str) -> Callable[[str], BatchFunction]:
    return lambda name: spark_jdbc(url, tuned=True, table=name)


def _topic(servers: str, make: Callable[[str, str], BatchFunction]) -> Callable[[str], BatchFunction]:
    """A side of Kafka's benchmark, into a new topic."""

    def made(name: str) -> BatchFunction:
        make_topic(servers, name, TOPIC_PARTITIONS)
        return make(servers, name)

    return made
