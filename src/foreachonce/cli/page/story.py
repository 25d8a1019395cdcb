"""What the page tells of a stream, gathered in one pass over its entries: a few values of each, all of the newest. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from foreachonce.cli.page.events import Event
from foreachonce.cli.timeline import WORDS, Mark, Proof, Step, steps
from foreachonce.cli.words import decision_text
from foreachonce.entry import Entry

NEWEST = 50
Kind = Mark | Literal["break", "replay", "refused", "fenced", "failed"]
# In the order of their lanes.
KINDS: dict[Kind, str] = {
    "break": "the chain is broken",
    "mismatch": WORDS["mismatch"],
    "unfinished": WORDS["unfinished"],
    "reset": WORDS["reset"],
    "repair": WORDS["repair"],
    "doubt": WORDS["doubt"],
    "refused": "a batch was refused",
    "fenced": "a run was fenced off",
    "failed": "a batch failed",
    "replay": "a batch came again, and was skipped",
    "restart": WORDS["restart"],
}
_OUTCOMES: dict[str, Kind] = {"skipped": "replay", "refused": "refused", "fenced": "fenced", "failed": "failed"}


class Point(NamedTuple):
    """What the plots need of an entry."""

    seq: int
    time: float
    """Seconds since 1970."""
    rows: int | None
    seconds: float | None
    query_id: str
    is_repair: bool


class Happening(NamedTuple):
    """Something that is marked."""

    kind: Kind
    time: float
    seq: int | None
    words: str


class Story(NamedTuple):
    """A stream, as the page tells it."""

    stream: str
    points: Sequence[Point]
    newest: Sequence[Step]
    proof: Proof
    happenings: Sequence[Happening]
    events: Sequence[Event]


def story(stream: str, entries: Iterable[Entry], events: Sequence[Event]) -> Story:
    """Gather a stream's story from its entries, in order of seq, and from what was logged of it."""
    proof, points, marked = Proof(), list[Point](), list[Happening]()
    newest: deque[Step] = deque(maxlen=NEWEST)
    for step in steps(proof.watch(entries)):
        points.append(_point(step))
        newest.append(step)
        marked += [Happening(mark, points[-1].time, step.entry.seq, _words(step, mark)) for mark in step.marks]
    marked += [
        Happening("break", each.after.time.timestamp(), each.after.seq, f"after seq {each.before.seq}: {each.what}")
        for each in proof.breaks
    ]
    marked += _logged(events, points)
    return Story(stream, points, newest, proof, sorted(marked, key=lambda each: each.time), events)


def _point(step: Step) -> Point:
    entry = step.entry
    return Point(entry.seq, entry.time.timestamp(), entry.rows, step.seconds, entry.query_id, entry.is_repair)


def _words(step: Step, mark: Mark) -> str:
    if mark in ("restart", "reset"):
        return f"run {step.entry.run_id}" if mark == "restart" else f"query {step.entry.query_id}"
    return decision_text(step.entry)


def _logged(events: Iterable[Event], points: Sequence[Point]) -> Iterable[Happening]:
    """Events have no time of their own: one without an entry comes after the newest entry that was logged before it."""
    times = {point.seq: point.time for point in points}
    time = points[0].time if points else 0.0
    for event in events:
        time = time if event.seq is None else times.get(event.seq, time)
        kind = _OUTCOMES.get(event.outcome)
        if kind is not None:
            yield Happening(kind, time, event.seq, f"batch {event.batch_id}: {event.reason}")
