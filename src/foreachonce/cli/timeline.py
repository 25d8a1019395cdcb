"""A stream's entries in order: how long each took, what happened there, and the proof of the chain. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from foreachonce.chain import Break, breaks
from foreachonce.cli.words import decision_text, plural
from foreachonce.entry import Entry

Mark = Literal["restart", "reset", "repair", "mismatch", "doubt", "unfinished"]
# What each mark means.
WORDS: dict[Mark, str] = {
    "restart": "the query was restarted",
    "reset": "another checkpoint: the query id has changed",
    "repair": "the checkpoint was repaired",
    "mismatch": "written in spite of a mismatch (on_mismatch)",
    "doubt": "a call in doubt was settled (in_doubt)",
    "unfinished": "left unfinished: some of its Kafka transactions are missing",
}


@dataclass(frozen=True, slots=True)
class Step:
    """An entry in its place in time.

    Args:
        entry: the entry.
        seconds: since the entry before; for a batch since the batch before, whatever was repaired meanwhile. None for the
            first.
        marks: what happened there.
    """

    entry: Entry
    seconds: float | None
    marks: tuple[Mark, ...]

    @property
    def rate(self) -> float | None:
        """Rows a second since the batch before; None where either is unknown."""
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


def rate(some: Iterable[Step]) -> float | None:
    """Rows a second over several steps; None where no step has a rate."""
    timed = [step for step in some if step.rate is not None]
    seconds = sum(step.seconds or 0 for step in timed)
    return sum(step.entry.rows or 0 for step in timed) / seconds if seconds else None


def _marks(entry: Entry, batch: Entry | None) -> Iterator[Mark]:
    """What an entry shows, compared with the newest batch before it; a repair's own run restarts nothing."""
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
    if entry.parts is not None:
        yield "unfinished"


@dataclass
class Proof:
    """The proof of a stream's chain, made while its entries pass by.

    Args:
        first, last: the oldest and the newest entry so far; None before the first.
        entries: how many.
        rows: of all batches together, as far as they were counted.
        uncounted: how many batches have no row count.
        repairs: how many entries are repairs of a checkpoint.
        unfinished: the entries that lack some of their Kafka transactions.
        forced: the entries written in spite of a mismatch; the chain starts over at each.
        breaks: where two neighbours do not meet.
    """

    first: Entry | None = None
    last: Entry | None = None
    entries: int = 0
    rows: int = 0
    uncounted: int = 0
    repairs: int = 0
    unfinished: list[Entry] = field(default_factory=list)
    forced: list[Entry] = field(default_factory=list)
    breaks: list[Break] = field(default_factory=list)

    @property
    def is_proven(self) -> bool:
        """Whether each entry, except the forced ones, starts where the one before ended."""
        return not self.breaks

    @property
    def is_whole(self) -> bool:
        """Whether the entries go back to the stream's first."""
        return self.first is None or self.first.seq == 0

    def watch(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        """Pass entries on, in order of seq."""
        for entry in entries:
            self._take(entry)
            yield entry

    def _take(self, entry: Entry) -> None:
        if self.last is None:
            self.first = entry
        else:
            self.breaks += breaks((self.last, entry))
        self.last = entry
        self.entries += 1
        self.rows += entry.rows or 0
        self.repairs += entry.is_repair
        self.uncounted += entry.rows is None and not entry.is_repair
        if entry.decision.kind == "on_mismatch":
            self.forced.append(entry)
        if entry.parts is not None:
            self.unfinished.append(entry)

    def lines(self) -> Iterator[str]:
        """The result in words; the first line is the summary."""
        if self.first is None or self.last is None:
            yield "There are no entries, so there is nothing to prove."
            return
        entries, rows = plural(self.entries, "entry", "entries"), plural(self.rows, "row")
        span = f"{entries}, seq {self.first.seq:,} to {self.last.seq:,}, {rows}"
        if self.is_proven:
            but = f", except at {plural(len(self.forced), 'forced mismatch', 'forced mismatches')}" if self.forced else ""
            yield f"Proven: each entry starts where the one before ended, without gap or overlap{but}. {span}."
        else:
            yield f"Broken at {plural(len(self.breaks), 'place')}: {span}."
        yield from (f"  {line}" for each in self.breaks for line in _describe(each))
        yield from self._caveats(self.first)

    def _caveats(self, first: Entry) -> Iterator[str]:
        if not self.is_whole:
            yield f"The chain begins with seq {first.seq:,}: older entries were pruned or are gone, and are not proven."
        for entry in self.forced:
            yield (
                f"Seq {entry.seq:,} was written in spite of a mismatch ({decision_text(entry)}): the chain starts over "
                "there, and rows may be missing or duplicated."
            )
        for entry in self.unfinished:
            yield f"Seq {entry.seq:,} was left unfinished ({entry.parts}): the rows of the others are missing."
        if self.uncounted:
            yield f"{plural(self.uncounted, 'batch has', 'batches have')} no row count."


def _describe(broken: Break) -> Iterator[str]:
    """A break with both of its entries."""
    yield f"between seq {broken.before.seq} and seq {broken.after.seq}: {broken.what}"
    for verb, entry in (("ends", broken.before), ("starts", broken.after)):
        offsets = entry.position.ends if verb == "ends" else entry.position.starts
        yield (
            f"    seq {entry.seq}, batch {entry.batch_id} of query {entry.query_id}, {entry.time:%F %T}, "
            f"{verb} at {offsets.replace(chr(10), ', ')}"
        )
