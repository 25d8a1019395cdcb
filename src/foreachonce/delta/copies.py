"""Copies of a stream's commits, in a folder of the table's own. Pure, and the same for every table format.

A format's clean-up removes old commits with their ledger entries; the copies stay. Each commit of the stream and each
RESTORE has one, named by its version.
"""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING

from foreachonce.delta.commit import FORMAT, MARKER, Own, Restore, from_fields, read_metadata, to_fields

if TYPE_CHECKING:
    from foreachonce.delta.folder import TableFolder

# VACUUM leaves folders with a leading underscore alone: DeltaTableUtils.isHiddenDirectory in DeltaTable.scala.
COPIES = "_foreachonce"


class Copies:
    """The copies of one stream's commits.

    Args:
        stream: whose commits are copied.
        folder: the table's.
    """

    def __init__(self, stream: str, folder: TableFolder) -> None:
        self._stream, self._folder = stream, folder
        self.path = copies_folder(stream)

    def versions(self) -> set[int]:
        """The versions that have a copy."""
        return {int(name[:20]) for name in self._folder.names(self.path) if _is_copy(name)}

    def read(self, version: int) -> Own | Restore | None:
        """The commit that was copied; None without a copy, or if a crash has torn it.

        Raises:
            LedgerError: a newer version of this library wrote it.
        """
        lines = self._folder.lines(self._file(version))
        try:
            return None if lines is None else from_copy("\n".join(lines))
        except ValueError:
            return None

    def write(self, version: int, commit: Own | Restore) -> None:
        """Copy a commit."""
        self._folder.write(self._file(version), to_copy(self._stream, commit))

    def remove(self, version: int) -> None:
        """Remove a copy, if it is there."""
        self._folder.remove(self._file(version))

    def _file(self, version: int) -> str:
        return f"{self.path}/{version:020}.json"


def copies_folder(stream: str) -> str:
    """The folder of a stream's copies, below the table's. A stream's name may hold any character, so it is hashed."""
    return f"{COPIES}/{sha256(stream.encode()).hexdigest()[:32]}"


def copied_streams(folder: TableFolder) -> set[str]:
    """The names of the streams that have copies."""
    names: set[str] = set()
    for stream in folder.names(COPIES):
        for name in folder.names(f"{COPIES}/{stream}")[:1]:
            fields = read_metadata("\n".join(folder.lines(f"{COPIES}/{stream}/{name}") or []))
            if fields is not None:
                names.add(str(fields["stream"]))
    return names


def to_copy(stream: str, commit: Own | Restore) -> str:
    """The text of a commit's copy."""
    if isinstance(commit, Restore):
        return json.dumps({MARKER: FORMAT, "stream": stream, "restored": commit.version})
    fields = to_fields(commit) | {"rows": commit.entry.rows, "files": commit.files}
    return json.dumps(fields, ensure_ascii=False)


def from_copy(text: str) -> Own | Restore:
    """The commit that :func:`to_copy` described.

    Raises:
        LedgerError: a newer version of this library wrote it.
        ValueError: it is torn.
    """
    fields = json.loads(text)
    if "restored" in fields:
        return Restore(fields["restored"])
    own = from_fields(fields)
    return replace(own, entry=replace(own.entry, rows=fields["rows"]), files=tuple(fields["files"]))


def _is_copy(name: str) -> bool:
    return len(name) == 25 and name.endswith(".json") and name[:20].isdigit()
