"""A table's folder, read and written through Hadoop's file systems in the driver's JVM: no Spark job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from foreachonce.spark.files import java_class

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


class HadoopFolder:
    """See :class:`~foreachonce.delta.log.Folder`."""

    def __init__(self, spark: SparkSession, root: str) -> None:
        self.root = root
        jvm: Any = spark.sparkContext._jvm  # py4j's view of the JVM has no types
        session: Any = spark._jsparkSession  # type: ignore[attr-defined, unused-ignore]
        self._jvm = jvm
        self._path = java_class(jvm, "org.apache.hadoop.fs.Path")
        self._system = self._path(root).getFileSystem(session.sessionState().newHadoopConf())

    def lines(self, path: str, limit: int | None = None) -> list[str] | None:
        """A file's first lines, or all; None where there is no such file."""
        place = self._path(self.root, path)
        if not self._system.exists(place):
            return None
        stream = self._system.open(place)
        try:
            if limit is None:
                return str(java_class(self._jvm, "org.apache.commons.io.IOUtils").toString(stream, "UTF-8")).split("\n")
            reader = java_class(self._jvm, "java.io.InputStreamReader")(stream, "UTF-8")
            return list(java_class(self._jvm, "java.io.BufferedReader")(reader).lines().limit(limit).toList())
        finally:
            stream.close()

    def stamp(self, path: str) -> str | None:
        """What differs once a file was written anew; None where there is no such file."""
        place = self._path(self.root, path)
        if not self._system.exists(place):
            return None
        status = self._system.getFileStatus(place)
        return f"{status.getLen()}/{status.getModificationTime()}"

    def names(self, path: str) -> list[str]:
        """The names of the files in a folder; empty where there is none."""
        place = self._path(self.root, path)
        if not self._system.exists(place):
            return []
        return [status.getPath().getName() for status in self._system.listStatus(place)]

    def write(self, path: str, text: str) -> None:
        """Write a file, in place of one that is there."""
        stream = self._system.create(self._path(self.root, path), True)
        try:
            stream.write(text.encode())
        finally:
            stream.close()

    def delete(self, path: str) -> None:
        """Delete a file, if it is there."""
        self._system.delete(self._path(self.root, path), False)
