"""What a ledger is: one chain of entries for each stream, read and appended in the same way on every backend.

The runner calls a ledger in this order, once an epoch:

1. ``look(epoch)``: the stream's head, the epoch's own entry, and whether the epoch's run holds the stream. A replay ends
   here.
2. ``take(epoch, head)``: before a run's first write: fence off every other run, and look again.
3. (The sink commits rows and entry together.)
4. ``look(epoch)`` again where the commit raised: the ledger is believed, not the error.

A repair of the query's checkpoint calls ``head`` and ``unfinished`` before the query starts, then ``take`` and ``append``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from foreachonce.entry import Entry, Epoch, LedgerState


class Ledger(Protocol):
    """The entries that a backend has committed.

    Raises:
        SinkUnavailable: by every method: the backend cannot be reached.
        LedgerError: by every method: the ledger is damaged, of another version, or cannot be made.
    """

    def streams(self) -> list[str]:
        """The names of all streams."""

    def head(self, stream: str) -> Entry | None:
        """The stream's newest entry; None where it has none, as for a misspelt name."""

    def entries(self, stream: str, *, after: int = -1) -> Iterator[Entry]:
        """Yield the stream's entries with a greater seq than ``after``, in order; none for an unknown stream."""

    def look(self, epoch: Epoch) -> LedgerState:
        """Read what the ledger holds for an epoch.

        A ledger keeps, beside entries, which runs have taken each stream, in order.

        Args:
            epoch: the batch.

        Returns:
            The stream's newest entry, the epoch's own, and whether the epoch's run holds the stream: True if it is the
            newest run that took it, False if it never did.

        Raises:
            Fenced: the epoch's run has lost the stream to a newer one.
        """

    def take(self, epoch: Epoch, head: Entry | None) -> LedgerState:
        """Take the stream over for the epoch's run if ``head`` still is its newest entry; return what is there then.

        From then on no other run can write the stream, whatever it has started. (On Delta, where a take writes nothing,
        from the run's first commit on.) If the run holds the stream already, or ``head`` is no longer the newest entry,
        nothing changes, and the runner decides again by what is returned.

        Raises:
            Fenced: the epoch's run has lost the stream to a newer one.
        """

    def append(self, entry: Entry) -> None:
        """Append an entry without rows, as the run that holds the stream.

        Raises:
            Fenced: a newer run has taken the stream; nothing was appended.
            Conflict: another writer was first; nothing was appended.
            CommitInDoubt: the outcome is unknown; ``look`` shows it.
        """

    def unfinished(self, stream: str) -> Entry | None:
        """The entry of a started, unfinished batch; only the same rows may complete it. None where there is none."""
