"""Delta Lake for the sessions of tests: its jars, and the settings that it needs."""

from __future__ import annotations

import pyspark

from foreachonce.spark.delta import NEEDED

# By Spark's version. Delta's other jars serve its kernel and Unity Catalog, which nothing here uses.
_VERSIONS = {"3.5": ("delta-spark_2.12", "3.3.3")}
_NAME, _VERSION = _VERSIONS.get(pyspark.__version__[:3], (f"delta-spark_{pyspark.__version__[:3]}_2.13", "4.4.0"))
PACKAGES = (f"io.delta:{_NAME}:{_VERSION}", f"io.delta:delta-storage:{_VERSION}")
SETTINGS = {
    **NEEDED,
    # A small table's state needs no 50 tasks.
    "spark.databricks.delta.snapshotPartitions": "1",
    # In any zone but UTC Delta would compute the state anew after each commit, and compare it with the checksum file.
    "spark.databricks.delta.allFilesInCrc.verificationMode.forceOnNonUTC.enabled": "false",
    # VACUUM lists folders with so many tasks.
    "spark.sql.sources.parallelPartitionDiscovery.parallelism": "2",
}
