"""What the source no longer holds of the rows that the sink still lacks. Pure but for the folder's files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from foreachonce.checkpoint import Folder
from foreachonce.position import log_batch, log_pointer
from foreachonce.recovery.goal import Goal

# By topic and partition, the first offset that Kafka still holds.
Earliest = Mapping[str, Mapping[int, int]]


@dataclass(frozen=True, slots=True)
class Lost:
    """A part of a source that is gone before it was read.

    Args:
        source: Spark's id of the source.
        what: a file's address, or a topic and partition.
        first, last: of Kafka, the offsets of the first and the last record; None of a file.
    """

    source: str
    what: str
    first: int | None = None
    last: int | None = None

    def __str__(self) -> str:
        if self.first is None or self.last is None:
            return f"source {self.source}: the file {self.what}"
        return (
            f"source {self.source}: {self.what}, offsets {self.first} to {self.last} ({self.last - self.first + 1} records)"
        )


def lost_records(goal: Goal, earliest: Earliest) -> Iterator[Lost]:
    """The records between where the sink ends and what Kafka still holds."""
    if goal.last is None:
        return
    for source, span in goal.last.position.sources.items():
        for topic, partitions in _kafka_offsets(span.end).items():
            for partition, following in sorted(partitions.items(), key=lambda item: int(item[0])):
                first = earliest.get(topic, {}).get(int(partition), following)
                if first > following:
                    yield Lost(source, f"topic {topic}, partition {partition}", following, first - 1)


def lost_files(goal: Goal, folder: Folder) -> Iterator[Lost]:
    """The files that Spark had found for batches after the sink's last, and that are deleted now."""
    for source, after in _file_sources(goal).items():
        for name in folder.names(f"sources/{source}"):
            number = name.removesuffix(".compact")
            if number.isdigit() and int(number) > after:
                yield from _gone(folder, source, name, after)


def _gone(folder: Folder, source: str, name: str, after: int) -> Iterator[Lost]:
    _, *lines = (folder.text(f"sources/{source}/{name}") or "").removesuffix("\n").split("\n")
    for line in lines:
        path = str(json.loads(line)["path"])
        if log_batch(line) > after and not folder.has(path):
            yield Lost(source, path)


def _file_sources(goal: Goal) -> dict[str, int]:
    """Each file source, with the newest log entry that the sink has."""
    settled = goal.last or goal.begun
    spans = {} if settled is None else settled.position.sources
    pointers = {source: log_pointer(span.end if goal.last is not None else span.start) for source, span in spans.items()}
    return {source: -1 if pointer is None else pointer for source, pointer in pointers.items()
            if log_pointer(spans[source].end) is not None}  # fmt: skip


def _kafka_offsets(offset: str | None) -> dict[str, dict[str, int]]:
    """Kafka's offsets by topic and partition; none for another source's."""
    found = json.loads(offset or "null")
    if not isinstance(found, dict) or not all(isinstance(partitions, dict) for partitions in found.values()):
        return {}
    return {
        topic: {partition: int(place) for partition, place in partitions.items() if partition.isdigit()}
        for topic, partitions in found.items()
    }
