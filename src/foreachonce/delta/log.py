"""A Delta table's log as a stream's commit history: commit files, and copies once these are gone. Pure.

A process reads each commit once, so a look reads only the new ones. Delta's log clean-up removes commit files, oldest
first, and ``userMetadata`` with them; the copies of the stream's own commits stay.
Source: MetadataCleanup.scala of delta-io/delta.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import takewhile
from typing import TYPE_CHECKING, Protocol

from foreachonce.delta.commit import (
    FOREIGN,
    MARKER,
    MISSING,
    Commit,
    Copies,
    FileChanges,
    Own,
    Restore,
    copied_streams,
    file_changes,
    parse,
    read_metadata,
)
from foreachonce.delta.history import restored_version
from foreachonce.delta.target import shown
from foreachonce.errors import ConfigurationError, LedgerError

if TYPE_CHECKING:
    from foreachonce.delta.folder import TableFolder

LOG = "_delta_log"
# As many entries as Spark can run again by its default (spark.sql.streaming.minBatchesToRetain).
KEPT = 100
# Delta for Spark writes commitInfo first; then come txn, metaData and protocol; then the data files.
FIRST_LINES = 10


class Witness(Protocol):
    """What the table's newest state shows of a stream whose commit files are gone."""

    def guard(self) -> int:
        """The stream's ``txn`` version; -1 if there is none."""

    def has_file(self, paths: tuple[str, ...]) -> bool:
        """Whether one of the data files belongs to the newest state."""


@dataclass
class LogCache:
    """What a process has read of a table's log for one stream.

    It does not grow for ever: once there are twice ``KEPT`` copies, the oldest are removed, and with them everything
    before the oldest copy that is left. Other writers' commits since then stay, a few bytes each.
    """

    newest: int = -1
    stamp: str | None = None
    commits: dict[int, Commit] = field(default_factory=dict)
    copied: set[int] = field(default_factory=set)
    foreign_up_to: int = -1
    """Missing commits after the newest copy, up to this version, are known to be foreign."""

    def clear(self) -> None:
        """Forget the table."""
        self.newest, self.stamp, self.foreign_up_to = -1, None, -1
        self.commits.clear()
        self.copied.clear()

    def forget_before(self, version: int) -> None:
        """Forget all commits before a version."""
        self.commits = {kept: commit for kept, commit in self.commits.items() if kept >= version}


