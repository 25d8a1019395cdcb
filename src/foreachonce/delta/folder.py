"""A table's folder on each kind of file system. Nothing here knows what a table format keeps in it."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from foreachonce.spark.files import ConnectFiles, HadoopFiles, java_class, missing_is_fine

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


class TableFolder(Protocol):
    """A table's folder. Paths are relative to it."""

    root: str

    def lines(self, path: str, limit: int | None = None) -> list[str] | None:
        """A file's first lines, or all; None if there is no such file."""

    def stamp(self, path: str) -> str | None:
        """A text that changes when the file is replaced; None if there is no such file."""

    def exists(self, path: str) -> bool:
        """Whether there is such a file or folder."""

    def names(self, path: str) -> list[str]:
        """The names of the files in a folder; empty if there is no such folder."""

    def visible(self) -> str | None:
        """A file or folder in the table's folder that is not hidden; None if there is none. ``_`` and ``.`` hide a name."""

    def write(self, path: str, text: str) -> None:
        """Write a file, or replace it."""

    def remove(self, path: str) -> None:
        """Remove a file, if it is there and the file system can."""


class NoTable:
    """The folder of a catalog's table that does not exist."""

    def __init__(self, root: str) -> None:
        self.root = root

    def lines(self, path: str, limit: int | None = None) -> list[str] | None:
        """None: there is no file."""
        return None

    def stamp(self, path: str) -> str | None:
        """None: there is no file."""
        return None

    def exists(self, path: str) -> bool:
        """False."""
        return False

    def names(self, path: str) -> list[str]:
        """No names."""
        return []

    def visible(self) -> str | None:
        """None: there is no file."""
        return None

    def write(self, path: str, text: str) -> None:
        """Never called: without a table there is nothing to copy.

        Raises:
            FileNotFoundError: always.
        """
        raise FileNotFoundError(path)

    def remove(self, path: str) -> None:
        """Do nothing."""


class LocalTable:
    """A folder on the local file system, read and written without Spark; see :class:`TableFolder`."""

    def __init__(self, root: str) -> None:
        self.root = root
        self._path = Path(root.removeprefix("file://").removeprefix("file:"))

    def lines(self, path: str, limit: int | None = None) -> list[str] | None:
        """A file's first lines, or all; None if there is no such file."""
        try:
            with (self._path / path).open(encoding="utf-8", newline="\n") as file:
                return [line.removesuffix("\n") for line in islice(file, limit)]
        except (FileNotFoundError, NotADirectoryError):
            return None

    def stamp(self, path: str) -> str | None:
        """The file's size and time of change."""
        try:
            status = (self._path / path).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return f"{status.st_size}/{status.st_mtime_ns // 1_000_000}"

    def exists(self, path: str) -> bool:
        """Whether there is such a file or folder."""
        return (self._path / path).exists()

    def names(self, path: str) -> list[str]:
        """The names of the files in a folder; empty if there is no such folder."""
        folder = self._path / path
        return [file.name for file in folder.iterdir()] if folder.is_dir() else []

    def visible(self) -> str | None:
        """A file or folder that is not hidden."""
        return _visible(self.names(""))

    def write(self, path: str, text: str) -> None:
        """Write a file, or replace it."""
        place = self._path / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")

    def remove(self, path: str) -> None:
        """Remove a file, if it is there."""
        (self._path / path).unlink(missing_ok=True)


class HadoopTable(HadoopFiles):
    """A folder on any of Hadoop's file systems, by the driver's JVM: no Spark job; see :class:`TableFolder`."""

    def lines(self, path: str, limit: int | None = None) -> list[str] | None:
        """A file's first lines, or all; None if there is no such file."""
        if limit is None:
            text = self.text(path)
            return None if text is None else text.split("\n")
        if not self.exists(path):
            return None
        with closing(self._system.open(self._place(path))) as stream:
            reader = java_class(self._jvm, "java.io.InputStreamReader")(stream, "UTF-8")
            return list(java_class(self._jvm, "java.io.BufferedReader")(reader).lines().limit(limit).toList())

    def stamp(self, path: str) -> str | None:
        """The file's size and time of change."""
        if not self.exists(path):
            return None
        status = self._system.getFileStatus(self._place(path))
        return f"{status.getLen()}/{status.getModificationTime()}"

    def visible(self) -> str | None:
        """A file or folder that is not hidden."""
        return _visible(self.names(""))


class ConnectTable(ConnectFiles):
    """A folder seen through a Spark Connect session: a small Spark job for each file; see :class:`TableFolder`.

    A session can write a file only as a folder of one part, which Spark reads like a file, and cannot remove it.
    """

    def lines(self, path: str, limit: int | None = None) -> list[str] | None:
        """A file's first lines, or all; None if there is no such file."""
        text = self.text(path)
        return None if text is None else text.split("\n")[:limit]

    def stamp(self, path: str) -> str | None:
        """The file's size and time of change."""
        with missing_is_fine() as stamps:
            stamps.append(str(self._files(path).select("length", "modificationTime").first()))
        return next(iter(stamps), None)

    def names(self, path: str) -> list[str]:
        """The names of the files in a folder; empty if there is no such folder."""
        with missing_is_fine() as places:
            places += [str(row[0]) for row in self._files(path).select("path").collect()]
        return sorted({place.split(f"/{path}/", 1)[1].split("/")[0] for place in places})

    def visible(self) -> str | None:
        """A file that is not hidden: Spark lists no others."""
        with missing_is_fine() as places:
            row = self._files("").select("path").first()
            places += [] if row is None else [str(row[0])]
        return next(iter(places), None)

    def write(self, path: str, text: str) -> None:
        """Write a file, or replace it."""
        frame = self._spark.createDataFrame([(text,)], "value string").coalesce(1)
        frame.write.mode("overwrite").text(f"{self.root}/{path}")

    def remove(self, path: str) -> None:
        """Do nothing: the file stays."""

    def _files(self, path: str) -> DataFrame:
        reader = self._spark.read.format("binaryFile").option("recursiveFileLookup", "true")
        return reader.load(f"{self.root}/{path}")


def _visible(names: Iterable[str]) -> str | None:
    return next((name for name in sorted(names) if not name.startswith(("_", "."))), None)
