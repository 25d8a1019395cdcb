"""The files that a checkpoint must hold for a query to go on after the ledger's head. Pure but for the old folder's files.

Spark needs ``metadata``, the newest two of ``offsets/``, the newest of ``commits/``, and of a file source its whole log: it
reads the offsets of the batch before, and takes a file that no log names for a new one.
Source: MicroBatchExecution.populateStartOffsets and FileStreamSource.scala of Apache Spark.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from uuid import uuid4

from foreachonce.checkpoint import CommitLog, Folder, OffsetLog, metadata_text, source_log_files
from foreachonce.entry import Entry
from foreachonce.epoch import Epoch
from foreachonce.errors import EpochError, Mismatch
from foreachonce.position import Position, SourceSpan, log_batch, log_pointer
from foreachonce.recovery.goal import Goal

VERSION = "v1"
STATE = "state"
# The lines of a file source's log, by the number of the log entry.
Log = dict[int, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A checkpoint anew.

    Args:
        texts: its files, by path; ``metadata`` comes last, so that a folder that holds it is whole.
        kept: what is copied from the old one, by path: state, and what sources other than files remember.
    """

    texts: dict[str, str] = field(default_factory=dict)
    kept: tuple[str, ...] = ()


def rebuild(goal: Goal, chain: Iterable[Entry], old: Folder | None, *, is_stateful: bool = False) -> Rebuilt:
    """Make the checkpoint that goes on where the goal says.

    Args:
        goal: where.
        chain: the stream's entries in order of seq; those of the goal's query are used.
        old: the checkpoint that is there, if it is the query's own and may be read for what no ledger holds.
        is_stateful: whether the query keeps state. Its newest commit is then never made up: without it Spark runs the
            ledger's newest batch again, which the sink skips, and the state is fed.

    Raises:
        Mismatch: neither ledger nor checkpoint tells which files were read.
    """
    texts = _offsets(goal)
    texts |= _commits(goal, old, is_stateful)
    settled = goal.last if goal.begun is None else goal.begun
    assert settled is not None
    logs = _source_logs(settled, chain, old)
    texts |= _source_log_texts(logs)
    texts["metadata"] = metadata_text(goal.query_id)
    return Rebuilt(texts, () if old is None else tuple(_kept(old, logs)))


def _offsets(goal: Goal) -> dict[str, str]:
    texts = {f"offsets/{entry.batch_id}": entry.offset_log for entry in (goal.last, goal.begun) if entry is not None}
    if goal.last is not None and goal.batch_id > 0:
        texts[f"offsets/{goal.batch_id - 1}"] = offsets_before(goal.last)
    return texts


def offsets_before(entry: Entry) -> str:
    """The offset log of the batch before an entry's: its offsets are where the entry starts."""
    own = OffsetLog.parse(entry.offset_log)
    starts = {source: span.start for source, span in entry.position.sources.items()}
    return OffsetLog(own.version, own.metadata, starts).text()


def _commits(goal: Goal, old: Folder | None, is_stateful: bool) -> dict[str, str]:
    if goal.last is None:
        return {}
    found = {} if old is None else _verbatim_commits(goal, old)
    if is_stateful and goal.begun is None:
        return found
    made = CommitLog.after(OffsetLog.parse(goal.last.offset_log).watermark).text()
    return {f"commits/{goal.batch_id}": made} | found


def _verbatim_commits(goal: Goal, old: Folder) -> dict[str, str]:
    """The commits of the goal's batch, and of the one before it, as far as they can be read."""
    found: dict[str, str] = {}
    for number in (goal.batch_id, goal.batch_id - 1):
        path = f"commits/{number}"
        try:
            text = old.text(path)
            CommitLog.parse(text or "")
        except (ValueError, EpochError):
            continue
        if text is not None:
            found[path] = text
    return found


