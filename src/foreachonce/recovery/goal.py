"""Where a query has to go on: what the ledgers of its sinks say. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from foreachonce.entry import Entry
from foreachonce.errors import Mismatch


@dataclass(frozen=True, slots=True)
class Standing:
    """How far one sink is.

    Args:
        sink: its description.
        last: the entry of its newest batch; None where the stream is new.
        unfinished: the entry of a started, unfinished batch: a function's intent, or an epoch of several transactions. Only
            the same rows may complete it.
    """

    sink: str
    last: Entry | None
    unfinished: Entry | None = None


@dataclass(frozen=True, slots=True)
class Goal:
    """The place where a checkpoint has to go on.

    Args:
        query_id: the query whose batches the chain ends with.
        last: the entry of the newest batch that every sink has; None where none has one yet.
        unfinished: the entry of the batch after it, where its rows are settled: it was started, or some sink has it.
    """

    query_id: str
    last: Entry | None
    unfinished: Entry | None = None

    @property
    def batch_id(self) -> int:
        """The newest batch that every sink has; -1 for none."""
        return -1 if self.last is None else self.last.batch_id

    @property
    def newest(self) -> int:
        """The newest batch whose rows are settled."""
        return -1 if self.newest_entry is None else self.newest_entry.batch_id

    def settled(self, batch_id: int) -> Entry | None:
        """The entry of a batch, where it is one whose rows are settled, and the newest or the one after it."""
        return next((each for each in (self.last, self.unfinished) if each is not None and each.batch_id == batch_id), None)

    @property
    def shared(self) -> frozenset[str]:
        """The ids of the sources that are other uses of one before."""
        return frozenset() if self.newest_entry is None else self.newest_entry.position.shared

    @property
    def folders(self) -> dict[str, str]:
        """The folder below ``sources`` of each source that has one, by source id."""
        return {} if self.newest_entry is None else self.newest_entry.position.folders

    @property
    def newest_entry(self) -> Entry | None:
        """The entry of the newest batch whose rows are settled."""
        return self.last if self.unfinished is None else self.unfinished

    @property
    def is_stateful(self) -> bool:
        """Whether the query keeps state."""
        return any(entry.is_stateful for entry in (self.last, self.unfinished) if entry is not None)


def goal_of(standings: Sequence[Standing]) -> Goal | None:
    """The one place where a query of these sinks can go on; None where all streams are new.

    A crash between two sinks leaves one a batch behind the other: that batch is then settled, and runs again.

    Raises:
        Mismatch: the sinks are further apart, or hold different batches: one of them was put back.
    """
    unfinished = [each.unfinished for each in standings if each.unfinished is not None]
    lasts = [each.last for each in standings]
    rear = min(lasts, key=_place)
    leading = [entry for entry in lasts if entry is not None and _place(entry) != _place(rear)]
    settled = [*leading, *unfinished]
    if rear is None and not settled:
        return None
    whole = [entry for entry in lasts if entry is not None and _place(entry) == _place(rear)]
    if not _agree(whole) or not _agree(settled) or any(not _next_is(rear, entry) for entry in settled):
        raise Mismatch(_apart(standings))
    query = rear if rear is not None else settled[0]
    return Goal(query.query_id, rear, settled[0] if settled else None)


def _place(entry: Entry | None) -> int:
    return -1 if entry is None else entry.batch_id


def _agree(entries: Sequence[Entry]) -> bool:
    return all(
        entry.query_id == entries[0].query_id
        and entry.batch_id == entries[0].batch_id
        and entry.position.same_as(entries[0].position)
        for entry in entries
    )


def _next_is(rear: Entry | None, entry: Entry) -> bool:
    if rear is None:
        return entry.batch_id == 0
    return (entry.query_id, entry.batch_id) == (rear.query_id, rear.batch_id + 1)


def _apart(standings: Sequence[Standing]) -> str:
    lines = "\n".join(f"  {_batch_of(each.last)}: {each.sink}" for each in standings)
    return (
        "the sinks of this query are more than a batch apart, so no checkpoint goes with all of them:\n"
        f"{lines}\n"
        "  One of them was put back to an earlier moment. Put it forward again, or the others back to its batch; or\n"
        "  give each sink a query of its own. Nothing was changed."
    )


def _batch_of(entry: Entry | None) -> str:
    return "no batch" if entry is None else f"batch {entry.batch_id} of query {entry.query_id}"
