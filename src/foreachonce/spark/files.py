"""A checkpoint folder's files, read through Spark's own file systems."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


class HadoopFiles:
    """Reads through Hadoop's FileSystem in the driver's JVM: no Spark job, and every store that Spark can use."""

    def __init__(self, jvm: Any, configuration: Any, root: str) -> None:
        self.root = root
        self._jvm = jvm
        self._path = jvm.org.apache.hadoop.fs.Path
        self._system = self._path(root).getFileSystem(configuration)

    def text(self, path: str) -> str | None:
        """The text of a file, None where there is none."""
        if not self.exists(path):
            return None
        stream = self._system.open(self._path(self.root, path))
        try:
            return str(self._jvm.org.apache.commons.io.IOUtils.toString(stream, "UTF-8"))
        finally:
            stream.close()

    def exists(self, path: str) -> bool:
        """Whether the file or folder is there."""
        return bool(self._system.exists(self._path(self.root, path)))


class ConnectFiles:
    """Reads through a Spark Connect session: a small Spark job for each file."""

    def __init__(self, spark: SparkSession, root: str) -> None:
        self.root = root
        self._spark = spark

    def text(self, path: str) -> str | None:
        """The text of a file, None where there is none."""
        from pyspark.errors import AnalysisException

        try:
            row = self._spark.read.text(f"{self.root}/{path}", wholetext=True).first()
        except AnalysisException as error:
            if error.getCondition() == "PATH_NOT_FOUND":
                return None
            raise
        return "" if row is None else str(row[0])

    def exists(self, path: str) -> bool:
        """Whether the folder is there; Spark's reader takes folders and files alike."""
        from pyspark.errors import AnalysisException

        try:
            self._spark.read.format("binaryFile").option("recursiveFileLookup", "true").load(
                f"{self.root}/{path}"
            ).select("path").limit(1).schema  # noqa: B018 - analysis is what tells
        except AnalysisException as error:
            if error.getCondition() == "PATH_NOT_FOUND":
                return False
            raise
        return True