class CommitLog:
    """One stream's view of a table's log at one moment; a :class:`~foreachonce.delta.history.CommitHistory`.

    Args:
        stream: whose commits are its own; all others are foreign.
        folder: the table's.
        cache: what was read before; it is brought up to date.
        witness: asked only if commit files are gone that nobody has read.
        trust: take the newest copy for the head if the witness cannot tell.

    Raises:
        LedgerError: neither commit files nor copies show the stream's head.
    """

    def __init__(self, stream: str, folder: TableFolder, cache: LogCache, witness: Witness, *, trust: bool = False) -> None:
        self._stream, self._folder, self._cache, self._witness, self._trust = stream, folder, cache, witness, trust
        self._copies = Copies(stream, folder)
        self._catch_up()

    @property
    def name(self) -> str:
        """The stream and the table, for messages."""
        return f"stream {self._stream!r}, table {shown(self._folder.root)}"

    @property
    def root(self) -> str | None:
        """The table's path; None if there is no table."""
        return None if self.newest < 0 else self._folder.root

    @property
    def newest(self) -> int:
        """The newest version; -1 if there is no table."""
        return self._cache.newest

    def commit(self, version: int) -> Commit:
        """The commit of a version."""
        commit = self._cache.commits.get(version)
        if commit is None:
            commit = self._cache.commits[version] = self._read(version)
        return commit

    def restored(self, version: int) -> int:
        """The version that a RESTORE went back to; a RESTORE to a point in time is worked out once in a process."""
        commit = self.commit(version)
        assert isinstance(commit, Restore)
        if commit.version is not None:
            return commit.version
        restored = restored_version(version, self._changes)
        self._cache.commits[version] = Restore(restored)
        return restored

    def refuse_other_files(self) -> None:
        """Refuse to make a table in a folder that already holds other files; the table would not have their rows.

        Raises:
            ConfigurationError: naming one of them.
        """
        other = None if self.newest >= 0 or self._folder.exists(LOG) else self._folder.visible()
        if other is not None:
            raise ConfigurationError(
                f"path_or_table={shown(self._folder.root)!r} is not a Delta table, and holds other files, such as "
                f"{shown(other)!r}. A table made there would not have their rows. Name an empty or new folder, or make "
                "Parquet files a table by CONVERT TO DELTA. Nothing was written."
            )

    def keep_copies(self) -> None:
        """Copy the commits after the newest copy, so that the head outlives their files."""
        last = max(self._cache.copied, default=-1)
        # Oldest first: a copy must be there only when all before it are.
        for version in sorted(takewhile(self._is_readable, range(self.newest, last, -1))):
            commit = self.commit(version)
            if isinstance(commit, Restore):
                self._copy(version, Restore(self.restored(version)))
            elif isinstance(commit, Own):
                self._copy(version, commit)
        if len(self._cache.copied) >= 2 * KEPT:
            self._prune()

    def _catch_up(self) -> None:
        cache = self._cache
        if cache.newest >= 0 and self._folder.stamp(commit_file(cache.newest)) != cache.stamp:
            # The table was made anew, or its log was cleaned up to here.
            cache.clear()
        if cache.newest < 0:
            self._start()
        while (stamp := self._folder.stamp(commit_file(cache.newest + 1))) is not None:
            cache.newest, cache.stamp = cache.newest + 1, stamp

    def _start(self) -> None:
        """Start at the newest copy if its commit file is still there, since then all later commit files are too."""
        cache = self._cache
        cache.copied = self._copies.versions()
        newest = max(cache.copied, default=-1)
        cache.newest, cache.stamp = newest, self._folder.stamp(commit_file(newest))
        if cache.stamp is None:
            # No copy, or commit files after it may be gone: list the log.
            cache.newest = max((int(name[:20]) for name in self._folder.names(LOG) if name[:20].isdigit()), default=-1)
            cache.stamp = self._folder.stamp(commit_file(cache.newest))
        while cache.copied and not self._is_of_this_table(newest := max(cache.copied)):
            self._copies.remove(newest)
            cache.copied.discard(newest)

    def _is_of_this_table(self, version: int) -> bool:
        """Whether a copy is of the commit that now has its version; another table may have had this path."""
        if version > self._cache.newest:
            return False
        lines, copy = self._folder.lines(commit_file(version), FIRST_LINES), self._copies.read(version)
        if copy is None or lines is None:
            return copy is not None
        commit = parse(self._stream, lines)
        if isinstance(commit, Own) and isinstance(copy, Own):
            return (commit.guard, commit.entry.run_id) == (copy.guard, copy.entry.run_id)
        return type(commit) is type(copy)

    def _is_readable(self, version: int) -> bool:
        return version in self._cache.commits or self._folder.stamp(commit_file(version)) is not None

    def _read(self, version: int) -> Commit:
        # A copy says all that the file says, and outlives it.
        if version in self._cache.copied and (copy := self._copies.read(version)) is not None:
            return copy
        lines = self._folder.lines(commit_file(version), FIRST_LINES)
        if lines is None:
            return self._without_file(version)
        if not any(line.startswith('{"commitInfo"') for line in lines):
            lines = self._folder.lines(commit_file(version)) or []
        return parse(self._stream, lines)

    def _without_file(self, version: int) -> Commit:
        """A commit whose file is gone: foreign if the copies leave no room for one of the stream's, else missing."""
        before = max((copied for copied in self._cache.copied if copied <= version), default=None)
        has_later_copy = any(copied > version for copied in self._cache.copied)
        if before is None and has_later_copy:
            return MISSING
        # Every commit of the stream is copied before its next one, so only one after the newest copy can be unknown.
        if not has_later_copy and version > self._cache.foreign_up_to:
            self._refuse_doubt(before)
            self._cache.foreign_up_to = version
        return FOREIGN

    def _refuse_doubt(self, before: int | None) -> None:
        """Refuse if a missing commit may have been the stream's, or a RESTORE that undid one of the stream's."""
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
            f"and neither {self._copies.path} nor the table's newest state shows it (txn version {guard}). Look at the "
            'rows. To go on after the newest entry that is known, start once with on_mismatch="write".'
        )

    def _changes(self, version: int) -> FileChanges:
        lines = self._folder.lines(commit_file(version))
        if lines is None:
            raise LedgerError(
                f"{self.name}: a RESTORE by time undid commits, and Delta's log clean-up has removed the file of version "
                f"{version}, so nothing shows what the RESTORE left. RESTORE a version by its number, or give the sink "
                "another stream=."
            )
        return file_changes(lines)

    def _copy(self, version: int, commit: Own | Restore) -> None:
        self._copies.write(version, commit)
        self._cache.copied.add(version)

    def _prune(self) -> None:
        copied = sorted(self._cache.copied)
        for version in copied[:-KEPT]:
            self._copies.remove(version)
            self._cache.copied.discard(version)
        self._cache.forget_before(copied[-KEPT])


def commit_file(version: int) -> str:
    """The path of a commit's file."""
    return f"{LOG}/{version:020}.json"


def stream_names(folder: TableFolder) -> set[str]:
    """The names of all streams that commit files and copies know."""
    return copied_streams(folder).union(_committed_streams(folder))


def _committed_streams(folder: TableFolder) -> Iterator[str]:
    for name in folder.names(LOG):
        for line in (folder.lines(f"{LOG}/{name}", FIRST_LINES) or []) if name.endswith(".json") else []:
            if MARKER in line and line.startswith('{"commitInfo"'):
                fields = read_metadata(json.loads(line)["commitInfo"].get("userMetadata"))
                if fields is not None:
                    yield str(fields["stream"])
