"""The files of a checkpoint: their texts, read and written, and a batch's position read out of them.

Pure but for the folder's files.

- ``metadata``: ``{"id":"<query id>"}``.
- ``offsets/N``: a version, a line of metadata, then a line for each source. v1: the offset, in the query's order; v2 (Spark
  4.1 on): ``id:offset``. ``-`` stands for a source without data yet.
- ``commits/N``: a version and a line of metadata: the next batch's watermark and, from v2 on, the ids of state files.
- ``sources/I/N`` of a file source: a version, then a line of JSON for each file of its log entry N. Every tenth entry is
  ``N.compact`` instead, which holds all entries so far. I is the source's name in v2, else its place in the query.

Spark ends no file with a newline; one that somebody's editor has added is read, and not written back.

Source: OffsetSeqLog.scala, CommitLog.scala, HDFSMetadataLog.scala and CompactibleFileStreamLog.scala of Apache Spark 4.2,
and the checkpoints of Spark 2.1 to 4.2 in its tests, which ``tests/contract/test_checkpoint_formats.py`` reads.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from foreachonce.checkpoint.local import CheckpointFiles
from foreachonce.errors import EpochError
from foreachonce.position import VOID, Position, SourceSpan, log_batch, log_pointer, source_folders

OFFSET_VERSIONS = ("v1", "v2")
COMMIT_VERSIONS = ("v1", "v2", "v3")
LOG_VERSION = "v1"
COMPACT = ".compact"
COMPACT_INTERVAL_SETTING = "spark.sql.streaming.fileSource.log.compactInterval"
# What it is unless set.
COMPACT_INTERVAL = 10
# By source id.
Offsets = Mapping[str, str | None]

# Spark compacts a file source's log every tenth entry unless spark.sql.streaming.fileSource.log.compactInterval says
# otherwise; a compact file that is further behind an entry than this is not looked for.
COMPACT_SEARCH = 100
# Spark writes a line of the log without spaces.
NUMBER = re.compile(r'"batchId":(\d+)')
# The lines of a file source's log, by the number of the log entry.
Log = Mapping[int, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class OffsetLog:
    """One ``offsets/N``.

    Args:
        version: ``"v1"`` or ``"v2"``.
        metadata: the JSON of Spark's ``OffsetSeqMetadata``, verbatim; empty from before Spark 2.1.
        offsets: each source's offset as JSON, by source id (its place, or its name in v2), in the file's order; None before
            its first data.
    """

    version: str
    metadata: str
    offsets: Mapping[str, str | None]

    @classmethod
    def parse(cls, text: str) -> OffsetLog:
        """Read a file's text.

        Raises:
            ValueError: it is torn, or of a version that this library does not know.
        """
        version, *rest = text.removesuffix("\n").split("\n")
        if version not in OFFSET_VERSIONS:
            raise ValueError(f"version {version[:20]!r}, known are v1 and v2")
        if len(rest) < 2:
            raise ValueError("it ends before the first offset")
        metadata, *lines = rest
        if metadata or version == "v2":
            _check_object(metadata)
        pairs = enumerate(lines) if version == "v1" else (line.split(":", 1) for line in map(_with_colon, lines))
        offsets = {str(source): None if offset == VOID else offset for source, offset in pairs}
        for offset in offsets.values():
            json.loads("null" if offset is None else offset)
        return cls(version, metadata, offsets)

    def text(self) -> str:
        """The file's text, as Spark writes it."""
        if self.version == "v1":
            lines = [_or_void(self.offsets[source]) for source in sorted(self.offsets, key=int)]
        else:
            lines = [f"{source}:{_or_void(offset)}" for source, offset in self.offsets.items()]
        return "\n".join([self.version, self.metadata, *lines])

    @property
    def watermark(self) -> int:
        """The batch's watermark in milliseconds since 1970; 0 where there is none."""
        return int(json.loads(self.metadata or "{}").get("batchWatermarkMs", 0))


@dataclass(frozen=True, slots=True)
class CommitLog:
    """One ``commits/N``.

    Args:
        version: ``"v1"``, ``"v2"`` or ``"v3"``.
        metadata: the JSON of Spark's ``CommitMetadata``, verbatim.
    """

    version: str
    metadata: str

    @classmethod
    def parse(cls, text: str) -> CommitLog:
        """Read a file's text.

        Raises:
            ValueError: it is torn, or of a version that this library does not know.
        """
        version, _, metadata = text.removesuffix("\n").partition("\n")
        if version.strip() not in COMMIT_VERSIONS:
            raise ValueError(f"version {version[:20]!r}, known are {', '.join(COMMIT_VERSIONS)}")
        if metadata:
            _check_object(metadata)
        return cls(version.strip(), metadata)

    @classmethod
    def after(cls, watermark: int) -> CommitLog:
        """The file of a batch without state, which every Spark reads."""
        return cls("v1", json.dumps({"nextBatchWatermarkMs": watermark}, separators=(",", ":")))

    def text(self) -> str:
        """The file's text, as Spark writes it."""
        return f"{self.version}\n{self.metadata}"


