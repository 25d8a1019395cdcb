"""The streaming job: files of flights go into a database table. The demo kills it and starts it again, over and over.

DATABASE_URL=… python job.py plain|foreachonce INPUT_FOLDER CHECKPOINT_FOLDER JDBC_DRIVER_JAR
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import jdbc
from pyspark.sql import DataFrame
from query import COLUMNS, TASKS, Start, at_least_once, session, write

from foreachonce import JdbcSink

TABLE = "flights"
STREAM = "flights"


def plain(url: str) -> Start:
    """As it is written today: Spark's own JDBC writer appends each batch, every task in a transaction of its own."""

    def append(batch: DataFrame, batch_id: int) -> None:
        batch.write.format("jdbc").options(**jdbc.options(url), dbtable=TABLE).mode("append").save()

    return at_least_once(append)


def once(url: str) -> JdbcSink:
    """With foreachonce: a batch is one transaction, with its ledger entry; a lost checkpoint is written anew from these."""
    return JdbcSink(url, table=TABLE, stream=STREAM, heal=True)


SIDES: dict[str, Callable[[str], Start]] = {"plain": plain, "foreachonce": lambda url: once(url).start}


def run(side: str, url: str, source: str, checkpoint: str, jar: str) -> None:
    """Write every file that is not yet written, a file for each task."""
    files = session(jar).readStream.schema(COLUMNS).option("maxFilesPerTrigger", TASKS).parquet(source)
    write(files, SIDES[side](url), checkpoint)


if __name__ == "__main__":
    run(sys.argv[1], os.environ["DATABASE_URL"], *sys.argv[2:])
