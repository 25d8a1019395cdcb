"""A table's folder on the local file system, read and written without Spark."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from foreachonce.delta.log import stranger


class NoFolder:
    """The folder of a table that a catalog does not have."""

    def __init__(self, root: str) -> None:
        self.root = root

    def lines(self, path: str, limit: int | None = None) -> list[str] | None:
        """None: there is no file."""
        return None

    def stamp(self, path: str) -> str | None:
        """None: there is no file."""
        return None

    def names(self, path: str) -> list[str]:
        """No names."""
        return []

    def stranger(self) -> str | None:
        """None: there is no folder."""
        return None

    def write(self, path: str, text: str) -> None:
        """Not called: what is not there has no commits to copy."""
        raise FileNotFoundError(path)

    def delete(self, path: str) -> None:
        """Nothing to do."""


class LocalFolder:
    """See :class:`~foreachonce.delta.log.Folder`."""

    def __init__(self, root: str) -> None:
        self.root = root
        self._path = Path(root.removeprefix("file://").removeprefix("file:"))

    def lines(self, path: str, limit: int | None = None) -> list[str] | None:
        """A file's first lines, or all; None where there is no such file."""
        try:
            with (self._path / path).open(encoding="utf-8", newline="\n") as file:
                return [line.removesuffix("\n") for line in islice(file, limit)]
        except (FileNotFoundError, NotADirectoryError):
            return None

    def stamp(self, path: str) -> str | None:
        """What differs once a file was written anew; None where there is no such file."""
        try:
            status = (self._path / path).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return f"{status.st_size}/{status.st_mtime_ns // 1_000_000}"

    def names(self, path: str) -> list[str]:
        """The names of the files in a folder; empty where there is none."""
        folder = self._path / path
        return [file.name for file in folder.iterdir()] if folder.is_dir() else []

    def stranger(self) -> str | None:
        """A file or folder where no Delta table is; None where a log is, or hidden names only."""
        return stranger(self.names(""))

    def write(self, path: str, text: str) -> None:
        """Write a file, in place of one that is there."""
        place = self._path / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")

    def delete(self, path: str) -> None:
        """Delete a file, if it is there."""
        (self._path / path).unlink(missing_ok=True)
