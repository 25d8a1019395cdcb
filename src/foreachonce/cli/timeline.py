"""A stream's entries in order: how long each took, what happened there, and the proof of the chain. Pure."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Literal, NamedTuple

from foreachonce.chain import Break, breaks
from foreachonce.cli.output import decision_text, plural
from foreachonce.entry import Entry
from foreachonce.errors import ConfigurationError

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
        if first.begins_late:
            yield (
                f"The chain begins with batch {first.batch_id}: nothing is proven of what the checkpoint's query did before "
                "its first entry."
            )
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


NEWEST = 50
Kind = Mark | Literal["break", "refused", "fenced", "failed", "replay"]
# In the order of their lanes.
KINDS: dict[Kind, str] = {
    "break": "the chain is broken",
    "refused": "a batch was refused",
    "fenced": "a run was fenced off",
    "failed": "a batch failed",
    **{mark: WORDS[mark] for mark in reversed(WORDS)},
    "replay": "a batch came again, and was skipped",
}
_OUTCOMES: dict[str, Kind] = {"skipped": "replay", "refused": "refused", "fenced": "fenced", "failed": "failed"}
_EPOCH = datetime.fromtimestamp(0, timezone.utc)


class Event(NamedTuple):
    """What became of one batch, as it was logged; ``seconds`` by step."""

    outcome: str
    batch_id: int
    seq: int | None
    reason: str
    seconds: Mapping[str, float]


class Point(NamedTuple):
    """What the plots need of an entry."""

    seq: int
    time: datetime
    rows: int | None
    seconds: float | None
    query_id: str
    is_repair: bool


class Happening(NamedTuple):
    """Something that is marked."""

    kind: Kind
    time: datetime
    seq: int | None
    words: str

    def __str__(self) -> str:
        seq = "" if self.seq is None else f"seq {self.seq:,}, "
        return f"{KINDS[self.kind]}: {seq}{self.time:%F %T} UTC. {self.words}"


class Story(NamedTuple):
    """A stream, as the page shows it."""

    stream: str
    points: Sequence[Point]
    newest: Sequence[Step]
    proof: Proof
    happenings: Sequence[Happening]
    events: Sequence[Event]


def gather(stream: str, entries: Iterable[Entry], events: Sequence[Event]) -> Story:
    """Gather a stream's story from its entries, in order of seq, and from its logged events."""
    proof, points, marked = Proof(), list[Point](), list[Happening]()
    newest: deque[Step] = deque(maxlen=NEWEST)
    for step in steps(proof.watch(entries)):
        entry = step.entry
        newest.append(step)
        points.append(Point(entry.seq, entry.time, entry.rows, step.seconds, entry.query_id, entry.is_repair))
        marked += [Happening(mark, entry.time, entry.seq, _words(entry, mark)) for mark in step.marks]
    for each in proof.breaks:
        words = f"after seq {each.before.seq}: {each.what}"
        marked.append(Happening("break", each.after.time, each.after.seq, words))
    marked += _logged(events, points)
    return Story(stream, points, newest, proof, sorted(marked, key=lambda each: each.time), events)


def read(lines: Iterable[str], stream: str) -> Iterator[Event]:
    """Read a stream's logged events from lines of JSON; every other line of JSON is passed over.

    A line is the event itself, or holds it as ``foreachonce``, the name under which the log's record has it.

    Raises:
        ConfigurationError: a line is no JSON, or an event that lacks what it must have.
    """
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line.strip() or "null")
            fields = record.get("foreachonce", record) if isinstance(record, dict) else None
            if isinstance(fields, dict) and fields.get("stream") == stream and "outcome" in fields:
                yield _event(fields)
        except (ValueError, TypeError, KeyError) as error:
            raise ConfigurationError(f"--events, line {number}: it is no event: {error!r}.") from None


def _words(entry: Entry, mark: Mark) -> str:
    if mark in ("restart", "reset"):
        return f"run {entry.run_id}" if mark == "restart" else f"query {entry.query_id}"
    return decision_text(entry)


def _logged(events: Iterable[Event], points: Sequence[Point]) -> Iterator[Happening]:
    """Events have no time of their own: one without an entry comes after the newest entry that was logged before it."""
    times = {point.seq: point.time for point in points}
    time = points[0].time if points else _EPOCH
    for event in events:
        time = time if event.seq is None else times.get(event.seq, time)
        if event.outcome in _OUTCOMES:
            yield Happening(_OUTCOMES[event.outcome], time, event.seq, f"batch {event.batch_id}: {event.reason}")


def _event(fields: Mapping[str, Any]) -> Event:
    flat = {name.removeprefix("seconds_"): value for name, value in fields.items() if name.startswith("seconds_")}
    seconds = {str(name): float(value) for name, value in (fields.get("seconds") or flat).items() if value is not None}
    seq = None if fields.get("seq") is None else int(fields["seq"])
    return Event(str(fields["outcome"]), int(fields["batch_id"]), seq, str(fields.get("reason", "")), seconds)
