"""From a table's commits to a stream's head: walks from the newest commit back. Pure.

RESTORE takes rows back, and the entries that were committed with them. It does not take the guard back (delta-io/delta,
issue 1813). So there are two walks: :func:`live` follows each RESTORE to the version that it went back to,
:func:`newest_own` does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from foreachonce.delta.commit import Commit, File, FileChanges, Missing, Own, Restore
from foreachonce.entry import Entry
from foreachonce.errors import LedgerError


class CommitHistory(Protocol):
    """A table's commits, as one stream sees them."""

    @property
    def name(self) -> str:
        """The stream and the table, for messages."""

    @property
    def newest(self) -> int:
        """The newest version; -1 if there is no table."""

    def commit(self, version: int) -> Commit:
        """The commit of a version.

        Raises:
            LedgerError: neither the log nor a copy shows whether it is the stream's.
        """

    def restored(self, version: int) -> int:
        """The version that the RESTORE of ``version`` went back to."""


def newest_own(history: CommitHistory, *, up_to: int | None = None) -> Own | None:
    """The stream's newest commit, undone or not; with ``up_to``, the newest one whose guard is not greater."""
    commits = map(history.commit, range(history.newest, -1, -1))
    own = (commit for commit in commits if isinstance(commit, Own))
    return next((commit for commit in own if up_to is None or commit.guard <= up_to), None)


def live(history: CommitHistory) -> Iterator[Own]:
    """Yield the stream's commits whose rows are in the table, newest first, as far back as they are kept.

    Raises:
        LedgerError: the newest one is not kept.
    """
    has_head = False
    for version, commit in _way_back(history):
        if isinstance(commit, Missing):
            if not has_head:
                raise LedgerError(_explain_missing(history, version))
            return
        if isinstance(commit, Own):
            yield commit
            has_head = True


def _way_back(history: CommitHistory) -> Iterator[tuple[int, Commit]]:
    """Yield the versions that the table's current state is made of, newest first."""
    version = history.newest
    while version >= 0:
        commit = history.commit(version)
        if isinstance(commit, Restore):
            version = history.restored(version)
            continue
        yield version, commit
        version -= 1


def _explain_missing(history: CommitHistory, version: int) -> str:
    return (
        f"{history.name}: the table was put back to version {version} or so, and neither commit files nor copies are left "
        "from there to show which batches it holds. RESTORE a newer version, or give the sink another stream=."
    )


def same_batch(history: CommitHistory, query_id: str, batch_id: int) -> Entry | None:
    """The live entry of a query's batch.

    The head shows which batch ids of its own query can have an entry. So the next batch of a query needs the head only.
    """
    for place, own in enumerate(live(history)):
        if (own.entry.query_id, own.entry.batch_id) == (query_id, batch_id):
            return own.entry
        if place == 0 and own.entry.query_id == query_id and batch_id > own.last_batch:
            return None
    return None


def seq_before(history: CommitHistory, guard: int) -> int | None:
    """The seq of the live entry before the one with this guard: -1 if there is none, None if it is not kept."""
    for _, commit in _way_back(history):
        if isinstance(commit, Missing):
            return None
        if isinstance(commit, Own) and commit.guard < guard:
            return commit.entry.seq
    return -1


def last_batch(history: CommitHistory, query_id: str, batch_id: int) -> int:
    """The greatest batch id of a query in the chain, once ``batch_id`` is appended."""
    earlier = (own.last_batch for own in live(history) if own.entry.query_id == query_id)
    return max(batch_id, next(earlier, -1))


def restored_version(version: int, changes: Callable[[int], FileChanges]) -> int:
    """The version that a RESTORE to a point in time went back to, found by the data files that it left.

    Its commit names the time without a time zone (RestoreTableCommand.scala), so the time proves nothing. Of several
    versions with the same files the newest is taken: an entry between them had no rows.

    Args:
        version: the RESTORE's own.
        changes: the data files that the commit of a version added and removed.

    Raises:
        LedgerError: no earlier version has these files.
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
