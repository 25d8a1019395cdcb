"""The streaming job: files of flights go into a database table. The demo kills it and starts it again, over and over.

DATABASE_URL=… python job.py plain|foreachonce INPUT_FOLDER CHECKPOINT_FOLDER JDBC_DRIVER_JAR
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import jdbc
from pyspark.sql import DataFrame, SparkSession

from foreachonce import JdbcSink

TABLE = "flights"
STREAM = "flights"
COLUMNS = (
    "flight_id int, time_hour string, carrier string, flight int, tailnum string, origin string, dest string, "
    "dep_delay int, arr_delay int, air_time int, distance int"
)
FILES_A_BATCH = 4


def plain(url: str) -> Callable[[DataFrame, int], None]:
    """As it is written today: Spark's own JDBC writer appends each batch, every task in a transaction of its own."""

    def append(batch: DataFrame, batch_id: int) -> None:
        batch.write.format("jdbc").options(**jdbc.options(url), dbtable=TABLE).mode("append").save()

    return append


def once(url: str) -> JdbcSink:
    """With foreachonce: the sink is the foreachBatch function; a batch is one transaction, with its ledger entry."""
    return JdbcSink(url, table=TABLE, stream=STREAM)


SIDES: dict[str, Callable[[str], Callable[[DataFrame, int], None]]] = {"plain": plain, "foreachonce": once}


def run(side: str, url: str, source: str, checkpoint: str, jar: str) -> None:
    """Write every file that is not yet written, then end."""
    files = session(jar).readStream.schema(COLUMNS).option("maxFilesPerTrigger", FILES_A_BATCH).parquet(source)
    query = files.writeStream.foreachBatch(SIDES[side](url)).option("checkpointLocation", checkpoint)
    query.trigger(availableNow=True).start().awaitTermination()


def session(jar: str) -> SparkSession:
    """A small Spark, the same for both sides."""
    builder = SparkSession.builder.appName("flights").master("local[2]").config("spark.jars", jar)
    # A task for each file: like most jobs, this one has more tasks in a batch than cores.
    builder = builder.config("spark.sql.files.minPartitionNum", FILES_A_BATCH).config("spark.driver.memory", "1g")
    return builder.config("spark.ui.enabled", "false").config("spark.log.level", "ERROR").getOrCreate()


if __name__ == "__main__":
    run(sys.argv[1], os.environ["DATABASE_URL"], *sys.argv[2:])
