"""The way of every epoch: resolve, look at the ledger, decide, commit."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from foreachonce._version import versions
from foreachonce.decide import Decision, Refuse, Skip, Write, decide
from foreachonce.entry import Entry, Found
from foreachonce.epoch import Epoch
from foreachonce.errors import ForeachOnceError, Mismatch
from foreachonce.faults import fault
from foreachonce.refusal import explain
from foreachonce.sink import Sink
from foreachonce.spark.resolve import Resolved, resolve

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

log = logging.getLogger("foreachonce")

Outcome = Literal["written", "skipped"]


def run(
    sink: Sink, frame: DataFrame, batch_id: int, prepare: Callable[[DataFrame, int], DataFrame] | None = None
) -> Outcome:
    """Bring one batch into the sink exactly once.

    Args:
        sink: where to, and the ledger.
        frame: the batch, as Spark hands it to foreachBatch.
        batch_id: Spark's batch id.
        prepare: the user's function from the batch to the frame that is written; not called for a replay.

    Raises:
        Mismatch: the epoch is not the one that comes next; nothing was written.
        ForeachOnceError: anything else that stopped it; nothing was written, or the ledger tells.
    """
    resolved = resolve(frame, batch_id, stream=sink.stream, checkpoint=sink.checkpoint)
    epoch = resolved.epoch
    fault("epoch-resolved")
    found = sink.head(epoch)
    fault("head-read")
    decision = decide(found.head, found.same_batch, epoch)
    if isinstance(decision, Skip):
        return _skip(resolved, decision.entry)
    why = _reason_to_write(sink, decision, epoch)
    rows = prepare(frame, batch_id) if prepare is not None else frame
    sink.check(rows)
    entry = Entry.next(found.head, epoch, sink=str(sink), versions=versions(), decision=why)
    return _commit(sink, rows, entry, resolved)


def _commit(sink: Sink, rows: DataFrame, entry: Entry, resolved: Resolved) -> Outcome:
    epoch = resolved.epoch
    try:
        count = sink.commit(rows, entry)
    except ForeachOnceError as error:
        return _settle(sink, error, resolved)
    fault("function-done")
    log.info("stream %r: batch %d written, %d rows (seq %d)", epoch.stream, epoch.batch_id, count, entry.seq)
    return "written"


def _settle(sink: Sink, error: ForeachOnceError, resolved: Resolved) -> Outcome:
    """Read the ledger again after a commit that failed, and believe it.

    The reply may be lost though the server has committed, or another run may have written the batch or taken the stream
    over; then that is what the user must hear. Otherwise the error stands. A commit that the server still carries out
    after this look does no harm: the entry is unique, so either it or the next attempt comes through, never both.
    """
    epoch = resolved.epoch
    again: Found = sink.head(epoch)
    decision = decide(again.head, again.same_batch, epoch)
    if isinstance(decision, Skip):
        if decision.entry.run_id == epoch.run_id:
            log.warning("stream %r: batch %d was committed though its reply was lost", epoch.stream, epoch.batch_id)
            return "written"
        return _skip(resolved, decision.entry)
    if isinstance(decision, Refuse) and sink.on_mismatch == "raise":
        raise Mismatch(explain(decision, epoch)) from error
    # Where the user wanted the batch written in spite of a mismatch, the mismatch is no news.
    raise error


def _skip(resolved: Resolved, entry: Entry) -> Outcome:
    epoch = resolved.epoch
    log.info("stream %r: batch %d skipped, it is in the ledger (seq %d)", epoch.stream, epoch.batch_id, entry.seq)
    resolved.feed_state()
    return "skipped"


def _reason_to_write(sink: Sink, decision: Decision, epoch: Epoch) -> str:
    """The decision's text for the entry; raises where neither the ledger nor the user wants the epoch written."""
    if isinstance(decision, Write):
        return "write"
    assert isinstance(decision, Refuse)
    # A batch that has an entry cannot get a second one: only a new place in the chain can be chosen.
    if sink.on_mismatch == "raise" or decision.reason == "changed":
        raise Mismatch(explain(decision, epoch))
    log.warning("stream %r: batch %d written, on_mismatch='write': %s", epoch.stream, epoch.batch_id, decision.reason)
    return f"on_mismatch=write: {decision.reason}"
