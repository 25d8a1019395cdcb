"""The proof of a stream's chain, made while its entries pass by. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from foreachonce.chain import Break, breaks
from foreachonce.cli.timeline import is_unfinished
from foreachonce.cli.words import plural
from foreachonce.entry import Entry


@dataclass
class Proof:
    """What the entries that have passed tell.

    Args:
        first, last: the oldest and the newest of them; None before the first.
        entries: how many.
        rows: of all batches together, as far as they are counted.
        uncounted: how many batches do not tell their rows.
        repairs: how many are about a checkpoint that was mended.
        unfinished: those that lack some of their Kafka transactions.
        forced: those that were written in spite of a mismatch; at each of them the chain begins anew, as somebody wanted.
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
        """Whether each entry starts where the one before ended, but for those that were forced."""
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
        if is_unfinished(entry):
            self.unfinished.append(entry)

    def lines(self) -> Iterator[str]:
        """What is proven, in words."""
        if self.first is None or self.last is None:
            yield "There is no entry, so there is nothing to prove."
            return
        entries, rows = plural(self.entries, "entry", "entries"), plural(self.rows, "row")
        span = f"{entries}, seq {self.first.seq:,} to {self.last.seq:,}, {rows}"
        if self.is_proven:
            but = f", but for {plural(len(self.forced), 'place')} that somebody wanted" if self.forced else ""
            yield f"Proven: each entry starts where the one before ended, without gap or overlap{but}. {span}."
        else:
            yield f"Broken at {plural(len(self.breaks), 'place')}: {span}."
        yield from (f"  {line}" for each in self.breaks for line in told(each))
        if not self.is_whole:
            yield f"It begins with seq {self.first.seq:,}: what was before is pruned or gone; nothing is proven of it."
        for entry in self.forced:
            yield (
                f"Seq {entry.seq:,} was written in spite of a mismatch ({entry.decision}): the chain begins anew there, and "
                "rows may be missing or be there twice, as somebody wanted."
            )
        for entry in self.unfinished:
            yield f"Seq {entry.seq:,} was passed unfinished ({entry.parts}): the rows of the others are missing."
        if self.uncounted:
            yield f"{plural(self.uncounted, 'batch', 'batches')} of them: rows are not told."


def told(found: Break) -> Iterator[str]:
    """A break with both of its entries, in words."""
    yield f"between seq {found.before.seq} and seq {found.after.seq}: {found.what}"
    for name, entry in (("ends", found.before), ("starts", found.after)):
        place = entry.position.ends if name == "ends" else entry.position.starts
        yield (
            f"    seq {entry.seq}, batch {entry.batch_id} of query {entry.query_id}, {entry.time:%F %T}, "
            f"{name} at {place.replace(chr(10), ', ')}"
        )
