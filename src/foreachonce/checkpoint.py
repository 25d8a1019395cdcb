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
    try:
        return str(json.loads(text)["id"])
    except (ValueError, KeyError, TypeError) as error:
        raise EpochError(f"metadata of the checkpoint {files.root} cannot be read: {error!r}.") from None


def is_stateful(files: Files) -> bool:
    """Whether the query keeps state: Spark writes its operators' metadata into ``state`` before a batch runs."""
    return files.exists("state")


def parse_offset_log(text: str) -> dict[str, str | None]:
    """The offsets of one ``offsets/N`` by source id; None for a source without data yet.

    Raises:
        ValueError: the text is torn, or of a version that this library does not know.
    """
    version, *rest = text.removesuffix("\n").split("\n")
    if version not in ("v1", "v2"):
        raise ValueError(f"version {version[:20]!r}, known are v1 and v2")
    if len(rest) < 2:
        raise ValueError("it ends before the first offset")
    if version == "v1":
        pairs = [(str(index), line) for index, line in enumerate(rest[1:])]
    else:
        pairs = [(source, offset) for source, _, offset in (line.partition(":") for line in rest[1:])]
    for _, offset in pairs:
        json.loads("null" if offset == VOID else offset)
    return {source: None if offset == VOID else offset for source, offset in sorted(pairs)}


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
    own = f"sources/{source}/{batch}"
    names = (own, *(f"sources/{source}/{later}.compact" for later in range(batch, batch + COMPACT_SEARCH)))
    for name in names:
        text = files.text(name)
        if text is not None:
            lines = _log_lines(files, name, text, batch)
            if lines:
                return lines
            break
    raise EpochError(
        f"the checkpoint {files.root} holds neither {own} nor a compact file with that entry, so nothing tells "
        "which files the batch reads."
    )


def _log_lines(files: Files, name: str, text: str, batch: int) -> tuple[str, ...]:
    version, *lines = text.removesuffix("\n").split("\n")
    # A compact file holds every entry so far: only lines that may be this one's are parsed.
    marked = [line for line in lines if f'"batchId":{batch}' in line] if name.endswith(".compact") else lines
    try:
        if version != "v1":
            raise ValueError(f"version {version[:20]!r}, known is v1")
        return tuple(line for line in marked if log_batch(line) == batch)
    except (ValueError, KeyError, TypeError) as error:
        raise EpochError(f"{name} of the checkpoint {files.root} cannot be read: {error!r}.") from None
