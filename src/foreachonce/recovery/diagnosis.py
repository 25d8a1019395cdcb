"""Whether a checkpoint and its source go with what the ledgers say, and the words for it. Pure but for files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from foreachonce.checkpoint import (
    COMPACT_INTERVAL,
    CheckpointFolder,
    by_entry,
    log_number,
    query_id,
    read_commit,
    read_end,
    read_position,
    source_log_lines,
    source_log_names,
)
from foreachonce.entry import Entry
from foreachonce.errors import EpochError, Mismatch
from foreachonce.position import Position, kafka_offsets, log_pointer
from foreachonce.recovery.goal import Goal
from foreachonce.recovery.past import log_entries, lost_beginnings

Kind = Literal["new", "agrees", "missing", "damaged", "behind", "ahead", "changed", "replaced", "foreign", "other"]
# The query can start on the checkpoint as it is.
FINE: tuple[Kind, ...] = ("new", "agrees")
# What Spark keeps in a checkpoint; the names of what it makes on the way there begin so too.
_KEPT = ("metadata", "offsets", "commits", "sources", "state")

_WHAT: Mapping[Kind, str] = {
    "new": "the stream is new",
    "agrees": "checkpoint and ledger agree",
    "missing": "the checkpoint is gone",
    "damaged": "the checkpoint is damaged",
    "behind": "the checkpoint is older than the ledger",
    "ahead": "the checkpoint is newer than the ledger: the sink was put back, or has lost commits",
    "changed": "the checkpoint was rolled back, and its newest batch cut anew",
    "replaced": "the checkpoint was replaced by a new one, whose query has finished no batch",
    "foreign": "the checkpoint is another query's, which has finished batches",
    "other": "the path holds no checkpoint",
}
_DOES: Mapping[Kind, str] = {
    "missing": "write it anew from the ledger",
    "damaged": "write it anew from the ledger",
    "behind": "put it forward to the ledger",
    "ahead": "put it back to the ledger, so that Spark reads again just what the sink lacks",
    "changed": "put the ledger's batch in the place of the one that was cut anew",
    "replaced": "write the old one anew from the ledger",
}
# What is added where the query begins anew for the sake of its state.
BEGUN_ANEW = (
    "  Its state is gone: it becomes a new query's, whose batch 0 is the whole source up to there. That is read for the\n"
    "  state, and nothing of it is written."
)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What a checkpoint is, against the ledger.

    Args:
        kind: ``new``: the ledger has no batch, so any checkpoint will do on which Spark can start. ``agrees``: the query
            goes on as it is. ``missing``: nothing is there. ``damaged``: a file is lost, torn or empty. ``behind``: its
            newest batch is older than the ledger's. ``ahead``: it holds batches as done that the ledger lacks.
            ``changed``: the ledger's newest batch holds other rows there. ``replaced``: another query's, which has
            finished no batch. ``foreign``: another query's, which has. ``other``: a file, or a folder of other things.
        details: what was found there, in words.
    """

    kind: Kind
    details: str

    @property
    def is_fine(self) -> bool:
        """Whether the query can start on the checkpoint as it is."""
        return self.kind in FINE


def diagnose(folder: CheckpointFolder, goal: Goal | None, *, interval: int = COMPACT_INTERVAL) -> Diagnosis:
    """Compare a checkpoint with the place where the ledgers say that the query has to go on.

    Reads what Spark reads when it starts: the newest offsets and commit, and of a file source its log from the newest
    compact file on. A log's old entries must be there; they are not compared with the ledger, which would be read whole.
    Source: MicroBatchExecution.populateStartOffsets and CompactibleFileStreamLog.allFiles of Apache Spark.

    Args:
        folder: the checkpoint.
        goal: what the ledgers say; None where they have no batch.
        interval: ``spark.sql.streaming.fileSource.log.compactInterval`` of the session that the query will run in.
    """
    if goal is None:
        return _of_no_batch(folder, interval)
    if not any(folder.names(name) for name in ("offsets", "commits", "sources")) and not folder.exists("metadata"):
        return _of_no_checkpoint(folder)
    try:
        query = _query_id(folder)
    except EpochError as error:
        return Diagnosis("damaged", str(error))
    planned, done = (newest(folder.names(name)) for name in ("offsets", "commits"))
    words = f"query {query}, newest batch {_batch(planned)}, newest commit {_batch(done)}"
    if query != goal.query_id:
        return Diagnosis("replaced" if done < 0 else "foreign", words)
    if planned < goal.newest:
        return Diagnosis("behind", words)
    if planned > goal.batch_id + 1 or done > goal.batch_id:
        return Diagnosis("ahead", words)
    try:
        return _compared(folder, goal, planned, done, words, interval)
    except EpochError as error:
        return Diagnosis("damaged", f"{words}; {error}")


