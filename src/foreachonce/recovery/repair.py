"""Bring a checkpoint to where the ledgers say that the query has to go on.

The life of a repair:

1. ``look``: the ledgers' goal and the checkpoint's diagnosis. Where they agree, nothing more is done.
2. The new checkpoint is written beside the old one, in ``<checkpoint>.mended``; its ``metadata`` comes last.
3. Each sink's stream is taken, which fences a query that still runs, and the repair is appended to its ledger, so that a
   ledger that has moved on refuses it.
4. The old checkpoint is moved to ``<checkpoint>.aside-<time>``, and the new one into its place.

Where 3 finds that a stream was further than 1 saw, all is done once more from 1.

A crash before 4 leaves the old checkpoint as it was. A crash amid 4 leaves none, and the next repair moves the new one in.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import wraps
from typing import ParamSpec
from uuid import uuid4

from foreachonce.checkpoint import COMPACT_INTERVAL, CheckpointFolder
from foreachonce.entry import Decision, Entry, Epoch
from foreachonce.errors import ConfigurationError, Conflict, Expired, ForeachOnceError, StateLost
from foreachonce.faults import Point, fault
from foreachonce.ledger import Ledger
from foreachonce.recovery.diagnosis import (
    BEGUN_ANEW,
    FINE,
    Diagnosis,
    Earliest,
    Kind,
    MissingInput,
    describe,
    diagnose,
    explain_expired,
    explain_other,
    explain_state,
    missing_files,
    missing_records,
)
from foreachonce.recovery.goal import Goal, Standing, goal_of
from foreachonce.recovery.past import STATE, kept_state, newer, past_of
from foreachonce.recovery.rebuild import Rebuilt, begin_anew, begin_first, rebuild

log = logging.getLogger("foreachonce")
_P = ParamSpec("_P")

MENDED, ASIDE = ".mended", ".aside-"
# The points that a repair passes, in order.
POINTS: tuple[Point, ...] = ("checkpoint-written", "repair-appended", "checkpoint-aside", "checkpoint-mended")
# So many entries are read, and then so many times more, for a batch before the newest repairs.
_REPAIRS = 16
# The checkpoint that is there is the query's own.
_OWN: tuple[Kind, ...] = ("behind", "ahead", "changed", "damaged")


@dataclass(frozen=True, slots=True)
class LedgerStream:
    """One stream of a query, in its ledger.

    Args:
        ledger: where its entries are.
        name: the stream's name.
        sink: the sink's description, for entries and messages.
    """

    ledger: Ledger
    name: str
    sink: str


@dataclass(frozen=True, slots=True)
class Repair:
    """The result of checking a checkpoint, and the repair made or planned; ``print()`` shows it in words.

    Args:
        checkpoint: the checkpoint's path.
        kind: what the checkpoint was. ``"new"``: the ledger has no batch. ``"agrees"``. ``"missing"``. ``"damaged"``: a file
            is lost, torn or empty. ``"behind"``: older than the ledger. ``"ahead"``: newer. ``"changed"``: the ledger's
            newest batch holds other rows there. ``"replaced"``: a new one, whose query has finished no batch. A checkpoint
            of another query, and a file or folder that is no checkpoint, are refused with `Mismatch`.
        text: all of it, in words.
        lost: what the source no longer holds of the rows that the sink lacks: ``source``, ``what`` (a file, or a topic and
            partition), and of Kafka ``first`` and ``last`` (offsets) of each.
        aside: where the old checkpoint is now; None where none was moved.
        is_done: whether the repair was made.
    """

    checkpoint: str
    kind: Kind
    text: str
    lost: tuple[MissingInput, ...] = ()
    aside: str | None = None
    is_done: bool = False

    @property
    def is_needed(self) -> bool:
        """Whether the checkpoint needs a repair before the query starts."""
        return self.kind not in FINE and not self.is_done

    def __str__(self) -> str:
        return self.text


def _once_more(attempt: Callable[_P, Repair]) -> Callable[_P, Repair]:
    """Look again where a stream was further than it looked: Kafka answers a commit before it can be read."""

    @wraps(attempt)
    def again(*args: _P.args, **keywords: _P.kwargs) -> Repair:
        try:
            return attempt(*args, **keywords)
        except Conflict:
            return attempt(*args, **keywords)

    return again


@_once_more
def repair(
    streams: Sequence[LedgerStream],
    folder: CheckpointFolder,
    *,
    dry_run: bool = False,
    accept_state_loss: bool = False,
    accept_data_loss: bool = False,
    earliest: Callable[[Sequence[Entry]], Earliest] | None = None,
    running: Collection[str] = (),
    interval: int = COMPACT_INTERVAL,
) -> Repair:
    """Compare a checkpoint with the ledgers of its query's streams, and repair it where they do not agree.

    Args:
        streams: all streams of the query.
        folder: the checkpoint.
        dry_run: plan the repair without making it.
        accept_state_loss: where the state is gone, let the query read its whole source again for the state, without writing
            what the ledger has; what the source no longer holds is then missing from the state.
        accept_data_loss: repair also where the source has lost rows that the sink lacks.
        earliest: probes Kafka: from the streams' newest entries to the first offsets that it still holds. None: no probe.
        running: the ids of the queries that run in this process.
        interval: ``spark.sql.streaming.fileSource.log.compactInterval`` of the session that the query will run in.

    Raises:
        StateLost: the query keeps state, and the checkpoint does not hold that of the ledger's newest batch.
        Expired: the source no longer holds rows that the sink lacks.
        Mismatch: the checkpoint is another query's, the sinks are further apart than a batch, or the ledger does not tell
            which files were read.
        Conflict, Fenced: another run went on meanwhile; the checkpoint is as it was.
        ConfigurationError: the query runs.
    """
    looks = [_look(stream) for stream in streams]
    _refuse_running(looks, running)
    folder = _after_a_crash(folder, looks, dry_run)
    goal = goal_of([look.standing for look in looks])
    diagnosis = diagnose(folder, goal, interval=interval)
    held = {} if earliest is None else earliest([look.head for look in looks if look.head is not None])
    lost = _lost(goal, diagnosis, folder, held)
    result = Repair(folder.root, diagnosis.kind, describe(folder, diagnosis, goal, lost), lost)
    if lost and not (accept_data_loss or dry_run):
        raise Expired(explain_expired(result.text))
    if diagnosis.is_fine:
        return result
    if goal is None:
        return result if dry_run else _carry_out(looks, folder, result, _Plan(None, begin_first(folder)))
    if diagnosis.kind in ("foreign", "other"):
        raise explain_other(folder.root, diagnosis, goal)
    rear = next(look for look in looks if look.standing.last == goal.last)
    plan = _plan(rear, goal, diagnosis, folder, accept_state_loss, interval)
    if plan.anew is not None:
        result = replace(result, text=f"{result.text}\n{BEGUN_ANEW}")
    return result if dry_run else _carry_out(looks, folder, result, plan)


def _lost(goal: Goal | None, diagnosis: Diagnosis, folder: CheckpointFolder, earliest: Earliest) -> tuple[MissingInput, ...]:
    if goal is None:
        return ()
    is_own = diagnosis.is_fine or diagnosis.kind in _OWN
    return (*missing_records(goal, earliest), *(missing_files(goal, folder) if is_own else ()))


@dataclass(frozen=True, slots=True)
class _Look:
    """A stream, its newest entry, and how far its sink is."""

    stream: LedgerStream
    head: Entry | None
    standing: Standing

    @property
    def has_unfinished(self) -> bool:
        """Whether a batch was started, to which the next place in the chain belongs."""
        return self.standing.unfinished is not None

    @property
    def is_repaired(self) -> bool:
        """Whether nothing was written since the stream's newest repair."""
        return self.head is not None and self.head.decision.kind == "repair"


