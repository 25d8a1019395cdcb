"""Delta Lake for the sessions of tests: its jars, and the settings that it needs."""

from __future__ import annotations

from foreachonce.spark.delta import NEEDED

# For Spark 4.2. Delta's other jars serve its kernel and Unity Catalog, which nothing here uses.
PACKAGES = ("io.delta:delta-spark_4.2_2.13:4.4.0", "io.delta:delta-storage:4.4.0")
SETTINGS = {
    **NEEDED,
    # A small table's state needs no 50 tasks.
    "spark.databricks.delta.snapshotPartitions": "2",
    # VACUUM lists folders with so many tasks.
    "spark.sql.sources.parallelPartitionDiscovery.parallelism": "2",
}
