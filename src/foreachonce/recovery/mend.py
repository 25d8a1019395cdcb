"""A checkpoint brought to where the ledgers say that the query has to go on.

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
from typing import ParamSpec, Protocol
from uuid import uuid4

from foreachonce._version import versions
from foreachonce.chain import REPAIR
from foreachonce.checkpoint import COMPACT_INTERVAL, Folder
from foreachonce.entry import Entry, Found
from foreachonce.epoch import Epoch
from foreachonce.errors import ConfigurationError, Conflict, Expired, ForeachOnceError, StateLost
from foreachonce.faults import Point, fault
from foreachonce.ledger import Ledger
from foreachonce.recovery.diagnosis import FINE, Diagnosis, Kind, diagnose
from foreachonce.recovery.goal import Goal, Standing, goal_of
from foreachonce.recovery.lost import Earliest, Lost, lost_files, lost_records
from foreachonce.recovery.past import past_of
from foreachonce.recovery.rebuild import Rebuilt, begin_anew, begin_first, rebuild
from foreachonce.recovery.state import STATE, kept_state, newer
from foreachonce.recovery.words import BEGUN_ANEW, explain_expired, explain_other, explain_state, told

log = logging.getLogger("foreachonce")
_P = ParamSpec("_P")

MENDED, ASIDE = ".mended", ".aside-"
# The points that a repair passes, in order.
POINTS: tuple[Point, ...] = ("checkpoint-written", "repair-appended", "checkpoint-aside", "checkpoint-mended")
# So many entries are read, and then so many times more, for a batch before the newest repairs.
_REPAIRS = 16
# The checkpoint that is there is the query's own.
_OWN: tuple[Kind, ...] = ("behind", "ahead", "changed", "damaged")


class Mendable(Protocol):
    """What a repair asks of a sink."""

    @property
    def stream(self) -> str | None:
        """The stream's name."""

    @property
    def ledger(self) -> Ledger:
        """The sink's ledger."""

    def head(self, epoch: Epoch) -> Found:
        """See :class:`~foreachonce.sink.Sink`."""

    def take(self, epoch: Epoch, head: Entry | None) -> Found:
        """See :class:`~foreachonce.sink.Sink`."""

    def append(self, entry: Entry) -> None:
        """See :class:`~foreachonce.sink.Sink`."""

    def begun(self, stream: str) -> Entry | None:
        """See :class:`~foreachonce.sink.Sink`."""


@dataclass(frozen=True, slots=True)
class Repair:
    """What a checkpoint is, and what was done to it, or would be; ``print()`` says it in words.

    Args:
        checkpoint: the checkpoint's path.
        kind: what the checkpoint was; see :class:`~foreachonce.recovery.diagnosis.Diagnosis`.
        text: all of it, in words.
        lost: what the source no longer holds of the rows that the sink lacks.
        aside: where the old checkpoint is now; None where none was moved.
        is_done: whether the checkpoint was mended.
    """

    checkpoint: str
    kind: Kind
    text: str
    lost: tuple[Lost, ...] = ()
    aside: str | None = None
    is_done: bool = False

    @property
    def is_needed(self) -> bool:
        """Whether the checkpoint has to be mended before the query starts."""
        return self.kind not in FINE and not self.is_done

    def __str__(self) -> str:
        return self.text


def _once_more(repair: Callable[_P, Repair]) -> Callable[_P, Repair]:
    """Look again where a stream was further than it looked: Kafka answers a commit before it can be read."""

    @wraps(repair)
    def again(*args: _P.args, **keywords: _P.kwargs) -> Repair:
        try:
            return repair(*args, **keywords)
        except Conflict:
            return repair(*args, **keywords)

    return again


@_once_more
def mend(
    sinks: Sequence[Mendable],
    folder: Folder,
    *,
    dry_run: bool = False,
    accept_state_loss: bool = False,
    accept_data_loss: bool = False,
    earliest: Callable[[Sequence[Entry]], Earliest] | None = None,
    running: Collection[str] = (),
    interval: int = COMPACT_INTERVAL,
) -> Repair:
    """Compare a checkpoint with the ledgers of its query's sinks, and mend it where they do not agree.

    Args:
        sinks: all sinks of the query.
        folder: the checkpoint.
        dry_run: say what would be done, and do nothing.
        accept_state_loss: where the state is gone, let the query read its whole source again for the state, without writing
            what the ledger has; what the source no longer holds is then missing from the state.
        accept_data_loss: mend also where the source has lost rows that the sink lacks.
        earliest: of the sinks' newest entries, the first offsets that Kafka still holds; where a source is Kafka's.
        running: the ids of the queries that run in this process.
        interval: ``spark.sql.streaming.fileSource.log.compactInterval`` of the session that the query will run in.

    Raises:
        StateLost: the query keeps state, and the checkpoint does not hold that of the ledger's newest batch.
        Expired: the source no longer holds rows that the sink lacks.
        Mismatch: the checkpoint is another query's, the sinks are further apart than a batch, or the ledger does not tell
            which files were read.
        Conflict, Fenced: another run went on meanwhile; the checkpoint is as it was.
        ConfigurationError: a sink has no ``stream=``, or the query runs.
    """
    looks = [_look(sink) for sink in sinks]
    _refuse_running(looks, running)
    folder = _after_a_crash(folder, looks, dry_run)
    goal = goal_of([look.standing for look in looks])
    found = diagnose(folder, goal, interval=interval)
    held = {} if earliest is None else earliest([look.head for look in looks if look.head is not None])
    lost = _lost(goal, found, folder, held)
    repair = Repair(folder.root, found.kind, told(folder, found, goal, lost), lost)
    if lost and not (accept_data_loss or dry_run):
        raise Expired(explain_expired(repair.text))
    if found.is_fine:
        return repair
    if goal is None:
        return repair if dry_run else _carry_out(looks, folder, repair, _Plan(None, begin_first(folder)))
    if found.kind in ("foreign", "other"):
        raise explain_other(folder.root, found, goal)
    rear = next(look for look in looks if look.standing.last == goal.last)
    plan = _plan(rear, goal, found, folder, accept_state_loss, interval)
    if plan.anew is not None:
        repair = replace(repair, text=f"{repair.text}\n{BEGUN_ANEW}")
    return repair if dry_run else _carry_out(looks, folder, repair, plan)


