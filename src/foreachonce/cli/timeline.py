"""A stream's entries as they came: how long each took, and what happened there. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from foreachonce.entry import Entry

Mark = Literal["restart", "reset", "repair", "mismatch", "doubt", "unfinished"]
# What each mark means, in words.
WORDS: dict[Mark, str] = {
    "restart": "the query was started again",
    "reset": "another checkpoint: the query id has changed",
    "repair": "the checkpoint was mended",
    "mismatch": "written in spite of a mismatch (on_mismatch)",
    "doubt": "a doubt was settled (in_doubt)",
    "unfinished": "passed unfinished: some of its Kafka transactions are missing",
}


@dataclass(frozen=True, slots=True)
class Step:
    """An entry in its place in time.

    Args:
        entry: the entry.
        seconds: since the entry before; of a batch since the batch before, whatever was repaired meanwhile. None for the
            first.
        marks: what happened there.
    """

    entry: Entry
    seconds: float | None
    marks: tuple[Mark, ...]

    @property
    def rate(self) -> float | None:
        """Rows a second since the batch before; None where either is not known."""
        if self.entry.rows is None or not self.seconds or self.entry.is_repair:
            return None
        return self.entry.rows / self.seconds


def steps(entries: Iterable[Entry]) -> Iterator[Step]:
    """Put entries, in order of seq, into their places in time."""
    before: Entry | None = None
    batch: Entry | None = None
    for entry in entries:
        since = before if entry.is_repair else batch
        seconds = None if since is None else max(0.0, (entry.time - since.time).total_seconds())
        yield Step(entry, seconds, tuple(_marks(entry, batch)))
        before, batch = entry, batch if entry.is_repair else entry


def rate(found: Iterable[Step]) -> float | None:
    """Rows a second over several steps; None where nothing tells."""
    timed = [step for step in found if step.rate is not None]
    seconds = sum(step.seconds or 0 for step in timed)
    return sum(step.entry.rows or 0 for step in timed) / seconds if seconds else None


def is_unfinished(entry: Entry) -> bool:
    """Whether the ledger of a Kafka cluster says that others follow an epoch which lacks some of its transactions."""
    return entry.parts is not None


def _marks(entry: Entry, batch: Entry | None) -> Iterator[Mark]:
    """What an entry tells, against the newest batch before it; a repair has a run of its own, which starts nothing."""
    if entry.is_repair:
        yield "repair"
        return
    if batch is not None and entry.query_id != batch.query_id:
        yield "reset"
    elif batch is not None and entry.run_id != batch.run_id:
        yield "restart"
    if entry.decision.kind == "repair":
        yield "repair"
    if entry.decision.kind == "on_mismatch":
        yield "mismatch"
    if entry.decision.kind == "in_doubt":
        yield "doubt"
    if is_unfinished(entry):
        yield "unfinished"
