"""The files that a checkpoint must hold for a query to go on after the ledger's head. Pure but for the old folder's files.

Spark needs ``metadata``, the newest two of ``offsets/``, the newest of ``commits/``, and of a file source its whole log: it
reads the offsets of the batch before, and takes a file that no log names for a new one. A batch without a commit runs again.
Of the older offsets it takes where the batch starts, and for a batch that runs again with state also watermark and time.
Source: MicroBatchExecution.populateStartOffsets, IncrementalExecution.scala and FileStreamSource.scala of Apache Spark.

What sources and sinks keep elsewhere is not touched: ``_spark_metadata`` of a folder that a stream reads or writes says
nothing about this query, and files that ``cleanSource`` has moved or deleted are named in the log like the others. A log
that was written anew names files with their times, so that ``maxFileAge`` leaves out the same ones as before.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from uuid import uuid4

from foreachonce.checkpoint import (
    COMPACT_INTERVAL,
    CheckpointFolder,
    CommitLog,
    Log,
    OffsetLog,
    metadata_text,
    query_id,
    read_commit,
    source_log_files,
)
from foreachonce.entry import Entry, Epoch
from foreachonce.errors import EpochError, Mismatch
from foreachonce.position import Position, log_pointer
from foreachonce.recovery.goal import Goal
from foreachonce.recovery.past import STATE, KeptState, Past, folder_log, lost_beginnings


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A checkpoint anew.

    Args:
        texts: its files, by path; ``metadata`` comes last, so that a folder that holds it is whole.
        kept: what is copied from the old one, by path: state, and what sources other than files remember.
        state: the newest version of the state that is kept.
    """

    texts: dict[str, str] = field(default_factory=dict)
    kept: tuple[str, ...] = ()
    state: int = 0


def rebuild(goal: Goal, past: Past, *, state: KeptState | None = None, interval: int = COMPACT_INTERVAL) -> Rebuilt:
    """Make the checkpoint that goes on where the goal says.

    Args:
        goal: where.
        past: what is known of the batches before.
        state: the old checkpoint's state, where the query keeps one. Where its newest commit is gone, none is made up: Spark
            runs the ledger's newest batch again, which the sink skips, and the state is fed.
        interval: ``spark.sql.streaming.fileSource.log.compactInterval`` of the session that the query will run in.

    Raises:
        Mismatch: neither ledger nor checkpoint tells which files were read, or where a first batch from Kafka starts.
    """
    settled = goal.newest_entry
    assert settled is not None
    if goal.last is None:
        _refuse_lost_beginnings(settled, past.old)
    texts = _offsets(goal, past) | _commits(goal, past.old, state)
    logs = _source_logs(settled, past)
    texts |= _source_log_texts(logs, past, interval)
    texts["metadata"] = metadata_text(goal.query_id)
    kept = tuple(path for path in _kept(past, logs) if path != STATE or state is not None)
    return Rebuilt(texts, kept, 0 if state is None else state.newest)


def begin_anew(last: Entry, past: Past, *, interval: int = COMPACT_INTERVAL) -> tuple[Epoch, Rebuilt]:
    """Make the checkpoint of a new query whose batch 0 is all that the sink has: it reads the source again for its state.

    The batch has the watermark of the ledger's newest one, so that what was closed then stays closed. With an entry of the
    batch in the ledger the sink skips it.

    Returns:
        the epoch of that batch, to be entered into the ledger; and the checkpoint.
    """
    logs = _source_logs(last, past)
    spans = {
        source: replace(span, start=None, files=_lines(logs.get(source, {})), start_files=())
        for source, span in last.position.sources.items()
    }
    epoch = replace(last.epoch, query_id=str(uuid4()), run_id=str(uuid4()), batch_id=0, position=Position(spans))
    texts = {
        "offsets/0": last.offset_log,
        **_source_log_texts(logs, past, interval),
        "metadata": metadata_text(epoch.query_id),
    }
    return epoch, Rebuilt(texts, tuple(path for path in _kept(past, logs) if path != STATE))


def begin_first(old: CheckpointFolder) -> Rebuilt:
    """Make the checkpoint of a query that has finished no batch: nothing of the old one is kept but where its sources begin.

    Raises:
        Mismatch: where a source begins is torn; made anew, it might leave out what came meanwhile.
    """
    kept = [f"sources/{name}" for name in old.names("sources") if not _is_file_log(old, name)]
    torn = [path for path in kept if not _is_whole(old, path)]
    if torn:
        raise Mismatch(
            f"the checkpoint {old.root} holds no finished batch, and {torn[0]}, which tells where its first one starts, is "
            "torn. Put a copy back; or move the checkpoint away, and the query starts where its source's options say. "
            "Nothing was changed."
        )
    try:
        query = query_id(old)
    except EpochError:
        query = str(uuid4())
    return Rebuilt({"metadata": metadata_text(query)}, tuple(kept))