def _look(stream: LedgerStream) -> _Look:
    ledger, name = stream.ledger, stream.name
    head = ledger.head(name)
    return _Look(stream, head, Standing(stream.sink, _newest_batch(ledger, head), ledger.unfinished(name)))


def _newest_batch(ledger: Ledger, head: Entry | None) -> Entry | None:
    """The newest entry of a batch; of a long chain no more is read than needed."""
    if head is None or not head.is_repair:
        return head
    width = _REPAIRS
    while True:
        batches = [entry for entry in ledger.entries(head.stream, after=head.seq - width) if not entry.is_repair]
        if batches or width > head.seq:
            return batches[-1] if batches else None
        width *= _REPAIRS


def _refuse_running(looks: Sequence[_Look], running: Collection[str]) -> None:
    for look in looks:
        if look.head is not None and look.head.query_id in running:
            raise ConfigurationError(
                f"stream {look.stream.name!r}: its query {look.head.query_id} runs in this session; stop it before its "
                "checkpoint is repaired."
            )


def _after_a_crash(folder: CheckpointFolder, looks: Sequence[_Look], dry_run: bool) -> CheckpointFolder:
    """The checkpoint; where a repair broke off amid its last step, the one that it has left beside is moved in."""
    mended = folder.beside(MENDED)
    was_entered = any(look.is_repaired or look.has_unfinished for look in looks)
    # Of a stream without entries a repair is no entry either, and what it has written holds no batch.
    is_first = all(look.head is None for look in looks) and not mended.names("offsets")
    if folder.exists("") or not mended.exists("metadata") or not (was_entered or is_first):
        return folder
    if dry_run:
        return mended
    mended.move(folder.root)
    return folder


