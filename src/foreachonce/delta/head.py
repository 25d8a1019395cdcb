"""From a table's history to a stream's head: a walk from the newest commit back. Pure.

RESTORE takes rows back, and with them the entries that came with them; it does not take the guard back (delta-io/delta,
issue 1813). So there are two walks: the head's follows each RESTORE to the version that it went back to, the guard's does
not.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from foreachonce.delta.commit import Commit, Lost, Own, Restore
from foreachonce.entry import Entry
from foreachonce.errors import LedgerError


class History(Protocol):
    """A table's commits, as far as they can be known."""

    @property
    def name(self) -> str:
        """The stream and the table, for messages."""

    @property
    def newest(self) -> int:
        """The newest version; -1 where there is no table."""

    def commit(self, version: int) -> Commit:
        """The commit of a version.

        Raises:
            LedgerError: neither the log nor a copy tells whether it is the stream's.
        """

    def restored(self, version: int) -> int:
        """The version that the RESTORE of ``version`` went back to."""


def newest_own(history: History, *, up_to: int | None = None) -> Own | None:
    """The stream's newest commit, undone or not: the holder's, with the greatest guard, or the greatest ``up_to`` one."""
    commits = map(history.commit, range(history.newest, -1, -1))
    own = (commit for commit in commits if isinstance(commit, Own))
    return next((commit for commit in own if up_to is None or commit.guard <= up_to), None)


def live(history: History) -> Iterator[Own]:
    """The stream's commits whose rows are in the table, the newest first, as far back as any are kept.

    Raises:
        LedgerError: the newest one is not kept.
    """
    has_head = False
    for version, commit in _way_back(history):
        if isinstance(commit, Lost):
            if not has_head:
                raise LedgerError(_too_far_back(history, version))
            return
        if isinstance(commit, Own):
            yield commit
            has_head = True


def _way_back(history: History) -> Iterator[tuple[int, Commit]]:
    """The versions that led to the table as it is, the newest first."""
    version = history.newest
    while version >= 0:
        commit = history.commit(version)
        if isinstance(commit, Restore):
            version = history.restored(version)
            continue
        yield version, commit
        version -= 1


def _too_far_back(history: History, version: int) -> str:
    return (
        f"{history.name}: the table was put back to version {version} or so, from which neither commit files nor copies are "
        "kept, so nothing tells which batches it holds. Restore a newer version, or give the sink another stream=."
    )


def same_batch(history: History, query_id: str, batch_id: int) -> Entry | None:
    """The live entry of a query's batch.

    The head says which batch ids of its query can have an entry, so a query that goes on asks for no more than the head.
    """
    for place, own in enumerate(live(history)):
        if (own.entry.query_id, own.entry.batch_id) == (query_id, batch_id):
            return own.entry
        if place == 0 and own.entry.query_id == query_id and batch_id > own.last_batch:
            return None
    return None


def seq_before(history: History, guard: int) -> int | None:
    """The seq of the live entry that the one committed under ``guard`` follows: -1 for none, None where that is not kept."""
    for _, commit in _way_back(history):
        if isinstance(commit, Lost):
            return None
        if isinstance(commit, Own) and commit.guard < guard:
            return commit.entry.seq
    return -1


def last_batch(history: History, query_id: str, batch_id: int) -> int:
    """The greatest batch id of a query in the chain, once ``batch_id`` is its next entry."""
    found = (own.last_batch for own in live(history) if own.entry.query_id == query_id)
    return max(batch_id, next(found, -1))
