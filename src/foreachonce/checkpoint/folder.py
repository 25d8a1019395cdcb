"""What is asked of a checkpoint's folder, on whatever file system it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol


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
