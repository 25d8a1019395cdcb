"""Epochs, entries and a checkpoint with defaults, so that a test names only what it is about."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from types import MappingProxyType
from typing import Any, TypeAlias
from urllib.parse import unquote, urlsplit

from foreachonce.entry import Decision, Entry, Epoch
from foreachonce.errors import EpochError, SinkUnavailable
from foreachonce.position import Position, SourceSpan
from foreachonce.recovery.repair import LedgerStream, Repair, repair


def mend(sinks, folder, **keywords) -> Repair:
    """Repair a checkpoint for the streams of some sinks, as their ``prepare`` does."""
    streams = [LedgerStream(sink.ledger, sink.stream, str(sink)) for sink in sinks]
    return repair(streams, folder, **keywords)


Disk: TypeAlias = "dict[str, str]"


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
    """The entry of :func:`epoch`, the first of its stream; a decision may be given as its text."""
    if isinstance(changed.get("decision"), str):
        changed["decision"] = Decision.parse(changed["decision"])
    made = Entry.next(None, epoch(start, end), sink="a sink")
    return replace(made, **{"rows": 1, "versions": "foreachonce 1, pyspark 4", **changed})


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


class Torn(str):
    """What a file holds that no longer goes with its checksum."""


class FakeFolder:
    """A checkpoint folder in a dictionary, whose keys are paths with the root; :mod:`tests.folders` tests it too."""

    def __init__(self, texts: Mapping[str, str] = MappingProxyType({}), root: str = "/checkpoint", disk: Disk | None = None):
        self.root = root.rstrip("/")
        self.disk: Disk = {} if disk is None else disk
        for path, text in texts.items():
            self.write(path, text)

    def text(self, path: str) -> str | None:
        found = self.disk.get(self._place(path))
        if isinstance(found, Torn):
            raise EpochError(f"{path} of the checkpoint {self.root} is damaged.")
        return found

    def exists(self, path: str) -> bool:
        return self._place(path) in self.disk or any(self.walk(path))

    def has(self, address: str) -> bool:
        return unquote(urlsplit(address).path) in self.disk

    def names(self, path: str) -> list[str]:
        start = f"{path}/" if path else ""
        return sorted({each.removeprefix(start).split("/")[0] for each in self.walk(path)})

    def walk(self, path: str) -> Iterator[str]:
        inside = f"{self._place(path)}/"
        yield from sorted(place.removeprefix(f"{self.root}/") for place in self.disk if place.startswith(inside))

    def write(self, path: str, text: str) -> None:
        self.disk[self._place(path)] = text

    def beside(self, ending: str) -> FakeFolder:
        return FakeFolder(root=self.root + ending, disk=self.disk)

    def copy(self, path: str, root: str) -> None:
        if not self.exists(path):
            raise EpochError(f"there is no {path}.")
        for each in [path] if self._place(path) in self.disk else list(self.walk(path)):
            text = self.text(each)
            assert text is not None
            self.disk[f"{root.rstrip('/')}/{each}"] = text

    def remove(self, path: str) -> None:
        self.disk.pop(self._place(path), None)

    def move(self, root: str) -> None:
        target = FakeFolder(root=root, disk=self.disk)
        if target.exists("") or not self.exists(""):
            raise SinkUnavailable(f"{self.root} stays: at {root} something is there, or there is nothing to move.")
        for path in list(self.walk("")):
            self.disk[target._place(path)] = self.disk.pop(self._place(path))

    def discard(self) -> None:
        for path in list(self.walk("")):
            self.remove(path)

    def tear(self, path: str, size: int) -> None:
        """Cut a file short behind the folder's back."""
        self.disk[self._place(path)] = Torn(self.disk[self._place(path)][:size])

    def _place(self, path: str) -> str:
        return f"{self.root}/{path}" if path else self.root