def metadata_text(query_id: str) -> str:
    """The text of ``metadata``."""
    return json.dumps({"id": query_id}, separators=(",", ":"))


def source_log_lines(text: str) -> tuple[str, ...]:
    """The lines of one file of a file source's log.

    Raises:
        ValueError: it is of a version that this library does not know, or holds no file.
    """
    version, *lines = text.removesuffix("\n").split("\n")
    if version != LOG_VERSION:
        raise ValueError(f"version {version[:20]!r}, known is {LOG_VERSION}")
    if not lines:
        raise ValueError("it names no file")
    return tuple(lines)


def by_entry(lines: Iterable[str]) -> dict[int, tuple[str, ...]]:
    """Lines of a file source's log, by the number of the log entry.

    Raises:
        ValueError: a line is torn.
    """
    entries: dict[int, list[str]] = {}
    for line in lines:
        try:
            entries.setdefault(log_batch(line), []).append(line)
        except (KeyError, TypeError) as error:
            raise ValueError(f"the line {line[:40]!r} is none of a file source: {error!r}") from None
    return {number: tuple(some) for number, some in entries.items()}


def log_number(name: str) -> int | None:
    """The number of the log entry that a file of this name holds, alone or with all before it; None for other names."""
    number = name.removesuffix(COMPACT)
    return int(number) if number.isascii() and number.isdigit() else None


