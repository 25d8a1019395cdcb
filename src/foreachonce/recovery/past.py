"""What ledger and old checkpoint together know of a query's earlier batches, and of its state. Pure but for files.

Batch 0 starts at no offset. A Kafka source turns ``startingOffsets`` into offsets when the query first starts, and keeps
them in ``sources/I/0``. Where that file is gone Spark asks Kafka again, and the batch may have other rows. Once there is
a start offset the file is not read. Source: KafkaMicroBatchStream.initialOffset of Apache Spark.

The state after batch N is its version N + 1: files ``(N + 1).delta``, ``.snapshot``, ``.zip`` or ``.changelog``; in format 2
of Spark 4 with an id in their names. Spark loads a version from the newest snapshot up to it, so a snapshot from batches
that were taken back would pass for one of those that come in their place.
Source: HDFSBackedStateStoreProvider.loadMap of Apache Spark.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from foreachonce.checkpoint import CheckpointFolder, Log, by_entry, log_number, read_commit, read_end, source_log_lines
from foreachonce.entry import Entry
from foreachonce.errors import EpochError
from foreachonce.position import kafka_offsets
from foreachonce.recovery.goal import Goal

STATE = "state"
_VERSION = re.compile(r"/(\d+)(?:_[^/.]+)?\.(?:delta|snapshot|zip|changelog)(?:\.crc)?$")


@dataclass(frozen=True, slots=True)
class Past:
    """What is known of a query's earlier batches.

    Args:
        logs: the entries of each source's log, as far as the ledger holds them, by source.
        offsets_before: ``offsets/N`` of the batch before the goal's newest, verbatim; None where nobody holds it.
        old: the query's own checkpoint, if there is one to be read for what no ledger holds.
        folders: where each source keeps its log below ``sources``.
    """

    logs: Mapping[str, Log] = field(default_factory=dict)
    offsets_before: str | None = None
    old: CheckpointFolder | None = None
    folders: Mapping[str, str] = field(default_factory=dict)

    def log(self, source: str) -> Log:
        """A file source's log, as far as it is known.

        Where ledger and checkpoint both know an entry, the ledger is believed. If they do not agree about it, the checkpoint
        was cut anew at it or before: an older entry that it alone holds is believed only if they agree on the next above it
        that both know.
        """
        known, old_log = self.logs.get(source, {}), {} if self.old is None else folder_log(self.old, self.folders[source])
        common = sorted(old_log.keys() & known.keys())

        def is_believed(number: int) -> bool:
            above = next((each for each in common if each > number), None)
            return above is not None and sorted(old_log[above]) == sorted(known[above])

        return {number: lines for number, lines in old_log.items() if is_believed(number)} | dict(known)


def past_of(goal: Goal, chain: Iterable[Entry], old: CheckpointFolder | None) -> Past:
    """Collect what is known.

    Args:
        goal: where the query has to go on.
        chain: the stream's entries in order of seq; those of the goal's query are used.
        old: the checkpoint that is there, if it is the query's own.
    """
    logs: dict[str, dict[int, tuple[str, ...]]] = {}
    before = None
    for entry in (*chain, *(each for each in (goal.last, goal.unfinished) if each is not None)):
        if entry.query_id != goal.query_id:
            continue
        for source, span in entry.position.sources.items():
            logs.setdefault(source, {}).update(by_entry((*span.start_files, *span.files)))
        if entry.batch_id == goal.batch_id - 1:
            before = entry
    return Past(logs, _offsets_before(goal.last, before, old), old, goal.folders)


def _offsets_before(last: Entry | None, before: Entry | None, old: CheckpointFolder | None) -> str | None:
    if last is None or last.batch_id == 0:
        return None
    if before is not None and last.position.follows(before.position) == "equal":
        return before.offset_log
    return old.text(f"offsets/{last.batch_id - 1}") if old is not None and starts_alike(last, old) else None


def starts_alike(last: Entry, old: CheckpointFolder) -> bool:
    """Whether the batch before an entry's ends in a checkpoint where the entry starts."""
    try:
        return last.position.follows(read_end(old, last.batch_id - 1, last.position.shared)) == "equal"
    except EpochError:
        return False


def folder_log(folder: CheckpointFolder, source: str) -> dict[int, tuple[str, ...]]:
    """A file source's log in a checkpoint, as far as it can be read; empty for another source."""
    entries: dict[int, tuple[str, ...]] = {}
    for name in folder.names(f"sources/{source}"):
        if log_number(name) is not None:
            entries |= log_entries(folder, f"sources/{source}/{name}")
    return entries


def log_entries(folder: CheckpointFolder, path: str) -> Log:
    """The entries in one file of a source's log; none where it is torn, or what another kind of source remembers."""
    try:
        return by_entry(source_log_lines(folder.text(path) or ""))
    except (ValueError, EpochError):
        return {}  # the other files tell what it held


def lost_beginnings(first: Entry, old: CheckpointFolder | None) -> list[str]:
    """The folders of a batch's Kafka sources, where it starts at their beginning and nothing tells where that was."""
    spans, folders = first.position.sources, first.position.folders
    beginning = [folders[source] for source in folders if spans[source].start is None and kafka_offsets(spans[source].end)]
    return [folder for folder in beginning if not (old is not None and old.exists(f"sources/{folder}/0"))]


@dataclass(frozen=True, slots=True)
class KeptState:
    """What an old checkpoint's state is good for.

    Args:
        newest: the newest version that belongs to the ledger's batches; newer ones may not be kept.
        runs_again: whether the ledger's newest batch has to run again, for the sake of the state alone: the sink skips it.
    """

    newest: int
    runs_again: bool


def kept_state(goal: Goal, past: Past) -> KeptState | None:
    """The state in an old checkpoint, as far as it is that of the ledger's batches; None where it is not, or may not be."""
    last = goal.last
    if last is None:
        return KeptState(0, runs_again=False)
    if past.old is not None and _is_after(goal, last, past.old):
        return KeptState(last.batch_id + 1, runs_again=False)
    if goal.unfinished is None and _is_before(last, past):
        return KeptState(last.batch_id, runs_again=True)
    return None


def _is_after(goal: Goal, last: Entry, old: CheckpointFolder) -> bool:
    """Whether the state after a batch is there, and the query can go on from it."""
    can_go_on = goal.unfinished is not None or _is_committed(old, last.batch_id)
    return can_go_on and _ends_alike(old, last) and _holds(old, last.batch_id + 1)


def _is_before(last: Entry, past: Past) -> bool:
    """Whether the state before a batch is there, and the offsets that tell its watermark and the time of its timers."""
    if last.batch_id == 0:
        return not lost_beginnings(last, past.old)
    if past.old is None or past.offsets_before is None:
        return False
    return (_ends_alike(past.old, last) or starts_alike(last, past.old)) and _holds(past.old, last.batch_id)


def newer(folder: CheckpointFolder, version: int) -> Iterator[str]:
    """The files of versions of the state after one of them."""
    return (path for path in folder.walk(STATE) if (match := _VERSION.search(path)) is not None and int(match[1]) > version)


def _holds(folder: CheckpointFolder, version: int) -> bool:
    return any((match := _VERSION.search(path)) is not None and int(match[1]) == version for path in folder.walk(STATE))


def _ends_alike(old: CheckpointFolder, entry: Entry) -> bool:
    try:
        return read_end(old, entry.batch_id, entry.position.shared).follows(entry.position) == "equal"
    except EpochError:
        return False


def _is_committed(old: CheckpointFolder, batch_id: int) -> bool:
    try:
        read_commit(old, batch_id)
    except EpochError:
        return False
    return True
