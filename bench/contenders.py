"""The sides of the benchmarks, each as people would write it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pyarrow as pa
from pyarrow import csv
from pyspark.sql import DataFrame, Row
from sqlalchemy.engine import make_url

from foreachonce import JdbcSink
from tests.servers import jdbc

BatchFunction = Callable[[DataFrame, int], object]
KEY = "l_orderkey, l_linenumber"
# What makes the driver send many rows in one statement.
REWRITE = {"postgresql": "reWriteBatchedInserts", "mysql": "rewriteBatchedStatements"}
COPY = "copy lineitem from stdin (format csv)"


def sink(url: str, **keywords: Any) -> BatchFunction:
    """The library as the README shows it, with a new stream for each run."""
    return JdbcSink(url, table="lineitem", stream=f"bench-{uuid4().hex[:8]}", **keywords)


def settled(url: str, **keywords: Any) -> BatchFunction:
    """The library from the batch on that has shown that its rows are cheap: the task that writes computes them too."""
    one = sink(url, **keywords)
    return lambda frame, batch_id: one(frame.coalesce(1), batch_id)


def spark_jdbc(url: str, *, tuned: bool, table: str = "lineitem", mode: str = "append") -> BatchFunction:
    """Spark's own JDBC writer; tuned as its users tune it."""
    options = {**jdbc.options(url), "dbtable": table}
    if tuned:
        options |= {"url": f"{options['url']}?{REWRITE[make_url(url).get_backend_name()]}=true", "batchsize": "10000"}

    def write(frame: DataFrame, batch_id: int) -> None:
        frame.write.format("jdbc").options(**options).mode(mode).save()

    return write


def as_csv(batch: pa.RecordBatch) -> memoryview:
    """A batch as COPY takes it, by pyarrow's writer."""
    buffer = pa.BufferOutputStream()
    csv.write_csv(batch, buffer, csv.WriteOptions(include_header=False))
    return memoryview(buffer.getvalue())


def _copy(stream: Any, batches: Iterator[pa.RecordBatch]) -> int:
    rows = 0
    for batch in batches:
        stream.write(as_csv(batch))
        rows += batch.num_rows
    return rows


def bare_copy(url: str) -> BatchFunction:
    """COPY by every task in a transaction of its own: the fastest that Spark can do without any guarantee."""

    def copy(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import psycopg

        with psycopg.connect(url) as connection, connection.cursor() as cursor, cursor.copy(COPY) as stream:
            rows = _copy(stream, batches)
        yield pa.RecordBatch.from_pydict({"rows": [rows]})

    return lambda frame, batch_id: frame.mapInArrow(copy, "rows long").collect()


def two_phase(url: str) -> BatchFunction:
    """COPY by every task, prepared there and committed by the driver, one part after another, beside an entry."""
    import psycopg

    def copy(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        part = uuid4().hex
        with psycopg.connect(url, autocommit=True) as connection, connection.cursor() as cursor:
            cursor.execute("begin")
            with cursor.copy(COPY) as stream:
                _copy(stream, batches)
            cursor.execute(f"prepare transaction '{part}'")
        yield pa.RecordBatch.from_pydict({"part": [part]})

    def write(frame: DataFrame, batch_id: int) -> None:
        parts = [row.part for row in frame.mapInArrow(copy, "part string").collect()]
        with psycopg.connect(url, autocommit=True) as connection, connection.cursor() as cursor:
            cursor.execute("create table if not exists entries (batch bigint, part text)")
            cursor.executemany("insert into entries values (%s, %s)", [(batch_id, part) for part in parts])
            for part in parts:
                cursor.execute(f"commit prepared '{part}'")

    return write


def execute_values(url: str) -> BatchFunction:
    """Rows as tuples through psycopg2's execute_values with ON CONFLICT, from foreachPartition."""

    def upsert(rows: Iterator[Row]) -> None:
        import psycopg2
        from psycopg2 import extras

        first = next(rows, None)
        if first is None:
            return
        names = list(first.asDict())
        changed = ", ".join(f"{name} = excluded.{name}" for name in names if name not in KEY)
        statement = f"insert into lineitem ({', '.join(names)}) values %s on conflict ({KEY}) do update set {changed}"
        with psycopg2.connect(url) as connection, connection.cursor() as cursor:
            extras.execute_values(cursor, statement, [tuple(first)])
            extras.execute_values(cursor, statement, map(tuple, rows), page_size=1000)

    return lambda frame, batch_id: frame.foreachPartition(upsert)


def stage_and_merge(url: str) -> BatchFunction:
    """Spark's JDBC writer, tuned, into a staging table, and one MERGE from there."""
    import psycopg

    stage = spark_jdbc(url, tuned=True, table="lineitem_stage", mode="overwrite")

    def write(frame: DataFrame, batch_id: int) -> None:
        stage(frame, batch_id)
        names = frame.columns
        changed = ", ".join(f"{name} = s.{name}" for name in names if name not in KEY)
        same = " and ".join(f"t.{name} = s.{name}" for name in KEY.split(", "))
        values = ", ".join(f"s.{name}" for name in names)
        with psycopg.connect(url) as connection:
            connection.execute(
                f"merge into lineitem t using lineitem_stage s on {same} when matched then update set {changed} "
                f"when not matched then insert ({', '.join(names)}) values ({values})"
            )

    return write
