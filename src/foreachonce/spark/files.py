"""A checkpoint folder's files, read through Spark's own file systems."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


class HadoopFiles:
    """Reads through Hadoop's FileSystem in the driver's JVM: no Spark job, and every store that Spark can use."""

    def __init__(self, jvm: Any, configuration: Any, root: str) -> None:
        self.root = root
        self._path = java_class(jvm, "org.apache.hadoop.fs.Path")
        self._read = java_class(jvm, "org.apache.commons.io.IOUtils").toString
        self._system = self._path(root).getFileSystem(configuration)

    def text(self, path: str) -> str | None:
        """The text of a file, None where there is none."""
        place = self._path(self.root, path)
        if not self._system.exists(place):
            return None
        stream = self._system.open(place)
        try:
            return str(self._read(stream, "UTF-8"))
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
        with missing_is_fine() as found:
            row = self._spark.read.text(f"{self.root}/{path}", wholetext=True).first()
            found.append("" if row is None else str(row[0]))
        return found[0] if found else None

    def exists(self, path: str) -> bool:
        """Whether the folder is there; the analysis of a read tells, no job runs."""
        with missing_is_fine() as found:
            reader = self._spark.read.format("binaryFile").option("recursiveFileLookup", "true")
            found.append(str(reader.load(f"{self.root}/{path}").schema))
        return bool(found)


def java_class(jvm: Any, name: str) -> Any:
    """A class of the driver's JVM; ``jvm.java.util.UUID`` would ask the JVM once for each part of the name."""
    from py4j.java_gateway import JavaClass

    return JavaClass(name, jvm._gateway_client)


@contextmanager
def missing_is_fine() -> Iterator[list[str]]:
    """Yield a list that stays empty where Spark does not find the path."""
    from pyspark.errors import AnalysisException

    try:
        yield []
    except AnalysisException as error:
        # getErrorClass is the older name of getCondition, and Spark 3.5 knows no other.
        if error.getErrorClass() != "PATH_NOT_FOUND":
            raise
