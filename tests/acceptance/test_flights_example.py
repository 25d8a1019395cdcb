"""The example job: both tables have every flight once, also where a batch fails between them or is replayed."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest
from pyspark.errors import StreamingQueryException

from foreachonce.faults import VARIABLE
from foreachonce.testing.faults import Faults
from foreachonce.testing.stream import FileStream

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


def test_flights_and_delays_agree_whatever_happens(spark, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    from flights.data import write_files
    from flights.job import FLIGHTS, job

    stream, tables = FileStream(spark, tmp_path), str(tmp_path / "tables")
    whole, part = tmp_path / "whole", stream.source
    total = write_files(whole, 3, every=1000)
    files = sorted(whole.iterdir())

    def run(number: int) -> None:
        """Bring so many files in, in all."""
        for file in files[:number]:
            if file.exists():
                file.rename(part / file.name)
        flights = spark.readStream.schema(FLIGHTS).option("maxFilesPerTrigger", 1).parquet(str(part))
        writer = flights.writeStream.foreachBatch(job(tables)).option("checkpointLocation", str(stream.checkpoint))
        writer.trigger(availableNow=True).start().awaitTermination()

    def read(name: str) -> list:
        return spark.read.format("delta").load(f"{tables}/{name}").collect()

    def told() -> tuple[int, int]:
        return len(read("flights")), sum(day.flights + day.cancelled for day in read("daily_delays"))

    run(1)
    done = told()
    assert done[0] == done[1] > 0
    stream.forget_commit()
    # The first table's commit is done, its function's second one is not begun.
    Faults(Path(os.environ[VARIABLE])).arm("entry-copied", "raise")
    with pytest.raises(StreamingQueryException, match="entry-copied"):
        run(2)
    flights, delays = told()
    assert flights > done[0]
    assert delays == done[1]
    run(3)
    assert told() == (total, total)
    days = Counter()
    for flight in read("flights"):
        days[f"{flight.year}-{flight.month:02}-{flight.day:02}"] += flight.dep_delay or 0
    assert {str(day.date): day.minutes or 0 for day in read("daily_delays")} == days
    assert (Path(tables) / "flights" / "month=1").exists()