def _query_id(folder: CheckpointFolder) -> str:
    if not folder.exists("metadata"):
        raise EpochError("it lacks metadata, which names its query")
    return query_id(folder)


def _of_no_checkpoint(folder: CheckpointFolder) -> Diagnosis:
    """A path that was meant to be a checkpoint's may be another folder's, which nobody wants moved."""
    names = folder.names("")
    others = [name for name in names if not name.lstrip(".").startswith(_KEPT)]
    if others:
        return Diagnosis("other", f"holds {', '.join(others[:3])}{', …' if len(others) > 3 else ''}")
    if not names and folder.exists("") and _is_file(folder):
        return Diagnosis("other", "is a file")
    return Diagnosis("missing", "there is no checkpoint")


def _is_file(folder: CheckpointFolder) -> bool:
    try:
        return folder.text("") is not None
    except EpochError:
        return True


def _of_no_batch(folder: CheckpointFolder, interval: int) -> Diagnosis:
    """A first batch that was planned and not entered runs again: where its files are damaged, Spark does not start."""
    planned, done = (newest(folder.names(name)) for name in ("offsets", "commits"))
    try:
        if planned == 0 or folder.exists("metadata"):
            _query_id(folder)
        if planned == 0 and done < 0:
            _check_source_logs(folder, read_position(folder, planned)[0], interval)
    except EpochError as error:
        if planned <= 0 and done < 0:
            return Diagnosis("damaged", f"no batch is finished; {error}")
    finished = f", and the checkpoint batch {done} as finished" if done >= 0 else ""
    return Diagnosis("new", f"the ledger has no batch of this stream{finished}")


def _compared(folder: CheckpointFolder, goal: Goal, planned: int, done: int, words: str, interval: int) -> Diagnosis:
    if done >= 0:
        read_commit(folder, done)
    position, _ = read_position(folder, planned, goal.shared)
    _check_source_logs(folder, position, interval)
    if goal.is_stateful:
        _check_state(folder, planned, done)
    _check_beginnings(folder, goal.unfinished)
    wrong = _wrong(folder, goal, planned, position)
    return Diagnosis("changed", f"{words}; {wrong}") if wrong else Diagnosis("agrees", words)


def _wrong(folder: CheckpointFolder, goal: Goal, planned: int, position: Position) -> str | None:
    """What the newest batch's rows have against the ledger, as a sink would have: None if it may go on from here."""
    settled = goal.settled(planned)
    if settled is None:
        follows = goal.last is None or position.follows(goal.last.position) == "equal"
        return None if follows else f"its batch {planned} starts elsewhere than the ledger's batch {goal.batch_id} ends"
    end = read_end(folder, planned, goal.shared)
    alike = position.same_as(settled.position) and end.follows(settled.position) == "equal"
    return None if alike else f"its batch {planned} holds other rows than the ledger's"


def _check_source_logs(folder: CheckpointFolder, position: Position, interval: int) -> None:
    for source, name in position.folders.items():
        if log_pointer(position.sources[source].end) is not None:
            _check_source_log(folder, name, interval)


