"""Epochs, entries and a checkpoint with defaults, so that a test names only what it is about."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from typing import Any

from foreachonce.entry import Entry
from foreachonce.epoch import Epoch
from foreachonce.position import Position, SourceSpan


def kafka(*places: int | None) -> str | None:
    """Kafka's offset for partitions 0, 1, … of one topic; None is before the start."""
    if places == (None,):
        return None
    return json.dumps({"events": {str(partition): place for partition, place in enumerate(places)}})


def pointer(number: int) -> str:
    """A file source's offset."""
    return f'{{"logOffset":{number}}}'


def line(path: str, batch: int) -> str:
    """A line of a file source's log, as Spark writes it."""
    return f'{{"path":"file:///in/{path}","timestamp":1700000000000,"batchId":{batch}}}'


def files(start: int | None, end: int, new: list[str], before: list[str] | None = None) -> Position:
    """A file source's position: ``new`` files up to log entry ``end``, after the files ``before`` of entry ``start``."""
    return Position({
        "0": SourceSpan(
            None if start is None else pointer(start),
            pointer(end),
            files=tuple(line(path, end) for path in new),
            start_files=tuple(line(path, start or 0) for path in before or []),
        )
    })  # fmt: skip


def position(start: int | None, end: int | None) -> Position:
    """A position in one Kafka partition."""
    return Position({"0": SourceSpan(kafka(start), kafka(end))})


def epoch(start: int | None = None, end: int = 1, **changed: Any) -> Epoch:
    """Batch 0 of query-1, run-1, of stream s; everything can be changed by keyword."""
    made = Epoch(
        stream="s",
        query_id="query-1",
        run_id="run-1",
        batch_id=0,
        position=position(start, end),
        offset_log=f"v1\n{{}}\n{kafka(end)}",
    )
    return replace(made, **changed)


def entry(start: int | None = None, end: int = 1, **changed: Any) -> Entry:
    """The entry of :func:`epoch`, the first of its stream."""
    made = Entry.next(None, epoch(start, end), sink="a sink", versions="foreachonce 1, pyspark 4", decision="write")
    return replace(made, **{"rows": 1, **changed})


def chain(*cuts: int, query_id: str = "query-1") -> list[Entry]:
    """One query's entries: batch n takes what lies between cut n and cut n + 1, from before the start on."""
    return [
        entry(start, end, seq=number, batch_id=number, query_id=query_id)
        for number, (start, end) in enumerate(pairwise((None, *cuts)))
    ]


def of_files(number: int, **changed: Any) -> Entry:
    """Batch ``number`` of a query that reads a file a batch."""
    before = None if number == 0 else number - 1
    span = files(before, number, [f"{number}.json"], [] if before is None else [f"{before}.json"])
    return entry(
        **{"position": span, "seq": number, "batch_id": number, "offset_log": f"v1\n{{}}\n{pointer(number)}", **changed}
    )


class FakeFiles:
    """A checkpoint folder in a dictionary."""

    root = "/checkpoint"

    def __init__(self, texts: dict[str, str]) -> None:
        self._texts = texts

    def text(self, path: str) -> str | None:
        return self._texts.get(path)

    def exists(self, path: str) -> bool:
        return any(name == path or name.startswith(f"{path}/") for name in self._texts)
