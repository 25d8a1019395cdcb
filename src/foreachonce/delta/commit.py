"""One commit of a Delta table, as far as a ledger is concerned. Pure.

Delta keeps a commit's ``commitInfo`` in ``_delta_log/<version>.json``; ``userMetadata`` in it is free text of the writer.
Source: PROTOCOL.md of delta-io/delta, "Commit Provenance Information".
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from foreachonce.entry import Entry
from foreachonce.errors import LedgerError

# The key that tells a commit of this library, and the version of what stands beside it.
MARKER = "foreachonce"
FORMAT = 1
# How many of a commit's data files its copy names.
FILES_NAMED = 5
# The metric that tells a batch's rows, where it is not numOutputRows; source: DeltaOperations.scala of delta-io/delta.
ROWS = {"MERGE": "numSourceRows"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Own:
    """A commit of the stream.

    Args:
        guard: grows by one with each commit of the stream, undone ones too; Delta keeps it as the ``txn`` version.
        entry: the ledger entry that came with the rows.
        last_batch: the greatest batch id of the entry's query in the chain up to here.
        files: some of the data files that the stream's newest rows came in, to tell later whether these are still there.
    """

    guard: int
    entry: Entry
    last_batch: int
    files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Restore:
    """A commit that put the table back to an earlier version; None where it was asked for by time."""

    version: int | None


@dataclass(frozen=True, slots=True)
class Foreign:
    """Anybody else's commit: another stream, another writer, OPTIMIZE, VACUUM."""


@dataclass(frozen=True, slots=True)
class Lost:
    """A commit so old that neither its file nor a copy is kept."""


Commit: TypeAlias = Own | Restore | Foreign | Lost


def user_metadata(own: Own) -> str:
    """The text that a commit of the stream carries."""
    return json.dumps(_fields(own), ensure_ascii=False)


def _fields(own: Own) -> dict[str, Any]:
    return {MARKER: FORMAT, "guard": own.guard, "last_batch": own.last_batch, **own.entry.to_fields()}


def parse(stream: str, lines: Iterable[str]) -> Commit:
    """The commit that the lines of its file are about; those up to ``commitInfo`` and the first data files are enough.

    Raises:
        LedgerError: it is this library's, of a version that is not known.
    """
    info: Mapping[str, Any] = {}
    files: list[str] = []
    for line in lines:
        action = json.loads(line) if line.startswith(('{"commitInfo"', '{"add"')) else {}
        info = action.get("commitInfo", info)
        if "add" in action and len(files) < FILES_NAMED:
            files.append(str(action["add"]["path"]))
    if info.get("operation") == "RESTORE":
        return Restore(_version(info.get("operationParameters", {}).get("version")))
    own = _own(stream, info.get("userMetadata"))
    if isinstance(own, Foreign):
        return own
    return replace(own, entry=replace(own.entry, rows=_rows(info)), files=tuple(files))


def _version(value: object) -> int | None:
    return None if value in (None, "", "null") else int(str(value))


def _rows(info: Mapping[str, Any]) -> int | None:
    count = info.get("operationMetrics", {}).get(ROWS.get(str(info.get("operation")), "numOutputRows"))
    return None if count is None else int(count)


def _own(stream: str, text: str | None) -> Own | Foreign:
    try:
        fields = json.loads(text or "null")
    except ValueError:
        return Foreign()
    if not isinstance(fields, dict) or MARKER not in fields or fields.get("stream") != stream:
        return Foreign()
    return _read(fields)


def _read(fields: Mapping[str, Any]) -> Own:
    if fields[MARKER] != FORMAT:
        raise LedgerError(
            f"stream {fields['stream']!r}: the table's log holds an entry of format {fields[MARKER]!r}, this version knows "
            f"{FORMAT}: it was written by a newer foreachonce. Update this one."
        )
    return Own(guard=int(fields["guard"]), entry=Entry.from_fields(fields), last_batch=int(fields["last_batch"]))


def to_copy(stream: str, commit: Own | Restore) -> str:
    """The text of a commit's copy, which outlives the commit's own file."""
    if isinstance(commit, Restore):
        return json.dumps({MARKER: FORMAT, "stream": stream, "restored": commit.version})
    fields = _fields(commit) | {"rows": commit.entry.rows, "files": commit.files}
    return json.dumps(fields, ensure_ascii=False)


def from_copy(text: str) -> Own | Restore:
    """The commit that a copy was made of.

    Raises:
        LedgerError: the copy is of a version that is not known.
        ValueError: it is torn.
    """
    fields = json.loads(text)
    if "restored" in fields:
        return Restore(fields["restored"])
    own = _read(fields)
    return replace(own, entry=replace(own.entry, rows=fields["rows"]), files=tuple(fields["files"]))