def _check_source_log(folder: CheckpointFolder, source: str, interval: int) -> None:
    """Refuse a file source's log that is torn or has a gap: Spark reads it whole, for the files that it has seen."""
    names = folder.names(f"sources/{source}")
    present: set[int] = set()
    for name in source_log_names(names, interval):
        present |= _entries_in(folder, f"sources/{source}/{name}")
    last = max((number for number in map(log_number, names) if number is not None), default=-1)
    lost = [str(number) for number in range(last + 1) if number not in present]
    if lost:
        raise EpochError(f"sources/{source} of the checkpoint {folder.root} lacks {', '.join(lost[:10])}")


def _entries_in(folder: CheckpointFolder, path: str) -> set[int]:
    text = folder.text(path)
    if text is None:
        raise EpochError(f"the checkpoint {folder.root} lacks {path}")
    try:
        return set(by_entry(source_log_lines(text)))
    except ValueError as error:
        raise EpochError(f"{path} of the checkpoint {folder.root} cannot be read: {error}") from None


def _check_state(folder: CheckpointFolder, planned: int, done: int) -> None:
    is_first = planned == 0 and done < 0
    if not is_first and not folder.exists("state"):
        raise EpochError(f"the query keeps state, and {folder.root} has no folder state")
    if done < planned - 1:
        raise EpochError(f"it lacks commits/{planned - 1}, which tells the state after that batch")


def _check_beginnings(folder: CheckpointFolder, unfinished: Entry | None) -> None:
    """Refuse a first batch that was started and would run again from elsewhere; one that the sink has is skipped."""
    lost = [] if unfinished is None else lost_beginnings(unfinished, folder)
    if lost:
        raise EpochError(f"{folder.root} lacks sources/{lost[0]}/0, which tells where its first batch starts")


def newest(names: Iterable[str]) -> int:
    """The greatest number among the names of a log's files; -1 for none."""
    return max((int(name) for name in names if name.isascii() and name.isdigit()), default=-1)


def _batch(number: int) -> str:
    return "none" if number < 0 else str(number)


def describe(folder: CheckpointFolder, diagnosis: Diagnosis, goal: Goal | None, lost: Sequence[MissingInput]) -> str:
    """What the checkpoint is and what is to be done."""
    lines = [f"{_WHAT[diagnosis.kind]}.", f"  checkpoint {folder.root}: {diagnosis.details}"]
    if goal is not None:
        lines.append(f"  ledger: {_goal(goal)}")
    if diagnosis.kind in _DOES:
        lines.append(f"  to do: {_to_do(diagnosis.kind, goal)}.")
        if folder.exists(""):
            lines.append("  The old checkpoint is moved aside, not deleted.")
    if lost:
        lines.append("  The source no longer holds rows that the sink lacks:")
        lines += [f"    {each}" for each in lost]
    return "\n".join(lines)


def _to_do(kind: Kind, goal: Goal | None) -> str:
    if goal is None:
        return "let the query begin again where its sources began; the ledger has no batch of it"
    return f"{_DOES[kind]}; it then goes on after batch {goal.batch_id}"


def _goal(goal: Goal) -> str:
    if goal.last is None:
        return f"query {goal.query_id}, no batch yet; batch {goal.newest} was started"
    ends = goal.last.position.ends.replace("\n", ", ")
    settled = "" if goal.unfinished is None else f"; batch {goal.newest} was started, or is in one of the sinks"
    return f"query {goal.query_id}, batch {goal.batch_id}, which ends at {ends}{settled}"


def explain_expired(text: str) -> str:
    """The message of an :class:`~foreachonce.errors.Expired`."""
    return (
        f"{text}\n"
        "  Nothing was changed. Bring them back into the source; or, to go on without them, say accept_data_loss=True\n"
        "  (Spark's Kafka source then needs failOnDataLoss=false)."
    )


