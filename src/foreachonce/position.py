"""Where a batch starts and ends in each of its sources. Pure: no Spark, no database.

A position keeps Spark's own texts verbatim, so that a checkpoint can be written anew from the ledger. The offset of a
file source is only a pointer into the source log (``{"logOffset":N}``); two batches with the same pointers can hold
different files, so the log's lines belong to the position too.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

# What Spark writes for a source without data.
VOID = "-"
Order = Literal["equal", "behind", "ahead", "unordered"]
JsonValue = None | bool | int | float | str | list["JsonValue"] | dict[str, "JsonValue"]


@dataclass(frozen=True, slots=True)
class SourceSpan:
    """What one batch takes from one source.

    Args:
        start: the offset's JSON where the batch starts (exclusive), None at the very beginning.
        end: the offset's JSON where the batch ends (inclusive), None while the source has never had data.
        files: file sources only: the source log's lines after ``start`` up to ``end``, verbatim.
        start_files: file sources only: the lines of the log entry that ``start`` points at, verbatim.
        is_shared: another use of a source that stands before this one in the query, as in ``frame.union(frame)``. It has an
            offset of its own, and no log: the files are those of the other.
    """

    start: str | None
    end: str | None
    files: tuple[str, ...] = ()
    start_files: tuple[str, ...] = ()
    is_shared: bool = False

    def same_as(self, other: SourceSpan) -> bool:
        """Whether both take the same rows: equal offsets and, for files, the same files."""
        return (
            order(self.start, other.start) == "equal"
            and order(self.end, other.end) == "equal"
            and _canonical(self.files) == _canonical(other.files)
        )

    def follows(self, before: SourceSpan) -> Order:
        """Where this span starts, against the place where ``before`` ended."""
        place = order(self.start, before.end)
        if place == "equal" and _canonical(self.start_files) != _canonical(before.end_files):
            return "unordered"
        return place

    @property
    def end_files(self) -> tuple[str, ...]:
        """The lines of the log entry that ``end`` points at."""
        pointer = log_pointer(self.end)
        if pointer is None or pointer == log_pointer(self.start):
            return self.start_files
        return tuple(line for line in self.files if log_batch(line) == pointer)


@dataclass(frozen=True, slots=True)
class Position:
    """The spans of all sources of one batch, by Spark's source id (``"0"``, ``"1"``, … unless named)."""

    sources: Mapping[str, SourceSpan] = field(default_factory=dict)

    def same_as(self, other: Position) -> bool:
        """Whether both positions take the same rows of every source."""
        return self.sources.keys() == other.sources.keys() and all(
            span.same_as(other.sources[source]) for source, span in self.sources.items()
        )

    def follows(self, before: Position) -> Order:
        """Where this position starts, against the end of ``before``: equal is a chain without gap or overlap."""
        if self.sources.keys() != before.sources.keys():
            return "unordered"
        places = {span.follows(before.sources[source]) for source, span in self.sources.items()} - {"equal"}
        if not places:
            return "equal"
        return places.pop() if len(places) == 1 else "unordered"

    @property
    def goes_back(self) -> bool:
        """Whether it ends before it starts, in any partition: a topic was deleted and made again, and records may be lost.

        Spark goes on there where the source says ``failOnDataLoss=false``.
        """
        return any(
            each.start is not None and each.end is not None and _is_before(json.loads(each.end), json.loads(each.start))
            for each in self.sources.values()
        )

    @property
    def at_end(self) -> Position:
        """The position without rows where this one ends; it follows one that ends at the same place."""
        spans = self.sources.items()
        return Position(
            {source: SourceSpan(each.end, each.end, (), each.end_files, each.is_shared) for source, each in spans}
        )

    @property
    def shared(self) -> frozenset[str]:
        """The ids of the sources that are other uses of one before."""
        return frozenset(source for source, span in self.sources.items() if span.is_shared)

    @property
    def folders(self) -> dict[str, str]:
        """The folder below ``sources`` of each source that has one, by source id."""
        return source_folders(self.sources, self.shared)

    @property
    def records(self) -> int | None:
        """At most how many records all sources bring, as far as offsets tell it: those of Kafka do."""
        counts = [records_between(span.start, span.end) for span in self.sources.values()]
        return None if None in counts else sum(count or 0 for count in counts)

    @property
    def starts(self) -> str:
        """The start offsets, a line ``id:offset`` for each source, as in Spark's offset log v2; ``-`` for none."""
        return "\n".join([f"{source}:{span.start or VOID}" for source, span in self.sources.items()])

    @property
    def ends(self) -> str:
        """The end offsets, in the form of ``starts``."""
        return "\n".join([f"{source}:{span.end or VOID}" for source, span in self.sources.items()])

    @property
    def source_log(self) -> str | None:
        """The source-log lines as JSON, by source id; None where no source is made of files."""
        logs: dict[str, object] = {}
        for source, span in self.sources.items():
            if span.files or span.start_files:
                logs[source] = {"start": list(span.start_files), "files": list(span.files)}
            elif span.is_shared:
                logs[source] = {"shared": True}
        return json.dumps(logs, ensure_ascii=False) if logs else None

    @classmethod
    def restore(cls, starts: str, ends: str, source_log: str | None) -> Position:
        """Rebuild a position from the three texts that a ledger keeps."""
        first, last, logs = _parse(starts), _parse(ends), json.loads(source_log or "{}")
        return cls(
            {
                source: SourceSpan(
                    first.get(source),
                    end,
                    files=tuple(logs.get(source, {}).get("files", ())),
                    start_files=tuple(logs.get(source, {}).get("start", ())),
                    is_shared=bool(logs.get(source, {}).get("shared", False)),
                )
                for source, end in last.items()
            }
        )


