"""Run as a process: on Spark Connect, write, replay, and start again on a lost checkpoint; print what became of each."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from foreachonce import JdbcSink
from foreachonce.testing.spark import SMALL
from foreachonce.testing.stream import FileStream


def main(url: str, folder: Path) -> None:
    os.environ["PYSPARK_PYTHON"] = sys.executable
    builder = SparkSession.builder.remote("local[2]")
    for key, value in SMALL.items():
        builder = builder.config(key, value)
    stream = FileStream(builder.getOrCreate(), folder)
    sink = JdbcSink(url, table="events", stream="s", checkpoint=str(stream.checkpoint))
    stream.feed([1, 2], [3])
    run_id = stream.run(sink)
    assert [entry.run_id for entry in sink.ledger.entries("s")] == [run_id, run_id]
    print("written", flush=True)
    stream.forget_commit()
    stream.run(sink)
    print("replayed", flush=True)
    shutil.rmtree(stream.checkpoint)
    try:
        stream.run(sink)
    except PySparkException as error:
        print("refused" if "foreachonce.errors.Mismatch" in str(error) else error, flush=True)
    try:
        stream.run(JdbcSink(url, table="events", stream="s"))
    except PySparkException as error:
        print("asked for checkpoint=" if "on Spark Connect give the sink checkpoint=" in str(error) else error, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
