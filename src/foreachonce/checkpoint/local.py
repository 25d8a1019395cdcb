"""What each kind of checkpoint folder can do, and one on the local file system, without Spark."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from struct import error as StructError
from struct import iter_unpack, unpack_from
from typing import Protocol
from urllib.parse import unquote, urlsplit
from zlib import crc32

from foreachonce.errors import ConfigurationError, EpochError, SinkUnavailable


def without_slash(root: str) -> str:
    """A root without the slashes at its end; of a whole file system, as ``/`` or ``file:/``, they are the path."""
    short = root.rstrip("/")
    return root if not short or short.endswith(":") else short


class CheckpointFiles(Protocol):
    """A checkpoint folder, to read."""

    root: str

    def text(self, path: str) -> str | None:
        """The text of the file at ``path`` below the root; None where there is no file.

        Raises:
            EpochError: the file is there and damaged.
        """

    def exists(self, path: str) -> bool:
        """Whether there is a file or folder at ``path`` below the root."""


class CheckpointFolder(CheckpointFiles, Protocol):
    """A checkpoint folder, to read and to write anew. ``tests/folders.py`` holds what each kind of it must do.

    Paths are below the root, with ``/`` between names, and ``""`` for the root itself. Checksums that Hadoop keeps beside
    files are no files of the folder.
    """

    def has(self, address: str) -> bool:
        """Whether the file is there that a source log's line names, on whatever file system."""

    def names(self, path: str) -> list[str]:
        """The names in the folder at ``path``, sorted; empty where there is no folder."""

    def walk(self, path: str) -> Iterator[str]:
        """The paths of all files in the folder at ``path``, and in the folders in it; none where there is no folder."""

    def write(self, path: str, text: str) -> None:
        """Write a file, in place of one that is there."""

    def beside(self, ending: str) -> CheckpointFolder:
        """The folder whose root is this one's with an ending; it need not be there.

        Raises:
            ConfigurationError: the root is a whole file system or bucket, beside which nothing can be.
        """

    def copy(self, path: str, root: str) -> None:
        """Copy a file or folder to the same path below another root of the same file system, where nothing may be.

        Raises:
            EpochError: a file is damaged, or there is none.
        """

    def remove(self, path: str) -> None:
        """Delete a file, if it is there."""

    def move(self, root: str) -> None:
        """Give the whole folder another root, where nothing may be; in one step, unless the store copies, as S3 does.

        Raises:
            SinkUnavailable: the file system refused, something is there, or there is no folder.
        """

    def discard(self) -> None:
        """Delete the whole folder, if it is there; for one that this library has just written."""


# A file of checksums: this, the length of a piece as four bytes, then the CRC-32 of each piece of the file beside it.
# Source: ChecksumFileSystem.java of Apache Hadoop.
_CHECKSUMS = b"crc\0"


class LocalCheckpoint:
    """See :class:`~foreachonce.checkpoint.local.CheckpointFolder`."""

    def __init__(self, root: str) -> None:
        self.root = without_slash(root)
        self._path = _local(root)

    def text(self, path: str) -> str | None:
        """The text of a file, None where there is none."""
        try:
            return self._content(path).decode()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
        except UnicodeDecodeError as error:
            raise EpochError(f"{path} of the checkpoint {self.root} is damaged: {error}.") from None

    def exists(self, path: str) -> bool:
        """Whether the file or folder is there."""
        return (self._path / path).exists()

    def has(self, address: str) -> bool:
        """Whether a file of a source is there; one on another file system counts as there, for nobody can look."""
        place = urlsplit(address)
        return place.scheme not in ("", "file") or Path(unquote(place.path)).exists()

    def names(self, path: str) -> list[str]:
        """The names in a folder; empty where there is none."""
        folder = self._path / path
        return sorted(each.name for each in folder.iterdir() if not _is_checksum(each)) if folder.is_dir() else []

    def walk(self, path: str) -> Iterator[str]:
        """The paths of all files in a folder."""
        for place in sorted((self._path / path).rglob("*")):
            if place.is_file() and not _is_checksum(place):
                yield place.relative_to(self._path).as_posix()

    def write(self, path: str, text: str) -> None:
        """Write a file, in place of one that is there."""
        place = self._path / path
        with self._written():
            place.parent.mkdir(parents=True, exist_ok=True)
            # Hadoop would take the checksum of what stood there before for this text's.
            _checksums(place).unlink(missing_ok=True)
            place.write_text(text, encoding="utf-8")

    def beside(self, ending: str) -> LocalCheckpoint:
        """The folder whose root is this one's with an ending."""
        if self._path == self._path.parent:
            raise ConfigurationError(f"the checkpoint is the whole file system {self.root}: give it a folder of its own.")
        return LocalCheckpoint(self.root + ending)

    def copy(self, path: str, root: str) -> None:
        """Copy a file or folder to the same path below another root."""
        if not self.exists(path):
            raise EpochError(f"there is no {path} of the checkpoint {self.root} to copy.")
        for each in self.walk(path) if (self._path / path).is_dir() else (path,):
            target, content = _local(root) / each, self._content(each)
            with self._written():
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)

    def remove(self, path: str) -> None:
        """Delete a file, if it is there."""
        _checksums(self._path / path).unlink(missing_ok=True)
        (self._path / path).unlink(missing_ok=True)

    def move(self, root: str) -> None:
        """Give the whole folder another root."""
        target = _local(root)
        if target.exists() or not self._path.exists():
            raise SinkUnavailable(f"{self.root} cannot be moved to {root}: something is there, or there is nothing to move.")
        with self._written():
            self._path.rename(target)

    def discard(self) -> None:
        """Delete the whole folder."""
        shutil.rmtree(self._path, ignore_errors=True)

    @contextmanager
    def _written(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            text = f"the checkpoint {self.root} cannot be written: {error.strerror or error}"
            raise SinkUnavailable(f"{text}: {error.filename}." if error.filename else f"{text}.") from None

    def _content(self, path: str) -> bytes:
        content = (self._path / path).read_bytes()
        if not _fits(content, _checksums(self._path / path)):
            raise EpochError(f"{path} of the checkpoint {self.root} is damaged: its checksum does not fit.")
        return content


def _local(root: str) -> Path:
    return Path(root.removeprefix("file://").removeprefix("file:"))


def _checksums(place: Path) -> Path:
    return place.with_name(f".{place.name}.crc")


def _is_checksum(place: Path) -> bool:
    return place.name.startswith(".") and place.name.endswith(".crc")


def _fits(content: bytes, checksums: Path) -> bool:
    """Whether a file's content is what it was when its checksums were written; true where there are none, as for Hadoop."""
    try:
        known = checksums.read_bytes()
        if not known.startswith(_CHECKSUMS):
            return True
        (length,) = unpack_from(">i", known, len(_CHECKSUMS))
        sums = [number for (number,) in iter_unpack(">I", known[len(_CHECKSUMS) + 4 :])]
    except (FileNotFoundError, StructError):
        return True
    return length < 1 or [crc32(content[at : at + length]) for at in range(0, len(content), length)] == sums
