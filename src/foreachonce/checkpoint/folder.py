"""What is asked of a checkpoint's folder, on whatever file system it is."""

from __future__ import annotations

from typing import Protocol


class Files(Protocol):
    """A checkpoint folder, to read."""

    root: str

    def text(self, path: str) -> str | None:
        """The text of the file at ``path`` below the root; None where there is no such file.

        Raises:
            EpochError: the file is there and damaged.
        """

    def exists(self, path: str) -> bool:
        """Whether there is a file or folder at ``path`` below the root."""


class Folder(Files, Protocol):
    """A checkpoint folder, to read and to write anew."""

    def has(self, address: str) -> bool:
        """Whether the file is there that a source log's line names, on whatever file system."""

    def names(self, path: str) -> list[str]:
        """The names in the folder at ``path`` below the root, ``""`` for the root; empty where there is none."""

    def write(self, path: str, text: str) -> None:
        """Write a file, in place of one that is there."""

    def beside(self, ending: str) -> Folder:
        """The folder whose root is this one's with an ending; it need not be there."""

    def copy(self, path: str, root: str) -> None:
        """Copy a file or folder to the same path below another root of the same file system."""

    def move(self, root: str) -> None:
        """Give the whole folder another root, where nothing may be.

        Raises:
            SinkUnavailable: the file system refused.
        """

    def discard(self) -> None:
        """Delete the whole folder; for one that this library has just written."""
