"""Spark, as far as a checkpoint knows it: what a query writes there, and what it makes of it when it starts again.

``tests/contract/test_checkpoint_formats.py`` compares it with Spark. Source: MicroBatchExecution.populateStartOffsets,
FileStreamSource.scala and CompactibleFileStreamLog.scala of Apache Spark 4.2.
"""

from __future__ import annotations

import json
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field

from foreachonce.checkpoint import CheckpointFolder, read_position
from foreachonce.entry import Entry
from foreachonce.errors import EpochError
from foreachonce.position import log_batch, log_pointer
from tests.unit.builders import entry, kafka, line, pointer

META = '{"batchWatermarkMs":%d,"batchTimestampMs":1700000000000,"conf":{"spark.sql.shuffle.partitions":"2"}}'
DEFAULT_INTERVAL = 10


class CannotStart(Exception):
    """Spark would end the query with an error."""


@dataclass
class Query:
    """A query that writes its checkpoint, and the ledger's entries beside.

    Args:
        folder: the checkpoint.
        sources: "files" or "kafka" for each.
        named: names of the sources, which makes Spark write version 2 of the offset log.
        interval: of compaction.
        retain: how many batches' files Spark keeps; older ones it deletes.
        uses: sources that are another use of one before, with that one.
    """

    folder: CheckpointFolder
    sources: tuple[str, ...] = ("files",)
    named: tuple[str, ...] = ()
    interval: int = DEFAULT_INTERVAL
    retain: int = 100
    uses: Mapping[str, str] = field(default_factory=dict)
    query_id: str = "query-1"
    is_stateful: bool = False
    chain: list[Entry] = field(default_factory=list)
    logs: dict[str, list[list[str]]] = field(default_factory=dict)
    places: dict[str, int] = field(default_factory=dict)
    planned: int = -1

    def __post_init__(self) -> None:
        self.folder.write("metadata", json.dumps({"id": self.query_id}, separators=(",", ":")))

    @property
    def ids(self) -> tuple[str, ...]:
        return self.named or tuple(map(str, range(len(self.sources))))

    def run(self, *batches: Mapping[str, int] | int) -> Query:
        """Plan, enter and commit batches: how many files or records each source brings; a number is for all sources."""
        for batch in batches:
            self.plan(batch)
            self.enter()
            self.commit()
        return self

    def plan(self, batch: Mapping[str, int] | int) -> None:
        """Write ``offsets/N``, and what the sources write before."""
        new = dict.fromkeys(self.ids, batch) if isinstance(batch, int) else batch
        self.planned += 1
        offsets = {
            source: self._offset(source, kind, 0 if source in self.uses else new.get(source, 0))
            for source, kind in zip(self.ids, self.sources, strict=True)
        }
        ends = [f"{source}:{offset}" if self.named else offset for source, offset in offsets.items()]
        text = "\n".join(["v2" if self.named else "v1", META % (1000 * self.planned), *ends])
        self.folder.write(f"offsets/{self.planned}", text)
        self.folder.remove(f"offsets/{self.planned - self.retain}")

    def enter(self) -> None:
        """Append the planned batch to the ledger, as a sink does."""
        position, text = read_position(self.folder, self.planned, self.uses)
        seq = len(self.chain)
        made = {"seq": seq, "batch_id": self.planned, "query_id": self.query_id, "is_stateful": self.is_stateful}
        self.chain.append(entry(position=position, offset_log=text, **made))
        if self.is_stateful:
            for partition in range(2):
                self.folder.write(f"state/0/{partition}/{self.planned + 1}.delta", f"{position.ends}")

    def commit(self) -> None:
        """Write ``commits/N``."""
        self.folder.write(f"commits/{self.planned}", f'v1\n{{"nextBatchWatermarkMs":{1000 * self.planned + 1000}}}')
        self.folder.remove(f"commits/{self.planned - self.retain}")

    def _offset(self, source: str, kind: str, new: int) -> str:
        source = self.uses.get(source, source)
        folder = f"sources/{folders(self.ids, self.uses)[source]}"
        if kind == "kafka":
            if source not in self.places:
                self.folder.write(f"{folder}/0", '\0v1\n{"events":{"0":0}}')
            self.places[source] = self.places.get(source, 0) + new
            return kafka(self.places[source]) or "-"
        log = self.logs.setdefault(source, [])
        if new:
            number, before = len(log), sum(map(len, log))
            # The source's files have an order, and a file that no entry names is the next.
            lines = [line(f"{source}/{before + file}", number) for file in range(new)]
            log.append(lines)
            is_compact = (number + 1) % self.interval == 0
            written = [each for lines in log for each in lines] if is_compact else lines
            self.folder.write(f"{folder}/{number}{'.compact' * is_compact}", "\n".join(["v1", *written]))
        return pointer(len(log) - 1) if log else "-"


def folders(ids: Iterable[str], uses: Container[str]) -> dict[str, str]:
    """The folder of each source: Spark numbers them where they have no names, once each."""
    own = [source for source in ids if source not in uses]
    return {source: str(number) if source.isdigit() else source for number, source in enumerate(own)}


