"""A table's folder, on any file system that Spark reads."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from foreachonce.delta.log import LOG, stranger
from foreachonce.spark.files import HadoopFiles, java_class, missing_is_fine

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


class HadoopFolder(HadoopFiles):
    """Read and written through Hadoop's file systems in the driver's JVM: no Spark job.

    See :class:`~foreachonce.delta.log.Folder`.
    """

    def lines(self, path: str, limit: int | None = None) -> list[str] | None:
        """A file's first lines, or all; None where there is no such file."""
        if limit is None:
            text = self.text(path)
            return None if text is None else text.split("\n")
        if not self.exists(path):
            return None
        with closing(self._system.open(self._place(path))) as stream:
            reader = java_class(self._jvm, "java.io.InputStreamReader")(stream, "UTF-8")
            return list(java_class(self._jvm, "java.io.BufferedReader")(reader).lines().limit(limit).toList())

    def stamp(self, path: str) -> str | None:
        """What differs once a file was written anew; None where there is no such file."""
        if not self.exists(path):
            return None
        status = self._system.getFileStatus(self._place(path))
        return f"{status.getLen()}/{status.getModificationTime()}"

    def stranger(self) -> str | None:
        """A file or folder where no Delta table is; None where a log is, or hidden names only."""
        return stranger(self.names(""))

    def delete(self, path: str) -> None:
        """Delete a file, if it is there."""
        self._system.delete(self._place(path), False)


class ConnectFolder:
    """Read and written through a Spark Connect session: a small Spark job for each file.

    A file is written as a folder of one part, which reads like a file, and is not deleted: a session offers no way to.
    """

    def __init__(self, spark: SparkSession, root: str) -> None:
        self.root = root
        self._spark = spark

    def lines(self, path: str, limit: int | None = None) -> list[str] | None:
        """A file's first lines, or all; None where there is no such file."""
        with missing_is_fine() as found:
            row = self._spark.read.text(f"{self.root}/{path}", wholetext=True).first()
            found.append("" if row is None else str(row[0]))
        return found[0].split("\n")[:limit] if found else None

    def stamp(self, path: str) -> str | None:
        """What differs once a file was written anew; None where there is no such file."""
        with missing_is_fine() as found:
            row = self._files(path).select("length", "modificationTime").first()
            found.append(str(row))
        return found[0] if found else None

    def names(self, path: str) -> list[str]:
        """The names of the files in a folder; empty where there is none."""
        with missing_is_fine() as found:
            found += [str(row[0]) for row in self._files(path).select("path").collect()]
        return sorted({place.split(f"/{path}/", 1)[1].split("/")[0] for place in found})

    def stranger(self) -> str | None:
        """A file where no Delta table is; None where a log is, or hidden names only, which Spark does not list."""
        with missing_is_fine() as found:
            found.append(str(self._files(LOG).schema))
        if found:
            return None
        with missing_is_fine() as found:
            row = self._files("").select("path").first()
            found += [] if row is None else [str(row[0])]
        return next(iter(found), None)

    def write(self, path: str, text: str) -> None:
        """Write a file, in place of one that is there."""
        frame = self._spark.createDataFrame([(text,)], "value string").coalesce(1)
        frame.write.mode("overwrite").text(f"{self.root}/{path}")

    def delete(self, path: str) -> None:
        """Nothing: the file stays."""

    def _files(self, path: str) -> DataFrame:
        reader = self._spark.read.format("binaryFile").option("recursiveFileLookup", "true")
        return reader.load(f"{self.root}/{path}")
