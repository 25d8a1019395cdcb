"""A local file system that starts no processes.

Without its native library, which no package brings, Hadoop runs ``readlink`` and ``chmod`` for the files of a checkpoint:
35 processes a batch, more than four fifths of what a batch of no work takes. So sessions of tests get a local file system
that asks Java instead, and Spark's other way of writing a checkpoint's files, which needs no links read.
"""

from __future__ import annotations

import pyspark

PACKAGE = "com.globalmentor:hadoop-bare-naked-local-fs:0.1.0"
_OLD = pyspark.__version__.startswith(("3.", "4.0."))
_STREAMING = "org.apache.spark.sql.execution.streaming." + ("" if _OLD else "checkpointing.")
SETTINGS = {
    "spark.hadoop.fs.file.impl": "com.globalmentor.apache.hadoop.fs.BareLocalFileSystem",
    "spark.sql.streaming.checkpointFileManagerClass": f"{_STREAMING}FileSystemBasedCheckpointFileManager",
}