@dataclass(frozen=True)
class Restart:
    """What Spark does first.

    Args:
        query_id, batch_id: of the batch that it runs.
        starts: where the batch starts, by source.
        ends: where it ends; None where Spark is still to plan it, from what the sources have beyond ``starts``.
        files: of a planned batch, the lines of the files that it reads, by source.
        seen: the lines of all files that are not new for Spark, by source.
    """

    query_id: str
    batch_id: int
    starts: Mapping[str, str | None]
    ends: Mapping[str, str | None] | None
    files: Mapping[str, list[str]]
    seen: Mapping[str, list[str]]


def restart(folder: CheckpointFolder, interval: int = DEFAULT_INTERVAL, uses: Container[str] = ()) -> Restart:
    """Start on a checkpoint that holds at least one batch; ``uses``: the sources that are other uses of one before.

    Raises:
        CannotStart: Spark would not.
    """
    try:
        return _restart(folder, interval, uses)
    except (ValueError, KeyError, IndexError, EpochError) as error:
        raise CannotStart(repr(error)) from error


def _restart(folder: CheckpointFolder, interval: int, uses: Container[str]) -> Restart:
    query_id = str(json.loads(_text(folder, "metadata"))["id"])
    numbers = [int(name) for name in folder.names("offsets") if name.isdigit()]
    commits = [int(name) for name in folder.names("commits") if name.isdigit()]
    latest, committed = max(numbers), max(commits, default=-1)
    ends = _offsets(folder, latest)
    starts = _offsets(folder, latest - 1) if latest else dict.fromkeys(ends)
    if starts.keys() != ends.keys():
        raise CannotStart("another number of sources")
    if committed >= 0:
        version, metadata, *_ = [*_text(folder, f"commits/{committed}").split("\n"), "{}"]
        if version not in ("v1", "v2", "v3") or not isinstance(json.loads(metadata), dict):
            raise CannotStart("commit")
    logs = {source: name for source, name in folders(ends, uses).items() if log_pointer(ends[source]) is not None}
    seen = {source: all_files(folder, name, interval) for source, name in logs.items()}
    if committed == latest:
        return Restart(query_id, latest + 1, ends, None, {}, seen)
    files = {source: _between(seen[source], starts[source], ends[source]) for source in seen}
    return Restart(query_id, latest, starts, ends, files, seen)


def _between(lines: list[str], start: str | None, end: str | None) -> list[str]:
    first, last = log_pointer(start), log_pointer(end)
    assert last is not None
    wanted = range(0 if first is None else first + 1, last + 1)
    if set(wanted) - {log_batch(each) for each in lines}:
        raise CannotStart("batches don't exist")
    return [each for each in lines if log_batch(each) in wanted]


def all_files(folder: CheckpointFolder, source: str, interval: int = DEFAULT_INTERVAL) -> list[str]:
    """The lines of a file source's log, as Spark reads it with this setting when it starts."""
    names = folder.names(f"sources/{source}")
    numbers = [int(name.removesuffix(".compact")) for name in names if name.removesuffix(".compact").isdigit()]
    if not numbers:
        return []
    compacts = sorted(int(name.removesuffix(".compact")) for name in names if name.endswith(".compact"))
    used = compact_interval(compacts, interval)
    latest = max(numbers)
    lines: list[str] = []
    for number in range(max(0, (latest + 1) // used * used - 1), latest + 1):
        is_compact = (number + 1) % used == 0
        version, *found = _text(folder, f"sources/{source}/{number}{'.compact' * is_compact}").split("\n")
        if version != "v1":
            raise CannotStart(f"version {version}")
        lines += found
    for each in lines:
        log_batch(each)
    return lines


def compact_interval(compacts: list[int], setting: int) -> int:
    """The interval that Spark takes from the compact files that it finds, and from its setting."""
    if len(compacts) >= 2:
        return compacts[-1] - compacts[-2]
    if not compacts or compacts[0] + 1 <= setting:
        return compacts[0] + 1 if compacts else setting
    size = compacts[0] + 1
    if setting < size // 2:
        return next((each for each in range(setting, size // 2 + 1) if size % each == 0), size)
    return size


def _text(folder: CheckpointFolder, path: str) -> str:
    text = folder.text(path)
    if text is None:
        raise CannotStart(f"no {path}")
    return text


def _offsets(folder: CheckpointFolder, batch_id: int) -> dict[str, str | None]:
    version, metadata, *lines = _text(folder, f"offsets/{batch_id}").split("\n")
    json.loads(metadata)
    if version == "v2":
        pairs = [(each.split(":", 1)[0], each.split(":", 1)[1]) for each in lines]
    elif version == "v1":
        pairs = [(str(number), each) for number, each in enumerate(lines)]
    else:
        raise CannotStart(f"version {version}")
    for _, offset in pairs:
        json.loads("null" if offset == "-" else offset)
    return {source: None if offset == "-" else offset for source, offset in pairs}
