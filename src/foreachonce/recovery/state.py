"""Whether an old checkpoint's state is that after the ledger's newest batch. Pure but for the folder's files.

The state after batch N is its version N + 1: files ``(N + 1).delta``, ``.snapshot``, ``.zip`` or ``.changelog``; in format 2
of Spark 4 with an id in their names. Spark loads a version from the newest snapshot up to it, so a snapshot from batches
that were taken back would pass for one of those that come in their place.
Source: HDFSBackedStateStoreProvider.loadMap of Apache Spark.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from foreachonce.checkpoint import CheckpointFolder, read_commit, read_end
from foreachonce.entry import Entry
from foreachonce.errors import EpochError
from foreachonce.recovery.goal import Goal
from foreachonce.recovery.past import Past, lost_beginnings, starts_alike

STATE = "state"
_VERSION = re.compile(r"/(\d+)(?:_[^/.]+)?\.(?:delta|snapshot|zip|changelog)(?:\.crc)?$")


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
