"""A checkpoint on the local file system, without Spark."""

from __future__ import annotations

import shutil
from pathlib import Path
from urllib.parse import unquote, urlsplit

from foreachonce.errors import EpochError, SinkUnavailable


class LocalFolder:
    """See :class:`~foreachonce.checkpoint.folder.Folder`."""

    def __init__(self, root: str) -> None:
        self.root = root.rstrip("/")
        self._path = Path(self.root.removeprefix("file://").removeprefix("file:"))

    def text(self, path: str) -> str | None:
        """The text of a file, None where there is none."""
        try:
            return (self._path / path).read_text(encoding="utf-8")
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
        return sorted(each.name for each in folder.iterdir()) if folder.is_dir() else []

    def write(self, path: str, text: str) -> None:
        """Write a file, in place of one that is there."""
        place = self._path / path
        place.parent.mkdir(parents=True, exist_ok=True)
        # Hadoop would take the checksum of what stood there before for this text's.
        place.with_name(f".{place.name}.crc").unlink(missing_ok=True)
        place.write_text(text, encoding="utf-8")

    def beside(self, ending: str) -> LocalFolder:
        """The folder whose root is this one's with an ending."""
        return LocalFolder(self.root + ending)

    def copy(self, path: str, root: str) -> None:
        """Copy a file or folder to the same path below another root."""
        source, target = self._path / path, LocalFolder(root)._path / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, dirs_exist_ok=True)
        else:
            shutil.copy2(source, target)

    def move(self, root: str) -> None:
        """Give the whole folder another root."""
        target = LocalFolder(root)._path
        if target.exists():
            raise SinkUnavailable(f"{self.root} cannot be moved to {root}: something is there.")
        self._path.rename(target)

    def discard(self) -> None:
        """Delete the whole folder."""
        shutil.rmtree(self._path, ignore_errors=True)
