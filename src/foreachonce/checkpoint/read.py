"""Read a position out of Spark's checkpoint folder. Pure but for the folder's files, of which :mod:`.formats` tells."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping

from foreachonce.checkpoint.folder import CheckpointFiles
from foreachonce.checkpoint.formats import COMPACT, CommitLog, OffsetLog, by_entry, source_log_lines
from foreachonce.errors import EpochError
from foreachonce.position import Position, SourceSpan, log_pointer, source_folders

# By source id.
Offsets = Mapping[str, str | None]

# Spark compacts a file source's log every tenth entry unless spark.sql.streaming.fileSource.log.compactInterval says
# otherwise; a compact file that is further behind an entry than this is not looked for.
COMPACT_SEARCH = 100
# Spark writes a line of the log without spaces.
NUMBER = re.compile(r'"batchId":(\d+)')


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
    found: dict[int, tuple[str, ...]] = {}
    for number in wanted:
        if number not in found:
            found |= _read_entries(files, source, number, wanted)
    return found


def _read_entries(files: CheckpointFiles, source: str, number: int, wanted: range) -> dict[int, tuple[str, ...]]:
    # The compact file next to the last wanted entry holds all of them; beyond it there may be one that is newer.
    compact = (*range(wanted[-1], number - 1, -1), *range(wanted[-1] + 1, number + COMPACT_SEARCH))
    for name in (f"{number}", *(f"{each}{COMPACT}" for each in compact)):
        path = f"sources/{source}/{name}"
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


def _wanted_lines(files: CheckpointFiles, path: str, text: str, wanted: range) -> dict[int, tuple[str, ...]]:
    try:
        lines = source_log_lines(text)
        if path.endswith(COMPACT):
            # A compact file holds every entry so far: only lines that are wanted are parsed.
            lines = tuple(line for line in lines if (at := NUMBER.search(line)) is None or int(at[1]) in wanted)
        found = by_entry(lines)
    except ValueError as error:
        raise EpochError(f"{path} of the checkpoint {files.root} cannot be read: {error}.") from None
    return {number: some for number, some in found.items() if number in wanted}
