"""A checkpoint folder's files, read through Spark's own file systems."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from py4j.protocol import Py4JJavaError

from foreachonce.checkpoint.local import without_slash
from foreachonce.errors import ConfigurationError, EpochError, SinkUnavailable

if TYPE_CHECKING:
    from pyspark.sql import SparkSession
    from typing_extensions import Self


class HadoopFiles:
    """Reads and writes through Hadoop's FileSystem in the driver's JVM: no Spark job, and every store that Spark can use.

    See :class:`~foreachonce.checkpoint.local.Folder`.
    """

    def __init__(self, jvm: Any, configuration: Any, root: str) -> None:
        self.root = without_slash(root)
        self._jvm, self._configuration = jvm, configuration
        self._path = java_class(jvm, "org.apache.hadoop.fs.Path")
        self._read = java_class(jvm, "org.apache.commons.io.IOUtils").toByteArray
        self._system = self._path(root).getFileSystem(configuration)

    @classmethod
    def of(cls, spark: SparkSession, root: str) -> Self:
        """The folder as a session's settings let Spark see it; a relative path is made whole."""
        session: Any = spark._jsparkSession  # type: ignore[attr-defined, unused-ignore]  # py4j's view has no types
        files = cls(spark.sparkContext._jvm, session.sessionState().newHadoopConf(), root)
        if not files._place("").isUriPathAbsolute():
            # Another process, which reads of the checkpoint in the ledger, was started elsewhere.
            whole = files._system.makeQualified(files._place(""))
            files.root = str(whole.toString()).removeprefix("file:")
        return files

    def text(self, path: str) -> str | None:
        """The text of a file, None where there is none."""
        place = self._place(path)
        if not self._system.exists(place):
            return None
        try:
            with self._undamaged(path), closing(self._system.open(place)) as stream:
                return bytes(self._read(stream)).decode()
        except Py4JJavaError as error:
            # A folder cannot be opened.
            if not _is(error, "FileNotFoundException"):
                raise
            return None
        except UnicodeDecodeError as error:
            raise EpochError(f"{path} of {self.root} is damaged: {error}.") from None

    def exists(self, path: str) -> bool:
        """Whether the file or folder is there."""
        return bool(self._system.exists(self._place(path)))

    def has(self, address: str) -> bool:
        """Whether a file of a source is there."""
        place = self._path(java_class(self._jvm, "java.net.URI")(address))
        return bool(place.getFileSystem(self._configuration).exists(place))

    def names(self, path: str) -> list[str]:
        """The names in a folder; empty where there is none."""
        place = self._place(path)
        if not self._is_folder(place):
            return []
        return sorted(status.getPath().getName() for status in self._system.listStatus(place))

    def walk(self, path: str) -> Iterator[str]:
        """The paths of all files in a folder."""
        place = self._place(path)
        if not self._is_folder(place):
            return
        base = self._system.makeQualified(self._place("")).toUri().getPath()
        files = self._system.listFiles(place, True)
        while files.hasNext():
            yield str(files.next().getPath().toUri().getPath()).removeprefix(f"{base}/")

    def write(self, path: str, text: str) -> None:
        """Write a file, in place of one that is there."""
        with self._written(), closing(self._system.create(self._place(path), True)) as stream:
            stream.write(text.encode())

    def beside(self, ending: str) -> HadoopFiles:
        """The folder whose root is this one's with an ending."""
        if self._place("").getParent() is None:
            raise ConfigurationError(f"the checkpoint is the whole file system {self.root}: give it a folder of its own.")
        return HadoopFiles(self._jvm, self._configuration, self.root + ending)

    def copy(self, path: str, root: str) -> None:
        """Copy a file or folder to the same path below another root."""
        copied = java_class(self._jvm, "org.apache.hadoop.fs.FileUtil").copy
        target = self._path(root, path)
        if not self.exists(path):
            raise EpochError(f"there is no {path} of {self.root} to copy.")
        with self._written(), self._undamaged(path):
            self._system.mkdirs(target.getParent())
            copied(self._system, self._place(path), self._system, target, False, True, self._configuration)

    def remove(self, path: str) -> None:
        """Delete a file, if it is there."""
        self._system.delete(self._place(path), False)

    def move(self, root: str) -> None:
        """Give the whole folder another root."""
        source, target = self._place(""), self._path(root)
        is_possible = self._system.exists(source) and not self._system.exists(target)
        with self._written():
            if is_possible and self._system.rename(source, target):
                return
        raise SinkUnavailable(
            f"{self.root} cannot be moved to {root}: something is there, there is nothing to move, or the file system "
            "refused."
        )

    def discard(self) -> None:
        """Delete the whole folder."""
        self._system.delete(self._place(""), True)

    def _place(self, path: str) -> Any:
        return self._path(self.root, path) if path else self._path(self.root)

    def _is_folder(self, place: Any) -> bool:
        return bool(self._system.exists(place) and self._system.getFileStatus(place).isDirectory())

    @contextmanager
    def _written(self) -> Iterator[None]:
        try:
            yield
        except Py4JJavaError as error:
            thrown = str(error.java_exception.toString())
            raise SinkUnavailable(f"the folder {self.root} cannot be written: {thrown}") from error

    @contextmanager
    def _undamaged(self, path: str) -> Iterator[None]:
        try:
            yield
        except Py4JJavaError as error:
            # A file that was cut short no longer goes with the checksum that Hadoop keeps beside it.
            if not _is(error, "ChecksumException"):
                raise
            raise EpochError(f"{path} of {self.root} is damaged: its checksum does not fit.") from None


def _is(error: Py4JJavaError, name: str) -> bool:
    return str(error.java_exception.getClass().getSimpleName()) == name


class ConnectFiles:
    """Reads through a Spark Connect session: a small Spark job for each file."""

    def __init__(self, spark: SparkSession, root: str) -> None:
        self.root = root
        self._spark = spark

    def text(self, path: str) -> str | None:
        """The text of a file, None where there is none."""
        with missing_is_fine() as read:
            row = self._spark.read.text(f"{self.root}/{path}", wholetext=True).first()
            read.append("" if row is None else str(row[0]))
        return read[0] if read else None

    def exists(self, path: str) -> bool:
        """Whether the folder is there; the analysis of a read tells, no job runs."""
        with missing_is_fine() as read:
            reader = self._spark.read.format("binaryFile").option("recursiveFileLookup", "true")
            read.append(str(reader.load(f"{self.root}/{path}").schema))
        return bool(read)


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
