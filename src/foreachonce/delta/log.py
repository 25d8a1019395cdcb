"""A table's log as a stream's history: commit files, and copies where these are gone. Pure but for :class:`Folder`.

What was read once is kept in the process, so a look reads only the commits that are new. Delta's log clean-up removes commit
files, oldest first, and ``userMetadata`` with them; copies of the stream's own commits stay.
Source: MetadataCleanup.scala of delta-io/delta.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import takewhile
from operator import itemgetter
from typing import Protocol

from foreachonce.delta import restore
from foreachonce.delta.commit import Commit, Foreign, Lost, Own, Restore, from_copy, parse, to_copy
from foreachonce.delta.place import copies_folder, shown
from foreachonce.errors import ConfigurationError, LedgerError

LOG = "_delta_log"
# As many entries as Spark can run again by its default (spark.sql.streaming.minBatchesToRetain).
KEPT = 100
# commitInfo comes first where Delta for Spark has written; then txn, metaData and protocol; then the data files.
FIRST_LINES = 10


class Folder(Protocol):
    """The table's folder, on whatever file system it is. Paths are relative to it."""

    root: str

    def lines(self, path: str, limit: int | None = None) -> list[str] | None:
        """A file's first lines, or all; None where there is no such file."""

    def stamp(self, path: str) -> str | None:
        """What differs once a file was written anew; None where there is no such file."""

    def names(self, path: str) -> list[str]:
        """The names of the files in a folder; empty where there is none."""

    def stranger(self) -> str | None:
        """A file or folder in a folder that is not a Delta table's; None where it has a log, or hidden names only."""

    def write(self, path: str, text: str) -> None:
        """Write a file, in place of one that is there."""

    def delete(self, path: str) -> None:
        """Delete a file, if it is there."""


class Witness(Protocol):
    """What the table's newest state tells where commit files are gone."""

    def guard(self) -> int:
        """The stream's ``txn`` version; -1 where there is none."""

    def has_file(self, paths: tuple[str, ...]) -> bool:
        """Whether one of the data files belongs to the newest state."""


@dataclass
class Known:
    """What a process knows of a table's history; plain values only, so that it pickles."""

    newest: int = -1
    stamp: str | None = None
    commits: dict[int, Commit] = field(default_factory=dict)
    copied: set[int] = field(default_factory=set)
    gone: set[int] = field(default_factory=set)
    """Versions whose files are gone, and that were found to be nothing of the stream's."""
    held: dict[str, int] = field(default_factory=dict)
    """The runs of this process that hold the stream, each with the guard of its newest commit as they know it."""

    def forget(self) -> None:
        """Know nothing of the table any more."""
        self.newest, self.stamp = -1, None
        for known in (self.commits, self.copied, self.gone):
            known.clear()


def commit_file(version: int) -> str:
    """The path of a commit's file."""
    return f"{LOG}/{version:020}.json"


