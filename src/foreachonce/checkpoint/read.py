"""Read a position out of Spark's checkpoint folder. Pure but for the folder's files, of which :mod:`.formats` tells."""

from __future__ import annotations

import json

from foreachonce.checkpoint.folder import Files
from foreachonce.checkpoint.formats import OffsetLog
from foreachonce.errors import EpochError
from foreachonce.position import Position, SourceSpan, log_batch, log_pointer

# Spark compacts a file source's log every tenth entry unless spark.sql.streaming.fileSource.log.compactInterval says
# otherwise; a compact file that is further away than this is not looked for.
COMPACT_SEARCH = 100


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
        return text, dict(OffsetLog.parse(text).offsets)
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