def explain_state(root: str, diagnosis: Diagnosis, goal: Goal) -> str:
    """The message of a :class:`~foreachonce.errors.StateLost`."""
    return (
        f"{_WHAT[diagnosis.kind]}, and the query keeps state, which no ledger holds: {root} does not have the state after "
        f"batch {goal.batch_id} of query {goal.query_id}. Nothing was changed.\n"
        "  Put back a copy of the checkpoint with its state. An older one will do where the batches since then come out as\n"
        "  they were (the same limits): start the query on it without a repair, and they are replayed into its state.\n"
        "  Or say accept_state_loss=True: the query then reads its whole source again for its state, and writes none of\n"
        "  what the ledger has; what the source no longer holds is missing from the state."
    )


def explain_other(root: str, diagnosis: Diagnosis, goal: Goal) -> Mismatch:
    """What to do with a path that is no checkpoint's, or another query's."""
    if diagnosis.kind == "other":
        return Mismatch(
            f"{root} is not a checkpoint: it {diagnosis.details}. Nothing was changed.\n"
            "  Is the path spelt wrong? A lost checkpoint is rebuilt only at a path where nothing exists."
        )
    return Mismatch(
        f"{_WHAT['foreign']}: {root} holds {diagnosis.details}; the ledger's batches are those of query {goal.query_id}. "
        "Nothing was changed.\n"
        "  If two queries share the stream's name, give each a stream= of its own. If this checkpoint is not wanted, move\n"
        "  it away: a missing one is written anew."
    )


# By topic and partition, the first offset that Kafka still holds.
Earliest = Mapping[str, Mapping[int, int]]


@dataclass(frozen=True, slots=True)
class MissingInput:
    """A part of a source that is gone before it was read.

    Args:
        source: Spark's id of the source.
        what: a file's address, or a topic and partition.
        first, last: of Kafka, the offsets of the first and the last record; None of a file.
    """

    source: str
    what: str
    first: int | None = None
    last: int | None = None

    def __str__(self) -> str:
        if self.first is None or self.last is None:
            return f"source {self.source}: the file {self.what}"
        return (
            f"source {self.source}: {self.what}, offsets {self.first} to {self.last} ({self.last - self.first + 1} records)"
        )


def missing_records(goal: Goal, earliest: Earliest) -> Iterator[MissingInput]:
    """The records between where the sink ends and what Kafka still holds."""
    if goal.last is None:
        return
    for source in goal.last.position.folders:
        for topic, partitions in kafka_offsets(goal.last.position.sources[source].end).items():
            for partition, following in sorted(partitions.items()):
                first = earliest.get(topic, {}).get(partition, following)
                if first > following:
                    yield MissingInput(source, f"topic {topic}, partition {partition}", following, first - 1)


def missing_files(goal: Goal, folder: CheckpointFolder) -> list[MissingInput]:
    """The files that Spark had listed for batches after the sink's last, and that are deleted now.

    Args:
        folder: the query's own checkpoint; another's numbers its source log otherwise.
    """
    inputs = dict.fromkeys(
        MissingInput(source, path)
        for source, after in _file_sources(goal).items()
        for path in _paths(folder, goal.folders[source], after)
    )
    return [each for each in inputs if not folder.has(each.what)]


def _paths(folder: CheckpointFolder, source: str, after: int) -> Iterator[str]:
    for name in folder.names(f"sources/{source}"):
        newest = log_number(name)
        if newest is not None and newest > after:
            entries = log_entries(folder, f"sources/{source}/{name}")
            yield from (str(json.loads(line)["path"]) for number in entries if number > after for line in entries[number])


def _file_sources(goal: Goal) -> dict[str, int]:
    """Each source that is made of files or has had no data, with the newest log entry that the sink has; -1 for none."""
    newest = {} if goal.newest_entry is None else goal.newest_entry.position.sources
    has = {} if goal.last is None else {source: log_pointer(span.end) for source, span in goal.last.position.sources.items()}
    newest_entries = {}
    for source in goal.folders:
        if newest[source].end is None or log_pointer(newest[source].end) is not None:
            after = has.get(source)
            newest_entries[source] = -1 if after is None else after
    return newest_entries
