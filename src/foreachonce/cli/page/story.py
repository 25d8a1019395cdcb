"""What the page shows of a stream, gathered in one pass over its entries and from its logged events. Pure."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, Literal, NamedTuple

from foreachonce.cli.timeline import WORDS, Mark, Proof, Step, steps
from foreachonce.cli.words import decision_text
from foreachonce.entry import Entry
from foreachonce.errors import ConfigurationError

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
