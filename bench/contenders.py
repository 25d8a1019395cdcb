"""The sides of the append benchmark, each as people would write it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from uuid import uuid4

import pyarrow as pa
from pyspark.sql import DataFrame
from sqlalchemy.engine import make_url

from foreachonce import JdbcSink

BatchFunction = Callable[[DataFrame, int], object]


def spark_jdbc(url: str, *, tuned: bool) -> BatchFunction:
    """Spark's own JDBC writer; tuned as its users tune it."""
    place = make_url(url)
    address = f"jdbc:postgresql://{place.host}:{place.port}/{place.database}"
    options = {"url": address, "dbtable": "lineitem", "user": str(place.username), "password": str(place.password)}
    if tuned:
        options |= {"url": f"{address}?reWriteBatchedInserts=true", "batchsize": "10000"}

    def append(frame: DataFrame, batch_id: int) -> None:
        frame.write.format("jdbc").options(driver="org.postgresql.Driver", **options).mode("append").save()

    return append


def bare_copy(url: str) -> BatchFunction:
    """COPY by every task in a transaction of its own: the fastest that Spark can do without any guarantee."""

    def copy(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import psycopg
        from pyarrow import csv

        options, rows = csv.WriteOptions(include_header=False), 0
        statement = "copy lineitem from stdin (format csv)"
        with psycopg.connect(url) as connection, connection.cursor() as cursor, cursor.copy(statement) as stream:
            for batch in batches:
                sink = pa.BufferOutputStream()
                csv.write_csv(batch, sink, options)
                stream.write(memoryview(sink.getvalue()))
                rows += batch.num_rows
        yield pa.RecordBatch.from_pydict({"rows": [rows]})

    return lambda frame, batch_id: frame.mapInArrow(copy, "rows long").collect()


def foreachonce_append(url: str) -> BatchFunction:
    """The library as the README shows it, with a new stream for each run."""
    return JdbcSink(url, table="lineitem", stream=f"bench-{uuid4().hex[:8]}")