def _lost(goal: Goal | None, found: Diagnosis, folder: Folder, earliest: Earliest) -> tuple[Lost, ...]:
    if goal is None:
        return ()
    is_own = found.is_fine or found.kind in _OWN
    return (*lost_records(goal, earliest), *(lost_files(goal, folder) if is_own else ()))


@dataclass(frozen=True, slots=True)
class _Look:
    """A sink, the newest entry of its stream, and how far it is."""

    sink: Mendable
    stream: str
    head: Entry | None
    standing: Standing

    @property
    def has_begun(self) -> bool:
        """Whether a batch was begun, to which the next place in the chain belongs."""
        return self.standing.begun is not None

    @property
    def is_repaired(self) -> bool:
        """Whether nothing was written since the stream's newest repair."""
        return self.head is not None and self.head.decision.startswith(REPAIR)


def _look(sink: Mendable) -> _Look:
    stream = stream_of(sink)
    head = sink.ledger.head(stream)
    return _Look(sink, stream, head, Standing(str(sink), _newest_batch(sink.ledger, head), sink.begun(stream)))


def _newest_batch(ledger: Ledger, head: Entry | None) -> Entry | None:
    """The newest entry that is no repair's; of a long chain no more is read than that takes."""
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
                f"stream {look.stream!r}: its query {look.head.query_id} runs in this session; stop it before its "
                "checkpoint is mended."
            )


def stream_of(sink: Mendable) -> str:
    """The name under which a sink writes.

    Raises:
        ConfigurationError: it has none but its query's.
    """
    if sink.stream is None:
        raise ConfigurationError(f"{sink!r} has no stream=, and without one nothing tells which ledger entries are its own.")
    return sink.stream


def _after_a_crash(folder: Folder, looks: Sequence[_Look], dry_run: bool) -> Folder:
    """The checkpoint; where a repair broke off amid its last step, the one that it has left beside is moved in."""
    mended = folder.beside(MENDED)
    was_entered = any(look.is_repaired or look.has_begun for look in looks)
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


def _plan(rear: _Look, goal: Goal, found: Diagnosis, folder: Folder, accept_state_loss: bool, interval: int) -> _Plan:
    old = folder if found.kind in _OWN else None
    past = past_of(goal, rear.sink.ledger.entries(rear.stream), old)
    if not (goal.is_stateful or (old is not None and old.exists(STATE))):
        return _Plan(goal, rebuild(goal, past, interval=interval))
    state = kept_state(goal, past)
    if state is not None:
        return _Plan(goal, rebuild(goal, past, state=state, interval=interval))
    if not accept_state_loss or goal.last is None or goal.begun is not None:
        raise StateLost(explain_state(folder.root, found, goal))
    epoch, rebuilt = begin_anew(goal.last, past, interval=interval)
    return _Plan(goal, rebuilt, epoch)


def _carry_out(looks: Sequence[_Look], folder: Folder, repair: Repair, plan: _Plan) -> Repair:
    mended, aside = folder.beside(MENDED), None
    if folder.exists(""):
        aside = folder.beside(f"{ASIDE}{datetime.now(timezone.utc):%Y%m%dT%H%M%S%f}")
    where = "" if aside is None else f", the old one is in {aside.root}"
    why = f"{REPAIR}: checkpoint {repair.kind}, {_what(plan)}{where}"
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
    return replace(repair, aside=None if aside is None else aside.root, is_done=True)


def _what(plan: _Plan) -> str:
    if plan.anew is not None:
        return f"begun anew as query {plan.anew.query_id} to read the source again for its state"
    return "begun again" if plan.goal is None else f"mended to go on after batch {plan.goal.batch_id}"


def _write(mended: Folder, rebuilt: Rebuilt, old: Folder) -> None:
    for path in rebuilt.kept:
        old.copy(path, mended.root)
    for path in list(newer(mended, rebuilt.state)):
        mended.remove(path)
    for path, text in rebuilt.texts.items():
        mended.write(path, text)


def _enter(look: _Look, anew: Epoch | None, why: str) -> None:
    """Take the stream, and append the repair to its chain, unless the next place there belongs to a batch that was begun."""
    head = look.head
    log.info("stream %r: %s", look.stream, why)
    if head is None or look.has_begun:
        return
    epoch = _repair_epoch(head) if anew is None else replace(anew, stream=look.stream)
    found = look.sink.take(epoch, head)
    if not found.is_held or found.head != head:
        raise Conflict(f"stream {look.stream!r}: another run goes on with it. Stop the query first; nothing was changed.")
    look.sink.append(Entry.next(head, epoch, sink=str(look.sink), versions=versions(), decision=why))


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