def begin_anew(last: Entry, chain: Iterable[Entry], old: Folder | None) -> tuple[Epoch, Rebuilt]:
    """Make the checkpoint of a new query whose batch 0 is all that the sink has: it reads the source again for its state.

    The batch has the watermark of the ledger's newest one, so that what was closed then stays closed. With an entry of the
    batch in the ledger the sink skips it.

    Returns:
        the epoch of that batch, to be entered into the ledger; and the checkpoint.
    """
    logs = _source_logs(last, chain, old)
    spans = {
        source: SourceSpan(None, span.end, files=tuple(line for lines in logs.get(source, {}).values() for line in lines))
        for source, span in last.position.sources.items()
    }
    epoch = replace(last.epoch, query_id=str(uuid4()), run_id=str(uuid4()), batch_id=0, position=Position(spans))
    texts = {"offsets/0": last.offset_log, **_source_log_texts(logs), "metadata": metadata_text(epoch.query_id)}
    kept = () if old is None else tuple(path for path in _kept(old, logs) if path != STATE)
    return epoch, Rebuilt(texts, kept)


def _source_log_texts(logs: Mapping[str, Log]) -> dict[str, str]:
    return {f"sources/{source}/{name}": text for source, log in logs.items() for name, text in source_log_files(log).items()}


def _source_logs(settled: Entry, chain: Iterable[Entry], old: Folder | None) -> dict[str, Log]:
    """The whole log of each file source, up to the end of an entry."""
    ends = {source: log_pointer(span.end) for source, span in settled.position.sources.items()}
    wanted = {source: pointer for source, pointer in ends.items() if pointer is not None}
    if not wanted:
        return {}
    of_ledger = _lines_of_ledger(settled.query_id, (*chain, settled))
    logs = {}
    for source, pointer in wanted.items():
        known = dict(_lines_of_folder(old, source)) | of_ledger.get(source, {})
        log = {number: known[number] for number in range(pointer + 1) if number in known}
        if len(log) <= pointer:
            raise Mismatch(_unknown_files(settled.query_id, source, pointer, log))
        logs[source] = log
    return logs


def _lines_of_ledger(query_id: str, chain: Iterable[Entry]) -> dict[str, Log]:
    found: dict[str, Log] = {}
    for entry in chain:
        if entry.query_id != query_id:
            continue
        for source, span in entry.position.sources.items():
            found.setdefault(source, {}).update(_by_number((*span.start_files, *span.files)))
    return found


def _lines_of_folder(old: Folder | None, source: str) -> Iterator[tuple[int, tuple[str, ...]]]:
    if old is None:
        return
    for name in old.names(f"sources/{source}"):
        if not name.removesuffix(".compact").isdigit():
            continue
        try:
            text = old.text(f"sources/{source}/{name}") or ""
            version, *lines = text.removesuffix("\n").split("\n")
            if version == VERSION:
                yield from _by_number(tuple(lines))
        except (ValueError, KeyError, TypeError, EpochError):
            continue  # a torn file tells nothing; what it held is asked of the others


def _by_number(lines: tuple[str, ...]) -> Iterator[tuple[int, tuple[str, ...]]]:
    found: dict[int, list[str]] = {}
    for line in lines:
        found.setdefault(log_batch(line), []).append(line)
    yield from ((number, tuple(some)) for number, some in found.items())


def _kept(old: Folder, rebuilt: Container[str]) -> Iterator[str]:
    if old.exists(STATE):
        yield STATE
    yield from (f"sources/{name}" for name in old.names("sources") if name not in rebuilt and not name.startswith("."))


def _unknown_files(query_id: str, source: str, pointer: int, log: Log) -> str:
    first = next(number for number in range(pointer + 1) if number not in log)
    return (
        f"source {source} is made of files, and neither ledger nor checkpoint holds all {pointer + 1} entries of its log: "
        f"the first that is unknown is {first}. Its files would be read again. Were entries pruned, or did the stream "
        f"begin amid query {query_id}? Put back a copy of the checkpoint, whatever its age: its sources/{source} tells "
        "them. Nothing was changed."
    )
