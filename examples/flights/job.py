"""Flights and their daily delays, in two Delta tables: ``python examples/flights/job.py SOURCE CHECKPOINT TABLES``.

``python examples/flights/data.py SOURCE`` writes the source. Each table has each batch exactly once, whatever crashes. They
are two commits: after a crash between them the flights of a batch are there before its delays, until the next start.
"""

from __future__ import annotations

import os
import sys

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from foreachonce import DeltaTables, DeltaTransaction, ExactlyOnce, exactly_once

# For Spark 4.2; README's "Install" names the package for other versions.
DELTA = {
    "spark.jars.packages": "io.delta:delta-spark_4.2_2.13:4.4.0",
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
}
# What a small table on one machine needs no 50 and no 200 tasks for.
SMALL = {"spark.databricks.delta.snapshotPartitions": "2", "spark.sql.shuffle.partitions": "2"}
FLIGHTS = (
    "year int, month int, day int, carrier string, flight int, tailnum string, origin string, dest string, "
    "dep_delay int, arr_delay int, distance int"
)
DELAYS = "date date, flights bigint, cancelled bigint, minutes bigint, worst int"


def delays(flights: DataFrame) -> DataFrame:
    """What a batch of flights says of each day: how many left, how many did not, and how late."""
    return flights.groupBy(F.make_date("year", "month", "day").alias("date")).agg(
        F.count("dep_delay").alias("flights"),
        F.count_if(F.col("dep_delay").isNull()).alias("cancelled"),
        F.sum("dep_delay").alias("minutes"),
        F.max("dep_delay").alias("worst"),
    )


def added(batch: DataFrame, so_far: DataFrame) -> DataFrame:
    """The days of a batch, with what is known of them so far."""
    known = so_far.join(batch, "date", "left_semi")
    return (
        known.unionByName(batch)
        .groupBy("date")
        .agg(*(F.sum(name).alias(name) for name in ("flights", "cancelled", "minutes")), F.max("worst").alias("worst"))
    )


def job(tables: str) -> ExactlyOnce:
    """The foreachBatch function. It writes below the folder ``tables``."""
    flights, daily = f"{tables}/flights", f"{tables}/daily_delays"

    @exactly_once(DeltaTables(flights, daily, stream="flights"))
    def write(df: DataFrame, batch_id: int, tx: DeltaTransaction) -> None:
        tx.append(df, table=flights, partition_by="month")
        # A batch may end amid a day, so the day's new row is the old one and what the batch adds. The old one is read from
        # the table that the step goes into: it has this batch only where the step is not to be done again. The flights
        # table would not do, since after a crash it may hold the batch already.
        spark = df.sparkSession
        spark.sql(f"create table if not exists delta.`{daily}` ({DELAYS}) using delta")
        so_far = spark.read.format("delta").load(daily)
        tx.merge(added(delays(df), so_far), table=daily, key="date")

    return write


def main(source: str, checkpoint: str, tables: str) -> None:
    """Bring every flight that is there into the tables."""
    os.environ["PYSPARK_PYTHON"] = sys.executable
    builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    for name, value in {**DELTA, **SMALL}.items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    flights = spark.readStream.schema(FLIGHTS).option("maxFilesPerTrigger", 1).parquet(source)
    writer = flights.writeStream.foreachBatch(job(tables)).option("checkpointLocation", checkpoint)
    writer.trigger(availableNow=True).start().awaitTermination()
    spark.read.format("delta").load(f"{tables}/daily_delays").orderBy(F.desc("minutes")).show(5)


if __name__ == "__main__":
    main(*sys.argv[1:])
