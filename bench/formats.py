"""COPY's formats, 600,000 rows by one process that does nothing else: CSV, text, and binary in two ways."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import sqlalchemy as sa
from rich.console import Console

from bench.contenders import as_csv
from bench.place import DDL, Bench, lineitem
from bench.rounds import Work, interleaved
from foreachonce.sql.databases.postgres import Postgres
from foreachonce.sql.url import parse_url

OURS = "binary by numpy, psycopg 3: foreachonce's way"
ESCAPES = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}
BATCH_ROWS = 10_000
Copy = Callable[[Iterable[pa.RecordBatch]], None]


def _text(batch: pa.RecordBatch) -> memoryview:
    fields = []
    for column in batch.columns:
        text = column if pa.types.is_string(column.type) else column.cast(pa.string())
        for special, escaped in ESCAPES.items() if pa.types.is_string(column.type) else ():
            text = pc.replace_substring(text, special, escaped)
        fields.append(text)
    line = pc.binary_join_element_wise(*fields, "\t", null_handling="replace", null_replacement="\\N")
    # One array of texts is one buffer, which is what COPY takes.
    return memoryview(pc.binary_join_element_wise(line, "", "\n").buffers()[2])


def _by_psycopg(url: str, form: str, write: Callable[[pa.RecordBatch], memoryview]) -> Copy:
    def copy(batches: Iterable[pa.RecordBatch]) -> None:
        statement = f"copy lineitem from stdin (format {form})"
        with psycopg.connect(url) as connection, connection.cursor() as cursor, cursor.copy(statement) as stream:
            for batch in batches:
                stream.write(write(batch))

    return copy


def _ours(url: str) -> Copy:
    table = sa.table("lineitem")

    def copy(batches: Iterable[pa.RecordBatch]) -> None:
        found = list(batches)
        with Postgres().writing(parse_url(url)) as connection:
            Postgres().load(connection, table, found[0].schema.names, found)

    return copy


def _by_adbc(url: str) -> Copy:
    from adbc_driver_postgresql import dbapi

    def copy(batches: Iterable[pa.RecordBatch]) -> None:
        found = list(batches)
        with dbapi.connect(url) as connection, connection.cursor() as cursor:
            cursor.adbc_ingest("lineitem", pa.RecordBatchReader.from_batches(found[0].schema, iter(found)), mode="append")
            connection.commit()

    return copy


def _batches() -> Iterator[pa.RecordBatch]:
    rows = pq.read_table(sorted(lineitem().glob("*.parquet"))[0])
    # Spark sends plain strings.
    plain = [field.with_type(pa.string()) if field.type == pa.string_view() else field for field in rows.schema]
    yield from rows.cast(pa.schema(plain)).to_batches(max_chunksize=BATCH_ROWS)


def measure(bench: Bench, rounds: int, console: Console) -> Work:
    """Time each format into an empty table."""
    batches = list(_batches())

    def side(copy: Copy) -> Callable[[], float]:
        def run() -> float:
            bench.sql("drop table if exists lineitem", DDL, "checkpoint")
            start = time.perf_counter()
            copy(batches)
            return time.perf_counter() - start

        return run

    sides = {
        "text by pyarrow, psycopg 3": side(_by_psycopg(bench.url, "text", _text)),
        "CSV by pyarrow, psycopg 3": side(_by_psycopg(bench.url, "csv", as_csv)),
        "binary by ADBC": side(_by_adbc(bench.url)),
        OURS: side(_ours(bench.url)),
    }
    return interleaved(Work("COPY of 600,000 rows by one process", ours=OURS), sides, rounds, console)