class Log:
    """One stream's view of a table's history, as it is at one moment.

    Args:
        stream: whose commits are its own; all others are foreign.
        folder: the table's.
        known: what was known before; it is brought up to date.
        witness: asked only where commit files are gone that nobody has read.
        trust: take the newest copy for right where the witness cannot tell.

    Raises:
        LedgerError: neither commit files nor copies tell what became of the stream.
    """

    def __init__(self, stream: str, folder: Folder, known: Known, witness: Witness, *, trust: bool = False) -> None:
        self._stream, self._folder, self._known, self._witness, self._trust = stream, folder, known, witness, trust
        self._copies = copies_folder(stream)
        self._catch_up()

    @property
    def name(self) -> str:
        """The stream and the table, for messages."""
        return f"stream {self._stream!r}, table {shown(self._folder.root)}"

    @property
    def root(self) -> str:
        """The table's path; its name where there is no table."""
        return self._folder.root

    @property
    def newest(self) -> int:
        """The newest version; -1 where there is no table."""
        return self._known.newest

    def commit(self, version: int) -> Commit:
        """The commit of a version; read once in a process."""
        found = self._known.commits.get(version)
        if found is None:
            found = self._read(version)
            self._known.commits[version] = found
        return found

    def restored(self, version: int) -> int:
        """The version that a RESTORE went back to, worked out once in a process where only its time is known."""
        commit = self.commit(version)
        assert isinstance(commit, Restore)
        if commit.version is not None:
            return commit.version
        found = restore.restored_version(version, self._change)
        self._known.commits[version] = Restore(found)
        return found

    def refuse_strangers(self) -> None:
        """Refuse to make a table where other files are, which would be none of its rows. Not asked where there is a table.

        Raises:
            ConfigurationError: naming one of them.
        """
        stranger = self._folder.stranger() if self.newest < 0 else None
        if stranger is not None:
            raise ConfigurationError(
                f"path_or_table={shown(self.root)!r} is not a Delta table, and holds other files, such as "
                f"{shown(stranger)!r}: a table made there would not have their rows. Name a folder that is empty or not "
                "there, or make Parquet files a table by CONVERT TO DELTA. Nothing was written."
            )

    def keep_copies(self) -> None:
        """Copy what is newer than the newest copy and would be missed once its commit file is gone."""
        last = max(self._known.copied, default=-1)
        new = takewhile(self._has_file, range(self.newest, last, -1))
        # In order, so that a copy is there only when all before it are.
        for version, commit in sorted(((version, self.commit(version)) for version in new), key=itemgetter(0)):
            if isinstance(commit, Restore):
                self._write_copy(version, Restore(self.restored(version)))
            elif isinstance(commit, Own):
                self._write_copy(version, commit)
        if len(self._known.copied) >= 2 * KEPT:
            self._prune()

    def _catch_up(self) -> None:
        known = self._known
        if known.newest >= 0 and self._folder.stamp(commit_file(known.newest)) != known.stamp:
            # The table was made anew, or its log was cleaned up to here.
            known.forget()
        if known.newest < 0:
            self._start()
        while (stamp := self._folder.stamp(commit_file(known.newest + 1))) is not None:
            known.newest, known.stamp = known.newest + 1, stamp

    def _start(self) -> None:
        """Begin at the newest copy whose commit file is there still, since all commits after it are then there too."""
        known = self._known
        known.copied = {int(name[:20]) for name in self._folder.names(self._copies) if _is_commit(name)}
        newest = max(known.copied, default=-1)
        known.newest, known.stamp = newest, self._folder.stamp(commit_file(newest))
        if known.stamp is None:
            # No copy, or the files after it may be gone: the folder's list tells what is there.
            known.newest = max((int(name[:20]) for name in self._folder.names(LOG) if name[:20].isdigit()), default=-1)
            known.stamp = self._folder.stamp(commit_file(known.newest))
        while known.copied and not self._is_of_this_table(newest := max(known.copied)):
            self._folder.delete(self._copy(newest))
            known.copied.discard(newest)

    def _is_of_this_table(self, version: int) -> bool:
        """Whether a copy was made of the commit that now stands under its version; another table may have had this path."""
        if version > self._known.newest:
            return False
        lines, copy = self._folder.lines(commit_file(version), FIRST_LINES), self._read_copy(version)
        if copy is None or lines is None:
            return copy is not None
        commit = parse(self._stream, lines)
        if isinstance(commit, Own) and isinstance(copy, Own):
            return (commit.guard, commit.entry.run_id) == (copy.guard, copy.entry.run_id)
        return type(commit) is type(copy)

    def _has_file(self, version: int) -> bool:
        return version in self._known.commits or self._folder.stamp(commit_file(version)) is not None

    def _read(self, version: int) -> Commit:
        # A copy says all that the file says, and outlives it.
        if version in self._known.copied and (copy := self._read_copy(version)) is not None:
            return copy
        lines = self._folder.lines(commit_file(version), FIRST_LINES)
        if lines is None:
            return self._without_file(version)
        if not any(line.startswith('{"commitInfo"') for line in lines):
            lines = self._folder.lines(commit_file(version)) or []
        return parse(self._stream, lines)

    def _read_copy(self, version: int) -> Own | Restore | None:
        lines = self._folder.lines(self._copy(version))
        try:
            return None if lines is None else from_copy("\n".join(lines))
        except ValueError:
            return None  # torn by a crash

    def _without_file(self, version: int) -> Commit:
        """A commit whose file is gone: foreign, if what is known of the stream leaves no room for one of its own."""
        before = max((copied for copied in self._known.copied if copied <= version), default=None)
        after = any(copied > version for copied in self._known.copied)
        if before is None and after:
            return Lost()
        # Every commit of the stream is copied before its next one, so only after the newest copy can one be missing.
        if not after and version not in self._known.gone:
            self._refuse_doubt(before)
            self._known.gone.update(range((-1 if before is None else before), version + 1))
        return Foreign()

    def _refuse_doubt(self, before: int | None) -> None:
        """Refuse where commits that are gone may have been the stream's, or a RESTORE that undid it."""
        copy = None if before is None else self.commit(before)
        guard = self._witness.guard()
        if copy is None and guard < 0:
            return
        if isinstance(copy, Own) and guard <= copy.guard and (not copy.files or self._witness.has_file(copy.files)):
            return
        if self._trust:
            return
        raise LedgerError(
            f"{self.name}: Delta's log clean-up has removed commits that may have written or undone the stream's rows, "
            f"and neither {self._copies} nor the table's newest state tells (txn version {guard}). Look at the rows; to go "
            'on after the newest entry that is known, start once with on_mismatch="write".'
        )

    def _change(self, version: int) -> restore.Change:
        lines = self._folder.lines(commit_file(version))
        if lines is None:
            raise LedgerError(
                f"{self.name}: a RESTORE by time undid commits whose files Delta's log clean-up has removed, version "
                f"{version} among them: nothing tells what it left."
            )
        return restore.change(lines)

    def _write_copy(self, version: int, commit: Own | Restore) -> None:
        self._folder.write(self._copy(version), to_copy(self._stream, commit))
        self._known.copied.add(version)

    def _prune(self) -> None:
        for version in sorted(self._known.copied)[:-KEPT]:
            self._folder.delete(self._copy(version))
            self._known.copied.discard(version)

    def _copy(self, version: int) -> str:
        return f"{self._copies}/{version:020}.json"


def stranger(names: Iterable[str]) -> str | None:
    """Of the names in a folder, the first that is not hidden; None where there is none, or a log."""
    found = sorted(names)
    return None if LOG in found else next((name for name in found if not name.startswith(("_", "."))), None)


def _is_commit(name: str) -> bool:
    return len(name) == 25 and name.endswith(".json") and name[:20].isdigit()
