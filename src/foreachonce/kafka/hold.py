"""What this process knows of the streams that its runs hold, and how a run takes one."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from foreachonce.entry import Entry, LedgerState
from foreachonce.epoch import Epoch
from foreachonce.errors import CommitInDoubt, Conflict, Fenced
from foreachonce.kafka.history import History
from foreachonce.kafka.record import Taken
from foreachonce.kafka.topic import make, reading
from foreachonce.kafka.writer import Writer

if TYPE_CHECKING:
    from foreachonce.kafka.ledger import KafkaLedger


@dataclass
class Held:
    """A stream that a run of this process has taken.

    Args:
        run_id: the run's id.
        history: the ledger topic's end, as this run has left it; None where something failed since.
        writer: a producer of the first transactional id that is known to be its last; None where there is none.
        is_in_doubt: a transaction may still be open or under way.
    """

    run_id: str
    history: History | None = None
    writer: Writer | None = field(default=None, repr=False)
    is_in_doubt: bool = False


# It belongs to the process, not to a sink, which is pickled. The stream that was written last is the last.
_held: dict[tuple[KafkaLedger, str], Held] = {}
# Of how many streams a process keeps a producer, which has connections and threads: runs end, and nobody says so.
KEPT = 16


def held(ledger: KafkaLedger, stream: str, run_id: str) -> Held | None:
    """What is known of a stream that the run has taken; None where it has not."""
    found = _held.get((ledger, stream))
    return found if found is not None and found.run_id == run_id else None


def keep(ledger: KafkaLedger, stream: str, writer: Writer) -> None:
    """Keep a producer for the stream's next batch, if its last commit was clean; let go of those used longest ago."""
    ours = _held.pop((ledger, stream))
    ours.writer = writer if writer.is_clean else None
    _held[ledger, stream] = ours
    for other in list(_held.values())[:-KEPT]:
        other.writer = None


def look(ledger: KafkaLedger, epoch: Epoch, timeout_ms: int) -> LedgerState:
    """The stream's newest entry, the epoch's own, and whether its run holds the stream.

    A run that holds the stream and has lost nothing knows its ledger: nobody else can have written it, or this run's next
    transaction fails.

    Raises:
        Fenced: another run has taken the stream since.
    """
    ours = held(ledger, epoch.stream, epoch.run_id)
    if ours is not None and ours.history is not None:
        return _found(ours.history, epoch, is_held=True)
    history = read(ledger, epoch)
    if ours is not None:
        _refuse_lost(history, epoch)
        if ours.is_in_doubt:
            _fence(ledger, epoch.stream, range(history.ids), timeout_ms)
            history = read(ledger, epoch)
            _refuse_lost(history, epoch)
        ours.history, ours.is_in_doubt = history, False
    return _found(history, epoch, is_held=ours is not None)


def take(ledger: KafkaLedger, epoch: Epoch, head: Entry | None, *, ids: int, timeout_ms: int) -> LedgerState:
    """Take the stream over for the epoch's run, if ``head`` still is its newest entry.

    The take is a record, in a transaction of the first transactional id. A run that has not seen it cannot have begun a
    transaction of that id after it; what was begun under the others is ended by the fences that follow.

    Raises:
        Fenced: another run has taken the stream from this one.
    """
    make(ledger.cluster, ledger.topic(epoch.stream))
    try:
        return _take(ledger, epoch, head, ids, timeout_ms)
    except (Conflict, CommitInDoubt):
        # Another run takes it at the same time; who holds it now is to be seen.
        return look(ledger, epoch, timeout_ms)


def _take(ledger: KafkaLedger, epoch: Epoch, head: Entry | None, ids: int, timeout_ms: int) -> LedgerState:
    writer = _fence(ledger, epoch.stream, range(1), timeout_ms)
    history = read(ledger, epoch)
    found = _found(history, epoch, is_held=False)
    if found.head != head:
        return found
    token = 0 if history.holder is None else history.holder.token + 1
    now = datetime.now(timezone.utc)
    taken = Taken(run_id=epoch.run_id, query_id=epoch.query_id, time=now, token=token, ids=max(ids, history.ids))
    with writer.transaction():
        writer.record(taken)
    history = history.then(taken)
    if taken.ids > 1:
        _fence(ledger, epoch.stream, range(1, taken.ids), timeout_ms)
        history = read(ledger, epoch)
        _refuse_lost(history, epoch)
    _held[ledger, epoch.stream] = Held(epoch.run_id, history)
    keep(ledger, epoch.stream, writer)
    return _found(history, epoch, is_held=True)


def read(ledger: KafkaLedger, epoch: Epoch) -> History:
    """The newest records, as far back as the epoch asks."""
    with reading(ledger.cluster, ledger.topic(epoch.stream), epoch.stream) as reader:
        return reader.newest(lambda history: history.tells(epoch.query_id, epoch.batch_id))


def refuse_others(history: History, epoch: Epoch, before: int) -> None:
    """Refuse to write an epoch where the ledger, as it stands after a fence, is not the one that it was decided on.

    Args:
        history: the ledger.
        epoch: what is to be written.
        before: the seq of the entry that it follows; -1 for none.

    Raises:
        Fenced: another run has taken the stream.
        Conflict: another entry came first.
    """
    _refuse_lost(history, epoch)
    head = _found(history, epoch, is_held=True).head
    seq = -1 if head is None else head.seq
    if seq != before:
        raise Conflict(f"stream {epoch.stream!r}: the ledger's newest entry is {seq}, not {before}. Nothing was written.")


def _fence(ledger: KafkaLedger, stream: str, numbers: range, timeout_ms: int) -> Writer:
    for number in numbers:
        writer = Writer(ledger.cluster, ledger.topic(stream), stream, number, timeout_ms)
        writer.fence()
    return writer


def _found(history: History, epoch: Epoch, *, is_held: bool) -> LedgerState:
    unfinished = history.unfinished
    same_batch = history.same_batch(epoch.query_id, epoch.batch_id)
    if unfinished is None:
        return LedgerState(history.head, same_batch, is_held)
    lacking = f"{unfinished.entry.sink}; of this batch {len(unfinished.done)} of {unfinished.parts} transactions are there"
    entry = replace(unfinished.entry, sink=lacking)
    if epoch.position.same_as(entry.position):
        return LedgerState(history.before_unfinished, same_batch, is_held)
    # Part of it can be read already: only the same rows complete it, and nothing may come in its place.
    is_same = (entry.query_id, entry.batch_id) == (epoch.query_id, epoch.batch_id)
    return LedgerState(entry, entry if is_same else same_batch, is_held)


def _refuse_lost(history: History, epoch: Epoch) -> None:
    newest = history.holder
    if newest is not None and newest.run_id == epoch.run_id:
        return
    text = f"stream {epoch.stream!r}: run {epoch.run_id} (query {epoch.query_id}) "
    if newest is None:
        raise Fenced(text + "has lost its ledger topic: it was deleted while it ran. Start the query again.")
    text += (
        f"was replaced by run {newest.run_id} (query {newest.query_id}) at {newest.time:%F %T} UTC. This run has written "
        "nothing since, and stops."
    )
    if newest.query_id != epoch.query_id:
        text += " The query ids differ: if two queries share this stream's name, give each a stream= of its own."
    raise Fenced(text)
