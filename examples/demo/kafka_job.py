"""The streaming job on Kafka: a topic of flights goes into another topic. The demo kills it and starts it again.

python kafka_job.py plain|foreachonce SERVERS SOURCE_TOPIC RECORDS_A_BATCH TARGET_TOPIC CHECKPOINT_FOLDER JARS
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from pyspark.sql import DataFrame, SparkSession
from query import COLUMNS, TASKS, Start, at_least_once, session, write

from foreachonce import KafkaSink

VALUE = "to_json(struct(*))"


def plain(servers: str, topic: str) -> Start:
    """As it is written today: Spark's own Kafka writer sends each batch, at least once."""

    def append(batch: DataFrame, batch_id: int) -> None:
        records = batch.selectExpr(f"{VALUE} as value").write.format("kafka")
        records.option("kafka.bootstrap.servers", servers).option("topic", topic).save()

    return at_least_once(append)


def once(servers: str, topic: str) -> KafkaSink:
    """With foreachonce: a batch is one transaction, with its ledger entry; a lost checkpoint is written anew from these."""
    return KafkaSink(servers, topic=topic, stream=topic, value=VALUE, heal=True)


SIDES: dict[str, Callable[[str, str], Start]] = {
    "plain": plain,
    "foreachonce": lambda servers, topic: once(servers, topic).start,
}


def read(spark: SparkSession, servers: str, topic: str, records: str) -> DataFrame:
    """The flights of a topic, so many in a batch."""
    source = spark.readStream.format("kafka").option("kafka.bootstrap.servers", servers).option("subscribe", topic)
    source = source.option("startingOffsets", "earliest").option("maxOffsetsPerTrigger", records)
    flights = source.option("minPartitions", TASKS).load()
    return flights.selectExpr(f"from_json(cast(value as string), '{COLUMNS}') as flight").select("flight.*")


def run(side: str, servers: str, source: str, records: str, target: str, checkpoint: str, jars: str) -> None:
    """Write every record that is not yet written."""
    write(read(session(jars), servers, source, records), SIDES[side](servers, target), checkpoint)


if __name__ == "__main__":
    run(*sys.argv[1:])
