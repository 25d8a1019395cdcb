"""A small Spark session for tests: two cores, no user interface, quiet."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import mkdtemp
from typing import TYPE_CHECKING

from foreachonce.faults import VARIABLE

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# A session of some minutes pays for the optimizing compiler, and does not live to see it pay back. Without it Java keeps
# room for 48 MB of code, which Spark and Delta fill within two minutes.
JAVA = "-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:-UsePerfData -XX:ReservedCodeCacheSize=240m"
SMALL = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.driver.memory": "2g",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.sql.shuffle.partitions": "2",
    "spark.sql.session.timeZone": "America/New_York",
    # Small Arrow batches, so that a small frame still is several of them.
    "spark.sql.execution.arrow.maxRecordsPerBatch": "50",
    "spark.log.level": "ERROR",
    # The plans that nobody looks at are written down in the cheapest form.
    "spark.sql.ui.explainMode": "simple",
    # A frame of some rows is read faster than code for it is compiled.
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
}


def session(master: str = "local[2]", **more: str) -> SparkSession:
    """Start a session, or return the one that runs. ``more`` are settings, with ``_`` for each dot of their names."""
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master(master).appName("foreachonce-tests")
    return _start(builder, {**SMALL, **{key.replace("_", "."): value for key, value in more.items()}})


def connect_session() -> SparkSession:
    """Start a Spark Connect session, with a server of its own. A process can have only one kind of session."""
    from pyspark.sql import SparkSession

    return _start(SparkSession.builder.remote("local[2]"), SMALL)


@contextmanager
def state_store(spark: SparkSession, provider: str) -> Iterator[None]:
    """Queries that start in the block keep their state with this provider of Spark's; RocksDB in its format 2."""
    prefix = "spark.sql.streaming.stateStore"
    settings = {f"{prefix}.providerClass": f"org.apache.spark.sql.execution.streaming.state.{provider}"}
    if provider.startswith("Rocks"):
        settings[f"{prefix}.checkpointFormatVersion"] = "2"
    for key, value in settings.items():
        spark.conf.set(key, value)
    try:
        yield
    finally:
        for key in settings:
            spark.conf.unset(key)


def _start(builder: SparkSession.Builder, settings: dict[str, str]) -> SparkSession:
    # Python's workers get the environment that this process has when Java starts.
    os.environ.setdefault(VARIABLE, mkdtemp(prefix="foreachonce-faults-"))
    os.environ.setdefault("SPARK_SUBMIT_OPTS", JAVA)
    # Otherwise the executors run the first python3 on the path, which may not have this library.
    os.environ["PYSPARK_PYTHON"] = sys.executable
    for key, value in settings.items():
        builder = builder.config(key, value)
    return builder.getOrCreate()