def _is_file_log(old: CheckpointFolder, name: str) -> bool:
    """Whether a source's folder is a log of files, or what is left of one; its files are listed again."""
    if folder_log(old, name):
        return True
    with suppress(ValueError, EpochError):
        return log_pointer(OffsetLog.parse(old.text("offsets/0") or "").offsets.get(name)) is not None
    return False


def _offsets(goal: Goal, past: Past) -> dict[str, str]:
    texts = {f"offsets/{entry.batch_id}": entry.offset_log for entry in (goal.last, goal.unfinished) if entry is not None}
    if goal.last is not None and goal.batch_id > 0:
        texts[f"offsets/{goal.batch_id - 1}"] = past.offsets_before or offsets_before(goal.last)
    return texts


def offsets_before(entry: Entry) -> str:
    """The offset log of the batch before an entry's, made up: its offsets are where the entry starts."""
    own = OffsetLog.parse(entry.offset_log)
    return OffsetLog(
        own.version, own.metadata, {source: entry.position.sources[source].start for source in own.offsets}
    ).text()


def _commits(goal: Goal, old: CheckpointFolder | None, state: KeptState | None) -> dict[str, str]:
    if goal.last is None:
        return {}
    kept = {} if old is None else _verbatim_commits(goal, old)
    newest = f"commits/{goal.batch_id}"
    if state is not None and state.runs_again:
        return {path: text for path, text in kept.items() if path != newest}
    return {newest: CommitLog.after(OffsetLog.parse(goal.last.offset_log).watermark).text()} | kept


def _verbatim_commits(goal: Goal, old: CheckpointFolder) -> dict[str, str]:
    """The commits of the goal's batch, and of the one before it, as far as they can be read."""
    commits: dict[str, str] = {}
    for number in (goal.batch_id, goal.batch_id - 1):
        with suppress(EpochError):
            commits[f"commits/{number}"] = read_commit(old, number)
    return commits


def _lines(log: Log) -> tuple[str, ...]:
    return tuple(line for lines in log.values() for line in lines)


def _source_log_texts(logs: Mapping[str, Log], past: Past, interval: int) -> dict[str, str]:
    files = {past.folders[source]: source_log_files(log, interval) for source, log in logs.items()}
    return {f"sources/{folder}/{name}": text for folder, texts in files.items() for name, text in texts.items()}


def _source_logs(settled: Entry, past: Past) -> dict[str, Log]:
    """The whole log of each file source, up to the end of an entry."""
    logs: dict[str, Log] = {}
    for source in past.folders:
        pointer = log_pointer(settled.position.sources[source].end)
        if pointer is not None:
            known = past.log(source)
            log = {number: known[number] for number in range(pointer + 1) if number in known}
            if len(log) <= pointer:
                raise Mismatch(_unknown_files(settled.query_id, past.folders[source], pointer, log))
            logs[source] = log
    return logs


def _kept(past: Past, rebuilt: Collection[str]) -> Iterator[str]:
    """What of an old checkpoint is copied, but for what is torn: Spark makes it anew, or says that it needs it.

    Not the log of a file source that has no files yet for the ledger: they are listed again.
    """
    old, written = past.old, {past.folders[source] for source in rebuilt}
    if old is None:
        return
    if old.exists(STATE):
        yield STATE
    for name in old.names("sources"):
        if name not in written and not folder_log(old, name) and _is_whole(old, f"sources/{name}"):
            yield f"sources/{name}"


def _is_whole(old: CheckpointFolder, path: str) -> bool:
    try:
        return all(old.text(each) for each in old.walk(path))
    except EpochError:
        return False


def _refuse_lost_beginnings(first: Entry, old: CheckpointFolder | None) -> None:
    lost = lost_beginnings(first, old)
    if lost:
        raise Mismatch(
            f"batch {first.batch_id} of query {first.query_id} has to run again as it was, and reads Kafka from where "
            f"startingOffsets stood when it first began. Only sources/{lost[0]}/0 of the checkpoint tells that, and it is "
            "gone. Put it back from a copy of the checkpoint, whatever its age. Nothing was changed."
        )


def _unknown_files(query_id: str, source: str, pointer: int, log: Log) -> str:
    first = next(number for number in range(pointer + 1) if number not in log)
    above = min(number for number in log if number > first)
    return (
        f"source {source} is made of files, and neither ledger nor checkpoint holds all {pointer + 1} entries of its log: "
        f"the first that is unknown is {first}. Its files would be read again. Were entries pruned, or did the stream "
        f"begin in the middle of query {query_id}? Put back a copy of the checkpoint in which sources/{source} goes up to "
        f"entry {above} at least: it lists the older ones. Nothing was changed."
    )
