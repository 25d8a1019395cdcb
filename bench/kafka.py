"""Kafka: a million records, and small epochs, against Spark's own Kafka sink, which writes at least once."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec
from pyspark.sql import DataFrame
from rich.console import Console

from bench.place import TASKS, BatchFunction, Bench
from bench.rounds import OURS, Work, interleaved
from foreachonce import KafkaSink
from tests.servers.kafka import broker, make_topic

SPARK, TWO = "Spark's own Kafka sink", "foreachonce, transactions=2"
RECORDS, BYTES = 1_000_000, 100
EPOCHS, SMALL = 50, 1000
PARTITIONS = 2


def measure(bench: Bench, rounds: int, console: Console) -> list[Work]:
    """One large batch, and fifty small ones."""
    with broker() as server:
        return [_large(bench, server.servers, rounds, console), _small(bench, server.servers, rounds, console)]


def _large(bench: Bench, servers: str, rounds: int, console: Console) -> Work:
    data = files("large", TASKS, RECORDS // TASKS)
    sides = {
        SPARK: _side(bench, servers, data, spark_sink),
        TWO: _side(bench, servers, data, lambda *place: ours(*place, transactions=2)),
        OURS: _side(bench, servers, data, ours),
    }
    work = Work("1 million records of 100 bytes to Kafka", goals={SPARK: 0.8})
    return interleaved(work, sides, rounds, console)


def _small(bench: Bench, servers: str, rounds: int, console: Console) -> Work:
    data = files("epochs", EPOCHS, SMALL)
    sides = {SPARK: _side(bench, servers, data, spark_sink, limit=1), OURS: _side(bench, servers, data, ours, limit=1)}
    return interleaved(Work("50 batches of 1,000 records to Kafka", goals={SPARK: 0.9}), sides, rounds, console)


def files(name: str, number: int, rows: int) -> Path:
    """Parquet files of keys and values, made once: a key of 10 bytes and a value of 90 that no compression makes small."""
    folder = Path("build/bench/kafka", name)
    if not folder.exists():
        folder.mkdir(parents=True)
        for file in range(number):
            keys = [f"{file * rows + row:010}" for row in range(rows)]
            values = [os.urandom(45).hex() for _ in range(rows)]
            pq.write_table(pa.table({"key": keys, "value": values}), folder / f"{file:02}.parquet")
            os.utime(folder / f"{file:02}.parquet", (file + 1, file + 1))
    return folder


def _side(
    bench: Bench, servers: str, data: Path, make: Callable[[str, str], BatchFunction], limit: int = 1000
) -> Callable[[], float]:
    """A side: all of ``data`` into a new topic; counts the records, and returns how many seconds the calls took."""

    def run() -> float:
        topic = f"bench-{uuid4().hex[:8]}"
        make_topic(servers, topic, PARTITIONS)
        took = bench.stream(make(servers, topic), data, limit=limit)
        # Each transaction's mark takes an offset too, in each partition that it wrote.
        assert _end(servers, topic) >= sum(pq.read_metadata(file).num_rows for file in data.glob("*.parquet"))
        admin = AdminClient({"bootstrap.servers": servers})
        admin.delete_topics([topic])[topic].result(30)
        return sum(took)

    return run


def _end(servers: str, topic: str) -> int:
    admin = AdminClient({"bootstrap.servers": servers})
    asked = {TopicPartition(topic, number): OffsetSpec.latest() for number in range(PARTITIONS)}
    return sum(offset.result(30).offset for offset in admin.list_offsets(asked).values())


def ours(servers: str, topic: str, **keywords: int) -> KafkaSink:
    """A new stream into the topic."""
    return KafkaSink(servers, topic=topic, stream=topic, **keywords)


def spark_sink(servers: str, topic: str) -> BatchFunction:
    """What people write today."""

    def write(frame: DataFrame, batch_id: int) -> None:
        frame.write.format("kafka").option("kafka.bootstrap.servers", servers).option("topic", topic).save()

    return write
