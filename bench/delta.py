"""Delta: append against Spark's own stream, merge against a bare MERGE, a replay against Delta's own skip.

What is timed is the whole query, from start to end: two batches of 600,000 rows.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from pyspark.sql import DataFrame
from pyspark.sql.streaming import DataStreamWriter
from rich.console import Console

from bench.contenders import KEY
from bench.epochs import small_files
from bench.place import BatchFunction, Bench, count, lineitem, session
from bench.rounds import OURS, Work, interleaved
from foreachonce import DeltaSink

PLAIN_STREAM, PLAIN_APPEND = "Spark's own Delta stream", "append in foreachBatch, no guard"
GUARDED = "append in foreachBatch with txnAppId and txnVersion"
PLAIN_MERGE, PLAIN_SKIP = "MERGE in foreachBatch, no guard", "Delta's own skip"
KEYS = KEY.split(", ")
Start = Callable[[DataStreamWriter, str], DataStreamWriter]


def measure(bench: Bench, rounds: int, console: Console) -> list[Work]:
    """Append, merge, and replay."""
    return [_append(bench, rounds, console), _merge(bench, rounds, console), _replay(bench, rounds, console)]


def _append(bench: Bench, rounds: int, console: Console) -> Work:
    sides = {
        PLAIN_STREAM: _query(bench, lambda writer, table: writer.format("delta").option("path", table)),
        # What foreachBatch itself costs: its frame is made of rows, and is no part of the query's plan.
        PLAIN_APPEND: _query(bench, lambda writer, table: writer.foreachBatch(bare_append(table))),
        # What Delta asks of its log for its own guard, which the sink uses too.
        GUARDED: _query(bench, lambda writer, table: writer.foreachBatch(guarded(table))),
        OURS: _query(bench, lambda writer, table: writer.foreachBatch(DeltaSink(table, stream="s"))),
    }
    work = Work("append of 1.2 million rows to a Delta table", goals={PLAIN_APPEND: 1 / 1.05, GUARDED: 1 / 1.05})
    return interleaved(work, sides, rounds, console)


def _merge(bench: Bench, rounds: int, console: Console) -> Work:
    seed = tempfile.mkdtemp(prefix="foreachonce-bench-")
    half = bench.spark.read.parquet(str(lineitem())).where("mod(l_orderkey, 2) = 0")
    half.write.format("delta").mode("overwrite").save(seed)

    def ours(table: str) -> DeltaSink:
        return DeltaSink(table, stream="s", mode="merge", key=KEYS)

    sides = {
        PLAIN_MERGE: _query(bench, lambda writer, table: writer.foreachBatch(bare_merge(table)), seed),
        OURS: _query(bench, lambda writer, table: writer.foreachBatch(ours(table)), seed),
    }
    work = Work("merge of 1.2 million rows into a Delta table, half of the keys there", goals={PLAIN_MERGE: 1 / 1.05})
    return interleaved(work, sides, rounds, console)


def _query(bench: Bench, start: Start, seed: str | None = None) -> Callable[[], float]:
    """A side: a new query into a new table, or a copy of ``seed``; checks the rows, and returns the query's seconds."""
    data = lineitem()
    schema, rows = bench.spark.read.parquet(str(data)).schema, count(data)

    def run() -> float:
        with tempfile.TemporaryDirectory(prefix="foreachonce-bench-") as folder:
            table = f"{folder}/table"
            if seed is not None:
                shutil.copytree(seed, table)
            frame = bench.spark.readStream.schema(schema).option("maxFilesPerTrigger", 1).parquet(str(data))
            writer = start(frame.writeStream, table).option("checkpointLocation", f"{folder}/checkpoint")
            begun = time.perf_counter()
            writer.trigger(availableNow=True).start().awaitTermination()
            took = time.perf_counter() - begun
            assert bench.spark.read.format("delta").load(table).count() == rows
            return took

    return run


def _replay(bench: Bench, rounds: int, console: Console) -> Work:
    """Take the newest commits/N away and start again, in a new driver: its first batch is the replay."""

    def side(name: str) -> Callable[[], float]:
        folder = Path(tempfile.mkdtemp(prefix="foreachonce-bench-"))
        checkpoint = folder / "checkpoint"
        bench.stream(_writer(name, folder), small_files(), limit=25, checkpoint=checkpoint)

        def replay() -> float:
            for file in ("1", ".1.crc"):
                (checkpoint / "commits" / file).unlink(missing_ok=True)
            command = [sys.executable, "-m", "bench.delta", name, str(folder)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            return float(json.loads(done.stdout.splitlines()[-1]))

        return replay

    work = Work("replay of a batch in a Delta table, in a new driver", unit="ms", goals={PLAIN_SKIP: 1 / 0.3})
    return interleaved(work, {name: side(name) for name in (PLAIN_SKIP, OURS)}, rounds, console)


def _writer(name: str, folder: Path) -> BatchFunction:
    table = str(folder / "table")
    return guarded(table) if name == PLAIN_SKIP else DeltaSink(table, stream="s")


def _restart(name: str, folder: Path) -> float:
    """How many milliseconds the function takes for the first batch of a new driver."""
    bench = Bench(session(), "")
    (took,) = bench.stream(_writer(name, folder), small_files(), limit=25, checkpoint=folder / "checkpoint")
    bench.spark.stop()
    return 1000 * took


def guarded(table: str) -> BatchFunction:
    """What Delta's documentation tells to do in foreachBatch."""

    def write(frame: DataFrame, batch_id: int) -> None:
        options = {"txnAppId": "bench", "txnVersion": str(batch_id)}
        frame.write.format("delta").mode("append").options(**options).save(table)

    return write


def bare_append(table: str) -> BatchFunction:
    """A batch's rows appended, and no more."""

    def append(frame: DataFrame, batch_id: int) -> None:
        frame.write.format("delta").mode("append").save(table)

    return append


def bare_merge(table: str) -> BatchFunction:
    """MERGE as people write it, without a guard."""
    matched = " and ".join(f"t.{key} = s.{key}" for key in KEYS)

    def write(frame: DataFrame, batch_id: int) -> None:
        frame.createOrReplaceTempView("batch")
        frame.sparkSession.sql(
            f"merge into delta.`{table}` t using batch s on {matched} "
            "when matched then update set * when not matched then insert *"
        )

    return write


if __name__ == "__main__":
    print(json.dumps(_restart(sys.argv[1], Path(sys.argv[2]))))