@dataclass(frozen=True, slots=True)
class _Plan:
    """The checkpoint to write; and the epoch to enter, where the query begins anew for the sake of its state.

    The goal is None where no batch is finished.
    """

    goal: Goal | None
    rebuilt: Rebuilt
    anew: Epoch | None = None


def _plan(
    rear: _Look, goal: Goal, diagnosis: Diagnosis, folder: CheckpointFolder, accept_state_loss: bool, interval: int
) -> _Plan:
    old = folder if diagnosis.kind in _OWN else None
    past = past_of(goal, rear.stream.ledger.entries(rear.stream.name), old)
    if not (goal.is_stateful or (old is not None and old.exists(STATE))):
        return _Plan(goal, rebuild(goal, past, interval=interval))
    state = kept_state(goal, past)
    if state is not None:
        return _Plan(goal, rebuild(goal, past, state=state, interval=interval))
    if not accept_state_loss or goal.last is None or goal.unfinished is not None:
        raise StateLost(explain_state(folder.root, diagnosis, goal))
    epoch, rebuilt = begin_anew(goal.last, past, interval=interval)
    return _Plan(goal, rebuilt, epoch)


def _carry_out(looks: Sequence[_Look], folder: CheckpointFolder, result: Repair, plan: _Plan) -> Repair:
    mended, aside = folder.beside(MENDED), None
    if folder.exists(""):
        aside = folder.beside(f"{ASIDE}{datetime.now(timezone.utc):%Y%m%dT%H%M%S%f}")
    where = "" if aside is None else f", the old one is in {aside.root}"
    why = Decision("repair", f"checkpoint {result.kind}, {_what(plan)}{where}")
    mended.discard()
    try:
        _write(mended, plan.rebuilt, folder)
        fault("checkpoint-written")
        for look in looks:
            _enter(look, plan.anew, why)
    except ForeachOnceError:
        mended.discard()
        raise
    fault("repair-appended")
    if aside is not None:
        folder.move(aside.root)
    fault("checkpoint-aside")
    mended.move(folder.root)
    fault("checkpoint-mended")
    return replace(result, aside=None if aside is None else aside.root, is_done=True)


