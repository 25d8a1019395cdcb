"""One commit of a Delta table: what its text says about a stream, the guard that makes it unique, and its copy. Pure.

Delta keeps a commit in ``_delta_log/<version>.json``, one action a line. ``userMetadata`` in its ``commitInfo`` is free text
of the writer, and holds the ledger entry.
Source: PROTOCOL.md of delta-io/delta, "Commit Provenance Information".

The guard is Delta's ``txn`` action. Delta refuses a commit if another commit with the same ``txnAppId`` came since it
started (ConcurrentTransactionException). It silently skips one whose ``txnVersion`` is not greater than the table's. So of
two writers with the same guard one commits, and each must check afterwards whether the commit is its own.
Source: DeltaCommand.hasBeenExecuted and ConflictChecker of delta-io/delta.

Delta's clean-up removes old commits with their entries, so each commit of the stream and each RESTORE is copied into a
folder of the table's own, named by its version.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from foreachonce.entry import Entry
from foreachonce.errors import LedgerError

if TYPE_CHECKING:
    from foreachonce.delta.folder import TableFolder

# The key that marks this library's metadata; its value is the version of the format.
MARKER = "foreachonce"
FORMAT = 1
# How many of a commit's data files an entry's copy names.
FILES_NAMED = 5
# The operations whose count of a batch's rows is another metric than numOutputRows; source: DeltaOperations.scala.
ROWS = {"MERGE": "numSourceRows"}

APP_ID = "spark.databricks.delta.write.txnAppId"
VERSION = "spark.databricks.delta.write.txnVersion"
METADATA = "spark.databricks.delta.commitInfo.userMetadata"
# VACUUM leaves folders with a leading underscore alone: DeltaTableUtils.isHiddenDirectory in DeltaTable.scala.
COPIES = "_foreachonce"


@dataclass(frozen=True, slots=True, kw_only=True)
class Own:
    """A commit of the stream.

    Args:
        guard: the ``txn`` version. It grows by one with each commit of the stream and never goes back, not even by RESTORE.
        entry: the ledger entry that was committed with the rows.
        last_batch: the greatest batch id of the entry's query in the chain so far.
        files: some of the data files that hold the commit's rows; they show later whether the rows are still there.
    """

    guard: int
    entry: Entry
    last_batch: int
    files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Restore:
    """A RESTORE to an earlier version; None for a RESTORE to a point in time."""

    version: int | None


@dataclass(frozen=True, slots=True)
class Foreign:
    """Any other commit: another stream, another writer, OPTIMIZE, VACUUM."""


@dataclass(frozen=True, slots=True)
class Missing:
    """A commit so old that neither its file nor a copy of it is left."""


Commit: TypeAlias = Own | Restore | Foreign | Missing
FOREIGN, MISSING = Foreign(), Missing()

File = tuple[str, str]
"""A data file's path and its deletion vector."""


class FileChanges(NamedTuple):
    """The data files that a commit added and removed."""

    added: frozenset[File]
    removed: frozenset[File]


def parse(stream: str, lines: Iterable[str]) -> Commit:
    """Parse a commit's file. The lines up to ``commitInfo`` and the first data files are enough.

    Raises:
        LedgerError: a newer version of this library wrote the entry.
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
    fields = read_metadata(info.get("userMetadata"))
    if fields is None or fields.get("stream") != stream:
        return FOREIGN
    own = from_fields(fields)
    return replace(own, entry=replace(own.entry, rows=_rows(info)), files=tuple(files))


def file_changes(lines: Iterable[str]) -> FileChanges:
    """The data files that the commit with these lines added and removed."""
    files: dict[str, set[File]] = {"add": set(), "remove": set()}
    for line in lines:
        if line.startswith(('{"add"', '{"remove"')):
            [(kind, action)] = json.loads(line).items()
            vector = action.get("deletionVector")
            files[kind].add((action["path"], json.dumps(vector, sort_keys=True) if vector else ""))
    return FileChanges(frozenset(files["add"]), frozenset(files["remove"]))


def user_metadata(own: Own) -> str:
    """The text that a commit of the stream carries as ``userMetadata``."""
    return json.dumps(to_fields(own), ensure_ascii=False)


def read_metadata(text: str | None) -> Mapping[str, Any] | None:
    """The fields of a ``userMetadata``; None if it is not this library's."""
    try:
        fields = json.loads(text or "null")
    except ValueError:
        return None
    return fields if isinstance(fields, dict) and MARKER in fields else None


