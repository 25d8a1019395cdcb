"""Whether a checkpoint goes with what the ledgers say. Pure but for the folder's files."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from foreachonce.checkpoint import CommitLog, Folder, query_id, read_position
from foreachonce.errors import EpochError
from foreachonce.position import Position, log_pointer
from foreachonce.recovery.goal import Goal

Kind = Literal["new", "agrees", "missing", "damaged", "behind", "ahead", "changed", "replaced", "foreign"]


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What a checkpoint is, against the ledger.

    Args:
        kind: ``new``: the ledger has no batch, so any checkpoint will do. ``agrees``: the query goes on as it is.
            ``missing``: nothing is there. ``damaged``: a file is lost, torn or empty. ``behind``: its newest batch is older
            than the ledger's. ``ahead``: it holds batches as done that the ledger lacks. ``changed``: the ledger's newest
            batch holds other rows there. ``replaced``: another query's, which has finished no batch. ``foreign``: another
            query's, which has.
        found: what was found there, in words.
    """

    kind: Kind
    found: str

    @property
    def is_fine(self) -> bool:
        """Whether the query can start on the checkpoint as it is."""
        return self.kind in ("new", "agrees")


def diagnose(folder: Folder, goal: Goal | None) -> Diagnosis:
    """Compare a checkpoint with the place where the ledgers say that the query has to go on.

    Reads the names in it, and a handful of files: the newest offsets and commit, and the source log's end.
    """
    if goal is None:
        return Diagnosis("new", "the ledger has no batch of this stream")
    if not any(folder.names(name) for name in ("offsets", "commits", "sources")) and not folder.exists("metadata"):
        return Diagnosis("missing", "there is no checkpoint")
    try:
        found = query_id(folder)
    except EpochError as error:
        return Diagnosis("damaged", str(error))
    planned, done = (newest(folder.names(name)) for name in ("offsets", "commits"))
    words = f"query {found}, newest batch {_batch(planned)}, newest commit {_batch(done)}"
    if found != goal.query_id:
        return Diagnosis("replaced" if done < 0 else "foreign", words)
    if planned < goal.newest:
        return Diagnosis("behind", words)
    if planned > goal.batch_id + 1 or done > goal.batch_id:
        return Diagnosis("ahead", words)
    try:
        return _compared(folder, goal, planned, done, words)
    except (EpochError, ValueError) as error:
        return Diagnosis("damaged", f"{words}; {error}")


def _compared(folder: Folder, goal: Goal, planned: int, done: int, words: str) -> Diagnosis:
    if done >= 0:
        CommitLog.parse(folder.text(f"commits/{done}") or "")
    position, _ = read_position(folder, planned)
    _check_source_logs(folder, position)
    for entry in (goal.last, goal.begun):
        if entry is not None and not read_position(folder, entry.batch_id)[0].same_as(entry.position):
            return Diagnosis("changed", f"{words}; its batch {entry.batch_id} holds other rows than the ledger's")
    return Diagnosis("agrees", words)


def _check_source_logs(folder: Folder, position: Position) -> None:
    """Refuse a file source's log with a gap: Spark reads it whole, for the files that it has seen."""
    for source, span in position.sources.items():
        last = log_pointer(span.end)
        if last is None:
            continue
        names = folder.names(f"sources/{source}")
        compact = newest(name.removesuffix(".compact") for name in names if name.endswith(".compact"))
        lost = [number for number in range(compact + 1, last + 1) if str(number) not in names]
        if lost:
            raise EpochError(f"sources/{source} of the checkpoint {folder.root} lacks {', '.join(map(str, lost))}")


def newest(names: Iterable[str]) -> int:
    """The greatest number among the names of a log's files; -1 for none."""
    return max((int(name) for name in names if name.isdigit()), default=-1)


def _batch(number: int) -> str:
    return "none" if number < 0 else str(number)