def _what(plan: _Plan) -> str:
    if plan.anew is not None:
        return f"begun anew as query {plan.anew.query_id} to read the source again for its state"
    return "begun again" if plan.goal is None else f"mended to go on after batch {plan.goal.batch_id}"


def _write(mended: CheckpointFolder, rebuilt: Rebuilt, old: CheckpointFolder) -> None:
    for path in rebuilt.kept:
        old.copy(path, mended.root)
    for path in list(newer(mended, rebuilt.state)):
        mended.remove(path)
    for path, text in rebuilt.texts.items():
        mended.write(path, text)


def _enter(look: _Look, anew: Epoch | None, why: Decision) -> None:
    """Take the stream and append the repair, unless the next place in the chain belongs to a batch that was started."""
    head, stream = look.head, look.stream
    log.info("stream %r: %s", stream.name, why)
    if head is None or look.has_unfinished:
        return
    epoch = _repair_epoch(head) if anew is None else replace(anew, stream=stream.name)
    state = stream.ledger.take(epoch, head)
    if not state.is_held or state.head != head:
        raise Conflict(f"stream {stream.name!r}: another run goes on with it. Stop the query first; nothing was changed.")
    stream.ledger.append(Entry.next(head, epoch, sink=stream.sink, decision=why))


def _repair_epoch(head: Entry) -> Epoch:
    """An epoch without rows, which starts and ends where the head ends."""
    return Epoch(
        stream=head.stream,
        query_id=head.query_id,
        run_id=str(uuid4()),
        batch_id=-(head.seq + 1),
        position=head.position.at_end,
        offset_log=head.offset_log,
        is_stateful=head.is_stateful,
    )


def begin_after(streams: Sequence[LedgerStream], ledger: Ledger, stream: str, seq: int) -> Entry:
    """Give new streams a first entry that ends where entry ``seq`` of another stream ends.

    So a new stream begins amid its source, to write again, on purpose, what another stream wrote after that entry. No
    checkpoint is written here. The first entry holds all that the other stream had read by then and brings no rows, so a
    repair builds the checkpoint from it as from any other, now and whenever it is lost.

    Raises:
        ConfigurationError: the other stream has no such entry, one of these is not new, or it can hold no entry yet.
        Mismatch: entries are gone that tell which files the other stream had read.
        Conflict: another run has begun one of these streams meanwhile.
    """
    chain = [entry for entry in ledger.entries(stream) if entry.seq <= seq]
    if not chain or chain[-1].seq != seq:
        raise ConfigurationError(f"seq={seq!r}: stream {stream!r} has no such entry in {ledger!r}. Nothing was begun.")
    for each in streams:
        _refuse_known(each)
    past = past_of(Goal(chain[-1].query_id, chain[-1]), chain, None)
    epoch, _ = begin_anew(chain[-1], past)
    why = Decision("begin", f"seq {seq} of stream {stream!r}")
    entries = [_enter_first(each, epoch, why) for each in streams]
    return entries[0]


def _refuse_known(stream: LedgerStream) -> None:
    ledger, name = stream.ledger, stream.name
    if ledger.head(name) is not None or ledger.unfinished(name) is not None:
        raise ConfigurationError(
            f"stream {name!r} has entries in {ledger!r} already, and only a new stream can begin amid its source. Give the "
            "sink another stream=. Nothing was begun."
        )


def _enter_first(stream: LedgerStream, epoch: Epoch, why: Decision) -> Entry:
    named = replace(epoch, stream=stream.name)
    state = stream.ledger.take(named, None)
    if not state.is_held or state.head is not None:
        raise Conflict(f"stream {stream.name!r}: another run has begun it meanwhile.")
    stream.ledger.append(Entry.next(None, named, sink=stream.sink, decision=why))
    entry = stream.ledger.head(stream.name)
    if entry is None:
        # Without it the stream would be written from the start of the source on.
        raise ConfigurationError(
            f"{stream.ledger!r} holds no entry before there is a table: make it, empty, with the columns that it shall have."
        )
    return entry
