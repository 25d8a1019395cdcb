"""Writes the ledgers of this folder as version 13795a7 wrote them: run it with that version's checkout and environment.

    git worktree add ../13795a7 13795a7 && cd ../13795a7 && make setup
    .venv/bin/python ../foreachonce/tests/data/13795a7/make.py ../foreachonce/tests/data/13795a7

Later versions read these files, so they are made once. Needs a PostgreSQL with ``pg_dump`` on the path, and Kafka.
Everything lies below /data/orders while it is made, so that the files name no other folder.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from pyspark.errors import StreamingQueryException
from pyspark.sql import SparkSession

from foreachonce import DeltaSink, JdbcSink, KafkaSink, SqlLedger, exactly_once
from foreachonce.fields import fields_of
from foreachonce.testing.jdbc import offer_drivers
from foreachonce.testing.kafka import Reader, kafka, make_topic
from foreachonce.testing.postgres import database, postgres
from foreachonce.testing.recovery import start
from foreachonce.testing.spark import session
from foreachonce.testing.stream import FileStream

HOME = Path("/data/orders")


def orders(spark: SparkSession, folder: Path, sink: Callable[..., Any], name: str = "orders") -> FileStream:
    """Three batches, a repair of a checkpoint without metadata, and a batch that Spark takes for unfinished."""
    stream = FileStream(spark, folder / name)
    stream.feed([0, 1], [2, 3], [4, 5])
    start(stream, sink(name, heal=True))
    stream.remove("metadata")
    stream.feed([6, 7])
    start(stream, sink(name, heal=True))
    stream.forget_commit()
    return stream


def again(spark: SparkSession, folder: Path, sink: Callable[..., Any]) -> None:
    """A lost checkpoint, and the batch written again by the user's word."""
    stream = FileStream(spark, folder / "again")
    stream.feed([10, 11])
    stream.run(sink("again"))
    stream.lose_checkpoint()
    stream.run(sink("again", on_mismatch="write"))


def parts(spark: SparkSession, folder: Path, sink: KafkaSink) -> None:
    """Batches of two transactions each, the last of which Spark takes for unfinished."""
    stream = FileStream(spark, folder / "parts")
    stream.feed([30, 31], [32, 33])
    stream.run(exactly_once(sink)(lambda frame, batch_id: frame.repartition(2)))
    stream.forget_commit()
    keep_checkpoint(stream, "kafka", "parts")


def calls(spark: SparkSession, folder: Path, ledger: str) -> None:
    """A call in doubt that was made again, and one that nobody has settled."""

    def broken(frame: Any, batch_id: int) -> None:
        raise sa.exc.OperationalError("no reply", None, Exception("timed out"))

    stream = FileStream(spark, folder / "calls")
    stream.feed([20, 21])
    with suppress(StreamingQueryException):
        stream.run(exactly_once(ledger=ledger, stream="calls")(broken))
    stream.run(exactly_once(ledger=ledger, stream="calls", in_doubt="rerun")(lambda frame, batch_id: None))
    stream.feed([22, 23])
    with suppress(StreamingQueryException):
        stream.run(exactly_once(ledger=ledger, stream="calls")(broken))
    keep_checkpoint(stream, folder.name, "calls")


def keep_checkpoint(stream: FileStream, place: str, name: str) -> None:
    """Copy a stream's checkpoint to what is kept."""
    shutil.copytree(stream.checkpoint, HOME / "kept" / place / f"checkpoint-{name}")


def tell(ledger: Any, place: str) -> None:
    """Write down every entry as this version reads it."""
    found = {
        stream: [{**fields_of(entry), "rows": entry.rows} for entry in ledger.entries(stream)] for stream in ledger.streams()
    }
    text = json.dumps(found, indent=1, sort_keys=True)
    (HOME / "kept" / place / "entries.json").write_text(text + "\n")


def sqlite(spark: SparkSession) -> None:
    """A file."""
    folder, url = place("sqlite"), f"sqlite:///{HOME}/kept/sqlite/sink.db"
    jdbc(spark, folder, url)


def jdbc(spark: SparkSession, folder: Path, url: str) -> None:
    """The streams of a database."""

    def sink(stream: str, **keywords: Any) -> JdbcSink:
        return JdbcSink(url, table="events", stream=stream, **keywords)

    keep_checkpoint(orders(spark, folder, sink), folder.name, "orders")
    again(spark, folder, sink)
    calls(spark, folder, url)
    tell(SqlLedger(url), folder.name)


def postgresql(spark: SparkSession) -> None:
    """A database, and its dump as SQL."""
    folder = place("postgres")
    with postgres() as server, database(server) as url:
        jdbc(spark, folder, url)
        command = ["pg_dump", "--inserts", "--no-owner", "--no-privileges", url]
        dump = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    dropped = ("--", "SET ", "\\", "SELECT pg_catalog.set_config")
    kept = [line for line in dump.splitlines() if line and not line.startswith(dropped)]
    (HOME / "kept/postgres/dump.sql").write_text("\n".join(kept) + "\n")


def delta(spark: SparkSession) -> None:
    """A table's folder."""
    folder, path = place("delta"), str(HOME / "kept/delta/events")

    def sink(stream: str, **keywords: Any) -> DeltaSink:
        return DeltaSink(path, stream=stream, **keywords)

    keep_checkpoint(orders(spark, folder, sink), "delta", "orders")
    again(spark, folder, sink)
    tell(sink("orders").ledger, "delta")


def topics(spark: SparkSession) -> None:
    """The records of each stream's ledger topic."""
    folder = place("kafka")
    with kafka() as servers:
        make_topic(servers, "events", partitions=2)

        def sink(stream: str, **keywords: Any) -> KafkaSink:
            return KafkaSink(servers, topic="events", stream=stream, key="cast(id as string)",
                             value="to_json(struct(*))", **keywords)  # fmt: skip

        keep_checkpoint(orders(spark, folder, sink), "kafka", "orders")
        again(spark, folder, sink)
        parts(spark, folder, sink("parts", path="task", transactions=2))
        ledger = sink("orders").ledger
        tell(ledger, "kafka")
        for stream in ledger.streams():
            lines = [
                json.dumps({"key": text(record.key()), "value": text(record.value()), "headers": record.headers()})
                for record in Reader(servers).messages(f"foreachonce.{stream}")
            ]
            (HOME / f"kept/kafka/{stream}.jsonl").write_text("\n".join(lines) + "\n")


def text(value: bytes | None) -> str | None:
    """Bytes as JSON takes them."""
    return None if value is None else value.decode()


def place(name: str) -> Path:
    """Folders of a place: for what is kept, and for sources."""
    (HOME / "kept" / name).mkdir(parents=True)
    (HOME / name).mkdir(parents=True)
    return HOME / name


@contextmanager
def home() -> Iterator[None]:
    """The folder that all paths begin with; it is not there afterwards."""
    HOME.mkdir(parents=True)
    try:
        yield
    finally:
        shutil.rmtree(HOME)


def main(target: Path, *names: str) -> None:
    """Make what is named, or everything, and copy it to ``target``."""
    offer_drivers()
    with home():
        spark = session()
        for make in (sqlite, postgresql, delta, topics):
            if not names or make.__name__ in names:
                make(spark)
        for kept in (HOME / "kept").iterdir():
            shutil.rmtree(target / kept.name, ignore_errors=True)
            # Hadoop's checksums, which it does not miss.
            for checksum in kept.rglob(".*.crc"):
                checksum.unlink()
            shutil.copytree(kept, target / kept.name)
        spark.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), *sys.argv[2:])