def to_fields(own: Own) -> dict[str, Any]:
    """A commit of the stream as plain values, without rows and files: these are known only once it is made."""
    return {MARKER: FORMAT, "guard": own.guard, "last_batch": own.last_batch, **own.entry.to_fields()}


def from_fields(fields: Mapping[str, Any]) -> Own:
    """The commit that :func:`to_fields` described.

    Raises:
        LedgerError: a newer version of this library wrote the fields.
    """
    if fields[MARKER] != FORMAT:
        raise LedgerError(
            f"stream {fields['stream']!r}: the table's log holds an entry of format {fields[MARKER]!r}; this version reads "
            f"{FORMAT} only. A newer foreachonce wrote it: upgrade this one."
        )
    return Own(guard=int(fields["guard"]), entry=Entry.from_fields(fields), last_batch=int(fields["last_batch"]))


def app_id(stream: str) -> str:
    """The application id under which Delta keeps the stream's guard."""
    return f"foreachonce:{stream}"


def write_options(own: Own) -> dict[str, str]:
    """The options with which a DataFrame writer makes the commit."""
    return {"txnAppId": app_id(own.entry.stream), "txnVersion": str(own.guard), "userMetadata": user_metadata(own)}


def session_settings(own: Own) -> dict[str, str]:
    """The same as settings of a session; MERGE takes no options."""
    return {APP_ID: app_id(own.entry.stream), VERSION: str(own.guard), METADATA: user_metadata(own)}


def _version(value: object) -> int | None:
    return None if value in (None, "", "null") else int(str(value))


def _rows(info: Mapping[str, Any]) -> int | None:
    count = info.get("operationMetrics", {}).get(ROWS.get(str(info.get("operation")), "numOutputRows"))
    return None if count is None else int(count)


class Copies:
    """The copies of one stream's commits.

    Args:
        stream: whose commits are copied.
        folder: the table's.
    """

    def __init__(self, stream: str, folder: TableFolder) -> None:
        self._stream, self._folder = stream, folder
        self.path = copies_folder(stream)

    def versions(self) -> set[int]:
        """The versions that have a copy."""
        return {int(name[:20]) for name in self._folder.names(self.path) if _is_copy(name)}

    def read(self, version: int) -> Own | Restore | None:
        """The commit that was copied; None without a copy, or if a crash has torn it.

        Raises:
            LedgerError: a newer version of this library wrote it.
        """
        lines = self._folder.lines(self._file(version))
        try:
            return None if lines is None else from_copy("\n".join(lines))
        except ValueError:
            return None

    def write(self, version: int, commit: Own | Restore) -> None:
        """Copy a commit."""
        self._folder.write(self._file(version), to_copy(self._stream, commit))

    def remove(self, version: int) -> None:
        """Remove a copy, if it is there."""
        self._folder.remove(self._file(version))

    def _file(self, version: int) -> str:
        return f"{self.path}/{version:020}.json"


def copies_folder(stream: str) -> str:
    """The folder of a stream's copies, below the table's. A stream's name may hold any character, so it is hashed."""
    return f"{COPIES}/{sha256(stream.encode()).hexdigest()[:32]}"


def copied_streams(folder: TableFolder) -> set[str]:
    """The names of the streams that have copies."""
    names: set[str] = set()
    for stream in folder.names(COPIES):
        for name in folder.names(f"{COPIES}/{stream}")[:1]:
            fields = read_metadata("\n".join(folder.lines(f"{COPIES}/{stream}/{name}") or []))
            if fields is not None:
                names.add(str(fields["stream"]))
    return names


def to_copy(stream: str, commit: Own | Restore) -> str:
    """The text of a commit's copy."""
    if isinstance(commit, Restore):
        return json.dumps({MARKER: FORMAT, "stream": stream, "restored": commit.version})
    fields = to_fields(commit) | {"rows": commit.entry.rows, "files": commit.files}
    return json.dumps(fields, ensure_ascii=False)


def from_copy(text: str) -> Own | Restore:
    """The commit that :func:`to_copy` described.

    Raises:
        LedgerError: a newer version of this library wrote it.
        ValueError: it is torn.
    """
    fields = json.loads(text)
    if "restored" in fields:
        return Restore(fields["restored"])
    own = from_fields(fields)
    return replace(own, entry=replace(own.entry, rows=fields["rows"]), files=tuple(fields["files"]))


def _is_copy(name: str) -> bool:
    return len(name) == 25 and name.endswith(".json") and name[:20].isdigit()
