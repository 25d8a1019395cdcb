"""The way of every epoch: resolve, look at the ledger, decide, commit, and tell what became of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from foreachonce._version import versions
from foreachonce.chain import ON_MISMATCH
from foreachonce.decide import Refuse, Skip, Write, decide
from foreachonce.entry import Entry
from foreachonce.epoch import Epoch
from foreachonce.errors import ForeachOnceError, Mismatch
from foreachonce.faults import Point, fault
from foreachonce.refusal import explain
from foreachonce.report import Behind, Report, resolving
from foreachonce.sink import Sink
from foreachonce.spark.resolve import Resolved, resolve
from foreachonce.stopwatch import Stopwatch

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

log = logging.getLogger("foreachonce")

# The fault points that every sink passes, in order.
POINTS_BEFORE: tuple[Point, ...] = ("epoch-resolved", "head-read", "stream-taken")
POINTS_AFTER: tuple[Point, ...] = ("function-done",)

Outcome = Literal["written", "skipped"]
Work = TypeVar("Work")
Prepare = Callable[[Sink[Work]], AbstractContextManager[Work]]
Accept = Callable[[Resolved], None]


def run(
    sinks: Sequence[Sink[Any]],
    frame: DataFrame,
    batch_id: int,
    prepare: Prepare[Any] | None = None,
    *,
    accept: Accept | None = None,
) -> list[Outcome]:
    """Bring one batch into every sink exactly once, one sink after the other.

    Args:
        sinks: where to; each has a ledger of its own.
        frame: the batch, as Spark hands it to foreachBatch.
        batch_id: Spark's batch id.
        prepare: from a sink to what it commits, kept as long as the context is open; not called for a replay. None: the
            frame itself.
        accept: looks at the batch before any ledger is read, and raises where its query will not do.

    Raises:
        Mismatch: the epoch is not the one that comes next; nothing was written there.
        Fenced: a newer run has taken the stream; nothing was written there.
        ForeachOnceError: anything else that stopped it; nothing was written there, or the ledger tells.
    """
    checkpoint = next((sink.checkpoint for sink in sinks if sink.checkpoint is not None), None)
    with resolving(sinks, batch_id) as watch:
        resolved = resolve(frame, batch_id, checkpoint=checkpoint)
        if accept is not None:
            accept(resolved)
        epochs = [resolved.epoch(sink.stream) for sink in sinks]
        fault("epoch-resolved")
    outcomes = [
        write_once(sink, epoch, prepare or _checked(frame), watch=watch.again(), behind=resolved.behind)
        for sink, epoch in zip(sinks, epochs, strict=True)
    ]
    if all(outcome == "skipped" for outcome in outcomes):
        resolved.feed_state()
    fault("function-done")
    return outcomes


def _checked(frame: DataFrame) -> Prepare[Any]:
    return lambda sink: nullcontext(sink.check(frame))


def write_once(
    sink: Sink[Work], epoch: Epoch, prepare: Prepare[Work], *, watch: Stopwatch | None = None, behind: Behind = dict
) -> Outcome:
    """Bring one epoch into one sink exactly once, and tell what became of it; :func:`run` apart from Spark."""
    with Report(sink, epoch.batch_id, watch or Stopwatch(), epoch=epoch, behind=behind) as report:
        decided = _decide(sink, epoch, report)
        if isinstance(decided, Skip):
            return _skip(sink, decided.entry, epoch, report)
        try:
            with report.step("check"):
                prepared = prepare(sink)
            with prepared as work, report.step("commit"):
                count = sink.commit(work, decided)
        except ForeachOnceError as error:
            return _settle(sink, error, epoch, report)
        committed = replace(decided, rows=count)
        report.tell("written", decided.decision, "written, %s rows (seq %d)", count, decided.seq, entry=committed)
        _warn_of_mismatch(decided)
        return "written"


def _decide(sink: Sink[Work], epoch: Epoch, report: Report) -> Skip | Entry:
    """The entry to write, as the holder of the stream; or that there is nothing to write."""
    with report.step("head"):
        found = sink.head(epoch)
    fault("head-read")
    while True:
        decision = decide(found.head, found.same_batch, epoch)
        if isinstance(decision, Skip):
            return decision
        why = _reason_to_refuse_or_write(sink, decision, epoch)
        if found.is_held:
            return Entry.next(found.head, epoch, sink=str(sink), versions=versions(), decision=why)
        # A refused epoch takes nothing over: a wrong checkpoint must not stop the run that is right.
        with report.step("take"):
            found = sink.take(epoch, found.head)
        fault("stream-taken")


def _settle(sink: Sink[Work], error: ForeachOnceError, epoch: Epoch, report: Report) -> Outcome:
    """Read the ledger again after a commit that failed, and believe it.

    The reply may be lost though the server has committed, or another run may have written the batch or taken the stream
    over; then that is what the user must hear. Otherwise the error stands. A commit that the server still carries out
    after this look does no harm: the entry is unique, so either it or the next attempt comes through, never both.
    """
    with report.step("head"):
        again = sink.head(epoch)
    decision = decide(again.head, again.same_batch, epoch)
    if isinstance(decision, Skip):
        found = decision.entry
        if found.run_id == epoch.run_id:
            text = "was committed though its reply was lost"
            report.tell("written", found.decision, text, entry=found, level=logging.WARNING)
            _warn_of_mismatch(found)
            return "written"
        return _skip(sink, found, epoch, report)
    if isinstance(decision, Refuse) and sink.on_mismatch == "raise":
        raise Mismatch(explain(decision, epoch)) from error
    # Where the user wanted the batch written in spite of a mismatch, the mismatch is no news.
    raise error


def _skip(sink: Sink[Work], entry: Entry, epoch: Epoch, report: Report) -> Outcome:
    # Spark runs a batch again in a new run only; the same run asks twice where a function calls two sinks.
    if entry.run_id == epoch.run_id and entry.sink != str(sink):
        raise Mismatch(
            f"stream {epoch.stream!r}: batch {epoch.batch_id} was just written to {entry.sink}, and is now to be written to "
            f"{sink} under the same stream name, where it would be skipped. Give each sink a stream= of its own."
        )
    report.tell("skipped", "replay", "skipped, it is in the ledger (seq %d)", entry.seq, entry=entry)
    return "skipped"


def _reason_to_refuse_or_write(sink: Sink[Work], decision: Write | Refuse, epoch: Epoch) -> str:
    """The decision's text for the entry; raises where neither the ledger nor the user wants the epoch written."""
    if isinstance(decision, Write):
        return "write"
    # A batch that has an entry cannot get a second one: only a new place in the chain can be chosen.
    if sink.on_mismatch == "raise" or decision.reason == "changed":
        raise Mismatch(explain(decision, epoch))
    return f"{ON_MISMATCH}: {decision.reason}"


def _warn_of_mismatch(committed: Entry) -> None:
    """Say in the log that a batch was written in spite of a mismatch; only once it is committed."""
    if committed.decision.startswith(ON_MISMATCH):
        where = (committed.stream, committed.batch_id, committed.seq)
        log.warning("stream %r: batch %d (seq %d) was written in spite of a mismatch: %s", *where, committed.decision)
