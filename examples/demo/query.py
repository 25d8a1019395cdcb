"""What every job does alike: a small Spark, and a query that ends when all is written."""

from __future__ import annotations

from collections.abc import Callable

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming.query import StreamingQuery
from pyspark.sql.streaming.readwriter import DataStreamWriter

COLUMNS = (
    "flight_id int, time_hour string, carrier string, flight int, tailnum string, origin string, dest string, "
    "dep_delay int, arr_delay int, air_time int, distance int"
)
# Of a batch: like most jobs, these have more of them than cores.
TASKS = 4
# Starts a query on a checkpoint; ``sink.start`` is one.
Start = Callable[[DataStreamWriter, str], StreamingQuery]


def session(jars: str) -> SparkSession:
    """A small Spark, the same for both sides; ``jars`` have commas between."""
    builder = SparkSession.builder.appName("flights").master("local[2]").config("spark.jars", jars)
    # Files so small would share a task.
    builder = builder.config("spark.sql.files.minPartitionNum", TASKS).config("spark.driver.memory", "1g")
    return builder.config("spark.ui.enabled", "false").config("spark.log.level", "ERROR").getOrCreate()


def write(frame: DataFrame, start: Start, checkpoint: str) -> None:
    """Write every batch that is not yet written, then end."""
    start(frame.writeStream.trigger(availableNow=True), checkpoint).awaitTermination()


def at_least_once(function: Callable[[DataFrame, int], None]) -> Start:
    """As a query is started today."""
    return lambda writer, checkpoint: writer.foreachBatch(function).option("checkpointLocation", checkpoint).start()
