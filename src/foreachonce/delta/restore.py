"""Which version a RESTORE by time went back to, told by the data files. Pure.

Such a RESTORE's commit names a time, without its time zone (RestoreTableCommand.scala), so the time tells nothing for sure.
The files do: the version is one whose files are those that the RESTORE left. Of several such versions the newest is taken;
their rows are the same, so an entry between them had none.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import NamedTuple

from foreachonce.errors import LedgerError

File = tuple[str, str]
"""A data file's path, and its deletion vector."""


class Change(NamedTuple):
    """The data files that a commit added and removed."""

    added: frozenset[File]
    removed: frozenset[File]


def change(lines: Iterable[str]) -> Change:
    """What the lines of a commit's file do to the table's files."""
    files: dict[str, set[File]] = {"add": set(), "remove": set()}
    for line in lines:
        if line.startswith(('{"add"', '{"remove"')):
            [(kind, action)] = json.loads(line).items()
            vector = action.get("deletionVector")
            files[kind].add((action["path"], json.dumps(vector, sort_keys=True) if vector else ""))
    return Change(frozenset(files["add"]), frozenset(files["remove"]))


def restored_version(version: int, changes: Callable[[int], Change]) -> int:
    """The newest version whose files are those that the RESTORE of ``version`` left.

    Raises:
        LedgerError: no version is; its commit is not in the log any more.
    """
    wanted = changes(version)
    back: set[File] = set()
    gone: set[File] = set()
    for earlier in range(version - 1, -1, -1):
        if gone == wanted.removed and back == wanted.added:
            return earlier
        added, removed = changes(earlier)
        gone, back = gone | (added - back), back - added
        gone, back = gone - removed, back | (removed - gone)
    raise LedgerError(f"version {version} is a RESTORE by time, and no version before it has the files that it left.")
