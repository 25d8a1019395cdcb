"""Delta Lake for the sessions of tests: its jars, and the settings that it needs."""

from __future__ import annotations

from foreachonce.delta.spark import NEEDED, PACKAGE

# Delta's other jars serve its kernel and Unity Catalog, which nothing here uses.
PACKAGES = (PACKAGE, f"io.delta:delta-storage:{PACKAGE.split(':')[-1]}")
SETTINGS = {
    **NEEDED,
    # A small table's state needs no 50 tasks.
    "spark.databricks.delta.snapshotPartitions": "1",
    # In any zone but UTC Delta would compute the state anew after each commit, and compare it with the checksum file.
    "spark.databricks.delta.allFilesInCrc.verificationMode.forceOnNonUTC.enabled": "false",
    # VACUUM lists folders with so many tasks.
    "spark.sql.sources.parallelPartitionDiscovery.parallelism": "2",
}