def source_folders(sources: Collection[str], shared: Collection[str]) -> dict[str, str]:
    """The folder below ``sources`` of each source that has one, by source id: Spark numbers sources once, and uses all."""
    own = [source for source in sources if source not in shared]
    if not shared:
        return {source: source for source in own}
    return {source: str(number) for number, source in enumerate(sorted(own, key=int))}


def log_pointer(offset: str | None) -> int | None:
    """The source-log entry that a file source's offset points at; None for any other source's offset."""
    value = json.loads(offset) if offset is not None else None
    if isinstance(value, dict) and value.keys() == {"logOffset"}:
        return int(value["logOffset"])
    return None


def log_batch(line: str) -> int:
    """The log entry that a line of a file source's log was written in."""
    return int(json.loads(line)["batchId"])


def _canonical(lines: tuple[str, ...]) -> list[str]:
    return sorted(json.dumps(json.loads(line), sort_keys=True) for line in lines)


def _parse(lines: str) -> dict[str, str | None]:
    offsets: dict[str, str | None] = {}
    for line in lines.split("\n"):
        if line:
            source, offset = line.split(":", 1)
            offsets[source] = None if offset == VOID else offset
    return offsets


def order(offset: str | None, other: str | None) -> Order:
    """Tell where ``offset`` stands against ``other``; both are JSON texts of Spark's offset log, None before the start.

    Numbers at the same place are compared (``{"logOffset":3}``, Kafka's ``{"topic":{"0":17}}``); a Kafka partition that
    only one side has counts as ahead there. Anything else that differs cannot be ordered.
    """
    if offset is None or other is None:
        return "equal" if offset is other else ("behind" if offset is None else "ahead")
    left, right = json.loads(offset), json.loads(other)
    if left == right:
        return "equal"
    steps = set(_steps(left, right)) - {"equal"}
    return steps.pop() if len(steps) == 1 else "unordered"


def records_between(start: str | None, end: str | None) -> int | None:
    """At most how many records lie between two of Kafka's offsets; None for the offsets of any other source."""
    if end is None:
        return 0
    last, first = json.loads(end), json.loads(start or "{}")
    if not isinstance(last, dict) or not isinstance(first, dict):
        return None
    total = 0
    for topic, partitions in last.items():
        if not isinstance(partitions, dict) or not all(_is_number(place) for place in partitions.values()):
            return None
        before = first.get(topic, {})
        total += sum(int(place) - int(before.get(number, 0)) for number, place in partitions.items())
    return total


def kafka_offsets(offset: str | None) -> dict[str, dict[int, int]]:
    """Kafka's offsets by topic and partition; none for another source's."""
    topics = json.loads(offset or "null")
    if not isinstance(topics, dict) or not all(map(_is_partitions, topics.values())):
        return {}
    return {topic: {int(partition): place for partition, place in places.items()} for topic, places in topics.items()}


def _is_partitions(value: JsonValue) -> bool:
    return isinstance(value, dict) and all(key.isdecimal() and _is_number(place) for key, place in value.items())


def _steps(left: JsonValue, right: JsonValue) -> Iterator[Order]:
    if isinstance(left, dict) and isinstance(right, dict):
        if left.keys() - right.keys():
            yield "ahead"
        if right.keys() - left.keys():
            yield "behind"
        for key in left.keys() & right.keys():
            yield from _steps(left[key], right[key])
    elif left == right:
        yield "equal"
    elif _is_number(left) and _is_number(right):
        yield "behind" if left < right else "ahead"  # type: ignore[operator]
    else:
        yield "unordered"


def _is_before(left: JsonValue, right: JsonValue) -> bool:
    """Whether a number is smaller than the one at the same place; places that only one side has do not count."""
    if isinstance(left, dict) and isinstance(right, dict):
        return any(_is_before(left[key], right[key]) for key in left.keys() & right.keys())
    return _is_number(left) and _is_number(right) and left < right  # type: ignore[operator]


def _is_number(value: JsonValue) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
