"""Read a position out of Spark's checkpoint folder. Pure but for :class:`Files`, which reads a text.

The formats are those of Spark's ``HDFSMetadataLog``: ``offsets/N`` holds a version line, a line of metadata and then a
line for each source (v1: the offset, in the query's order; v2: ``id:offset``); ``sources/I/N`` holds the files that a
file source found in its log entry N, and every tenth is ``N.compact`` with all entries so far.
Source: OffsetSeqLog.scala and CompactibleFileStreamLog.scala of Apache Spark.
"""

from __future__ import annotations

import json
from typing import Protocol

from foreachonce.errors import EpochError
from foreachonce.position import VOID, Position, SourceSpan, log_batch, log_pointer

# Spark compacts a file source's log every tenth entry unless spark.sql.streaming.fileSource.log.compactInterval says
# otherwise; a compact file that is further away than this is not looked for.
COMPACT_SEARCH = 100


class Files(Protocol):
    """A checkpoint folder, on whatever file system Spark reads."""

    root: str

    def text(self, path: str) -> str | None:
        """The text of the file at ``path`` below the root; None where there is no such file."""

    def exists(self, path: str) -> bool:
        """Whether there is a file or folder at ``path`` below the root."""


def query_id(files: Files) -> str:
    """The query id that the checkpoint's ``metadata`` holds."""
    text = files.text("metadata")
    if text is None:
        raise EpochError(
            f"no query has started on the checkpoint {files.root}: it holds no metadata file. "
            "Give checkpoint= the path of the query's own checkpointLocation."
        )
    return str(json.loads(text.strip().splitlines()[-1])["id"])


def is_stateful(files: Files) -> bool:
    """Whether the query keeps state: Spark writes its operators' metadata into ``state`` before a batch runs."""
    return files.exists("state")


def parse_offset_log(text: str) -> dict[str, str | None]:
    """The offsets of one ``offsets/N`` by source id; None for a source without data yet.

    Raises:
        ValueError: the text is torn, or of a version that this library does not know.
    """
    version, *rest = text.split("\n")
    lines = [line for line in rest[1:] if line]
    if version == "v1":
        pairs = [(str(index), line) for index, line in enumerate(lines)]
    elif version == "v2":
        pairs = [(source, offset) for source, _, offset in (line.partition(":") for line in lines)]
    else:
        raise ValueError(f"version {version[:20]!r}, known are v1 and v2")
    offsets = {source: None if offset == VOID else offset for source, offset in sorted(pairs)}
    for offset in offsets.values():
        json.loads(offset or "null")
    return offsets


def read_position(files: Files, batch_id: int) -> tuple[Position, str]:
    """The position of batch ``batch_id``, and the text of its ``offsets/N``."""
    text, ends = _offsets(files, batch_id)
    starts: dict[str, str | None] = _offsets(files, batch_id - 1)[1] if batch_id > 0 else {}
    spans = {source: _span(files, source, starts.get(source), end) for source, end in ends.items()}
    return Position(spans), text


def _offsets(files: Files, batch_id: int) -> tuple[str, dict[str, str | None]]:
    text = files.text(f"offsets/{batch_id}")
    if text is None:
        raise EpochError(f"the checkpoint {files.root} holds no offsets/{batch_id}, so the batch has no position.")
    try:
        return text, parse_offset_log(text)
    except ValueError as error:
        raise EpochError(f"offsets/{batch_id} of the checkpoint {files.root} cannot be read: {error}.") from error


def _span(files: Files, source: str, start: str | None, end: str | None) -> SourceSpan:
    last = log_pointer(end)
    if last is None:
        return SourceSpan(start, end)
    first = log_pointer(start)
    new = [_log_entry(files, source, batch) for batch in range(0 if first is None else first + 1, last + 1)]
    before = () if first is None else _log_entry(files, source, first)
    return SourceSpan(start, end, files=tuple(line for lines in new for line in lines), start_files=before)


def _log_entry(files: Files, source: str, batch: int) -> tuple[str, ...]:
    """The lines of one entry of a source log, from its own file or from the first compact file that holds it."""
    text = files.text(f"sources/{source}/{batch}")
    if text is not None:
        return tuple(text.splitlines()[1:])
    for later in range(batch, batch + COMPACT_SEARCH):
        text = files.text(f"sources/{source}/{later}.compact")
        if text is not None:
            marker = f'"batchId":{batch}'
            return tuple(line for line in text.splitlines()[1:] if marker in line and log_batch(line) == batch)
    raise EpochError(
        f"the checkpoint {files.root} holds neither sources/{source}/{batch} nor a compact file with that entry, so "
        "nothing tells which files the batch reads."
    )