def source_log_names(names: Iterable[str], interval: int = COMPACT_INTERVAL) -> list[str]:
    """The names of the files that Spark reads of a source's log when it starts; each of them must be there.

    Args:
        names: of all files that are there.
        interval: ``spark.sql.streaming.fileSource.log.compactInterval`` of the session.
    """
    numbers = {name: number for name in names if (number := log_number(name)) is not None}
    if not numbers:
        return []
    last = max(numbers.values())
    used = _interval(sorted(number for name, number in numbers.items() if name.endswith(COMPACT)), interval)
    first = max(0, (last + 1) // used * used - 1)
    return [f"{number}{COMPACT}" if (number + 1) % used == 0 else f"{number}" for number in range(first, last + 1)]


def _interval(compacts: Sequence[int], setting: int) -> int:
    """The interval of compaction that Spark takes: from the newest two compact files, else one that the only one allows."""
    if len(compacts) > 1:
        return compacts[-1] - compacts[-2]
    if not compacts:
        return setting
    size = compacts[0] + 1
    parts = range(setting, size // 2 + 1) if setting < size // 2 else ()
    return next((each for each in parts if size % each == 0), size)


def source_log_files(log: Log, interval: int = COMPACT_INTERVAL) -> dict[str, str]:
    """A file source's log anew: the texts of its files, by name.

    Spark looks for ``N.compact`` wherever N + 1 is a multiple of its interval. It takes that from the distance of the newest
    two such files, else from its setting, so that the log of fewer than two intervals goes with the setting only.

    Args:
        log: the lines of each log entry, from 0 on without a gap.
        interval: ``spark.sql.streaming.fileSource.log.compactInterval`` of the session that will read it.
    """
    last = len(log) // interval * interval - 1
    texts = {str(number): _source_log_text(log[number]) for number in range(last + 1, len(log))}
    for compact in (last - interval, last):
        if compact >= 0:
            lines = [line for number in range(compact + 1) for line in log[number]]
            texts[f"{compact}{COMPACT}"] = _source_log_text(lines)
    return texts


def _source_log_text(lines: Iterable[str]) -> str:
    return "\n".join([LOG_VERSION, *lines])


def _check_object(metadata: str) -> None:
    if not isinstance(json.loads(metadata), dict):
        raise ValueError(f"its metadata is {metadata[:40]!r}, not an object")


def _or_void(offset: str | None) -> str:
    return VOID if offset is None else offset


def _with_colon(line: str) -> str:
    if ":" not in line:
        raise ValueError(f"{line[:40]!r} names no source")
    return line


def query_id(files: CheckpointFiles) -> str:
    """The query id that the checkpoint's ``metadata`` holds."""
    text = files.text("metadata")
    if text is None:
        raise EpochError(
            f"no query has started on the checkpoint {files.root}: it holds no metadata file. "
            "Give checkpoint= the path of the query's own checkpointLocation."
        )
    try:
        return str(json.loads(text)["id"])
    except (ValueError, KeyError, TypeError) as error:
        raise EpochError(f"metadata of the checkpoint {files.root} cannot be read: {error!r}.") from None


def is_stateful(files: CheckpointFiles) -> bool:
    """Whether the query keeps state: Spark writes its operators' metadata into ``state`` before a batch runs."""
    return files.exists("state")


def read_position(files: CheckpointFiles, batch_id: int, shared: Collection[str] = ()) -> tuple[Position, str]:
    """The position of batch ``batch_id``, and the text of its ``offsets/N``.

    Args:
        files: the checkpoint.
        batch_id: the batch.
        shared: the ids of sources that are other uses of one before; the checkpoint does not tell.
    """
    text, ends = _offsets(files, batch_id)
    starts: Offsets = _offsets(files, batch_id - 1)[1] if batch_id > 0 else {}
    return _position(files, starts, ends, shared), text


def read_end(files: CheckpointFiles, batch_id: int, shared: Collection[str] = ()) -> Position:
    """Where batch ``batch_id`` ends, as a position without rows; neither older offsets nor older log entries are needed."""
    ends = _offsets(files, batch_id)[1]
    return _position(files, ends, ends, shared)


def read_commit(files: CheckpointFiles, batch_id: int) -> str:
    """The text of ``commits/N``.

    Raises:
        EpochError: it is not there, or torn.
    """
    text = files.text(f"commits/{batch_id}") or ""
    try:
        CommitLog.parse(text)
    except ValueError as error:
        raise EpochError(f"commits/{batch_id} of the checkpoint {files.root} cannot be read: {error}") from None
    return text


def _position(files: CheckpointFiles, starts: Offsets, ends: Offsets, shared: Collection[str]) -> Position:
    folders = source_folders(ends, {source for source in shared if source in ends})
    return Position({source: _span(files, folders.get(source), starts.get(source), end) for source, end in ends.items()})


def _offsets(files: CheckpointFiles, batch_id: int) -> tuple[str, Offsets]:
    text = files.text(f"offsets/{batch_id}")
    if text is None:
        raise EpochError(f"the checkpoint {files.root} holds no offsets/{batch_id}, so the batch has no position.")
    try:
        return text, OffsetLog.parse(text).offsets
    except ValueError as error:
        raise EpochError(f"offsets/{batch_id} of the checkpoint {files.root} cannot be read: {error}.") from error


def _span(files: CheckpointFiles, source: str | None, start: str | None, end: str | None) -> SourceSpan:
    """What a batch takes from the source with this folder; None where that is another's."""
    if source is None:
        return SourceSpan(start, end, is_shared=True)
    last = log_pointer(end)
    if last is None:
        return SourceSpan(start, end)
    first = -1 if start is None else _pointer(files, source, start)
    entries = _log_entries(files, source, range(max(first, 0), max(first, last) + 1))
    new = tuple(line for number in range(first + 1, last + 1) for line in entries[number])
    return SourceSpan(start, end, files=new, start_files=() if first < 0 else entries[first])


def _pointer(files: CheckpointFiles, source: str, start: str) -> int:
    pointer = log_pointer(start)
    if pointer is None:
        raise EpochError(
            f"source {source} of the checkpoint {files.root} is made of files, and the batch starts at {start[:100]}: since "
            'version 2.1 Spark writes {"logOffset":N}.'
        )
    return pointer


def _log_entries(files: CheckpointFiles, source: str, wanted: range) -> dict[int, tuple[str, ...]]:
    """The lines of the wanted entries of a source log, each from its own file or from a compact one that holds it."""
    entries: dict[int, tuple[str, ...]] = {}
    for number in wanted:
        if number not in entries:
            entries |= _read_entries(files, source, number, wanted)
    return entries


def _read_entries(files: CheckpointFiles, source: str, number: int, wanted: range) -> dict[int, tuple[str, ...]]:
    for path in _log_files(source, number, wanted):
        text = files.text(path)
        if text is not None:
            lines = _wanted_lines(files, path, text, wanted)
            if number in lines:
                return lines
            break
    raise EpochError(
        f"the checkpoint {files.root} holds neither sources/{source}/{number} nor a compact file with that entry, so "
        "nothing tells which files the batch reads."
    )


def _log_files(source: str, number: int, wanted: range) -> Iterator[str]:
    """The files that may hold a log entry: its own, then compact ones."""
    yield f"sources/{source}/{number}"
    # The compact file next to the last wanted entry holds all of them; beyond it there may be one that is newer.
    for each in (*range(wanted[-1], number - 1, -1), *range(wanted[-1] + 1, number + COMPACT_SEARCH)):
        yield f"sources/{source}/{each}{COMPACT}"


def _wanted_lines(files: CheckpointFiles, path: str, text: str, wanted: range) -> dict[int, tuple[str, ...]]:
    try:
        lines = source_log_lines(text)
        if path.endswith(COMPACT):
            # A compact file holds every entry so far: only lines that are wanted are parsed.
            lines = tuple(line for line in lines if (at := NUMBER.search(line)) is None or int(at[1]) in wanted)
        entries = by_entry(lines)
    except ValueError as error:
        raise EpochError(f"{path} of the checkpoint {files.root} cannot be read: {error}.") from None
    return {number: some for number, some in entries.items() if number in wanted}
