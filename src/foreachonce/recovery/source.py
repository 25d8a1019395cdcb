"""What the source no longer holds of the rows that the sink still lacks. Pure but for the folder's files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from foreachonce.checkpoint import CheckpointFolder, log_number
from foreachonce.position import kafka_offsets, log_pointer
from foreachonce.recovery.goal import Goal
from foreachonce.recovery.past import log_entries

# By topic and partition, the first offset that Kafka still holds.
Earliest = Mapping[str, Mapping[int, int]]


@dataclass(frozen=True, slots=True)
class MissingInput:
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


def missing_records(goal: Goal, earliest: Earliest) -> Iterator[MissingInput]:
    """The records between where the sink ends and what Kafka still holds."""
    if goal.last is None:
        return
    for source in goal.last.position.folders:
        for topic, partitions in kafka_offsets(goal.last.position.sources[source].end).items():
            for partition, following in sorted(partitions.items()):
                first = earliest.get(topic, {}).get(partition, following)
                if first > following:
                    yield MissingInput(source, f"topic {topic}, partition {partition}", following, first - 1)


def missing_files(goal: Goal, folder: CheckpointFolder) -> list[MissingInput]:
    """The files that Spark had listed for batches after the sink's last, and that are deleted now.

    Args:
        folder: the query's own checkpoint; another's numbers its source log otherwise.
    """
    inputs = dict.fromkeys(
        MissingInput(source, path)
        for source, after in _file_sources(goal).items()
        for path in _paths(folder, goal.folders[source], after)
    )
    return [each for each in inputs if not folder.has(each.what)]


def _paths(folder: CheckpointFolder, source: str, after: int) -> Iterator[str]:
    for name in folder.names(f"sources/{source}"):
        newest = log_number(name)
        if newest is not None and newest > after:
            entries = log_entries(folder, f"sources/{source}/{name}")
            yield from (str(json.loads(line)["path"]) for number in entries if number > after for line in entries[number])


def _file_sources(goal: Goal) -> dict[str, int]:
    """Each source that is made of files or has had no data, with the newest log entry that the sink has; -1 for none."""
    newest = {} if goal.newest_entry is None else goal.newest_entry.position.sources
    has = {} if goal.last is None else {source: log_pointer(span.end) for source, span in goal.last.position.sources.items()}
    newest_entries = {}
    for source in goal.folders:
        if newest[source].end is None or log_pointer(newest[source].end) is not None:
            after = has.get(source)
            newest_entries[source] = -1 if after is None else after
    return newest_entries
