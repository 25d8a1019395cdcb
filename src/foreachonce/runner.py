"""The way of every epoch: resolve, look at the ledger, decide, commit, and report the outcome."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from foreachonce.decide import Refuse, Skip, Write, decide, explain
from foreachonce.entry import WRITE, Decision, Entry, Epoch
from foreachonce.errors import ForeachOnceError, Mismatch
from foreachonce.events import Stopwatch
from foreachonce.faults import Point, fault
from foreachonce.observe import Report
from foreachonce.sink import Sink
from foreachonce.spark.resolve import Resolved, resolve

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

log = logging.getLogger("foreachonce")

# The fault points that every sink passes, in order.
POINTS_BEFORE: tuple[Point, ...] = ("epoch-resolved", "head-read", "stream-taken")
POINTS_AFTER: tuple[Point, ...] = ("function-done",)

Outcome = Literal["written", "skipped"]
Behind = Callable[[], Mapping[str, int | None]]
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
        ForeachOnceError: anything else that stopped it; nothing was written there, or the ledger shows what was.
    """
    checkpoint = next((sink.checkpoint for sink in sinks if sink.checkpoint is not None), None)
    with _resolving(sinks, batch_id) as watch:
        batch = resolve(frame, batch_id, checkpoint=checkpoint)
        if accept is not None:
            accept(batch)
        epochs = [batch.epoch(sink.stream) for sink in sinks]
        fault("epoch-resolved")
    if prepare is None:
        prepare = _checked(frame)
    outcomes: list[Outcome] = []
    for sink, epoch in zip(sinks, epochs, strict=True):
        outcomes.append(write_once(sink, epoch, prepare, watch=watch.again(), behind=batch.behind))
    if "written" not in outcomes:
        batch.feed_state()
    fault("function-done")
    return outcomes


@contextmanager
def _resolving(sinks: Sequence[Sink[Any]], batch_id: int) -> Iterator[Stopwatch]:
    """Time what the sinks of a batch have in common; an error there is the outcome for each of them."""
    watch = Stopwatch()
    with ExitStack() as reports:
        for sink in sinks:
            reports.enter_context(Report(sink.stream, str(sink), batch_id, watch))
        with watch.step("resolve"):
            yield watch


def _checked(frame: DataFrame) -> Prepare[Any]:
    return lambda sink: nullcontext(sink.check(frame))


def write_once(
    sink: Sink[Work], epoch: Epoch, prepare: Prepare[Work], *, watch: Stopwatch | None = None, behind: Behind = dict
) -> Outcome:
    """Bring one epoch into one sink exactly once, and report the outcome; :func:`run` apart from Spark."""
    with Report(epoch.stream, str(sink), epoch.batch_id, watch or Stopwatch(), epoch=epoch, behind=behind) as report:
        decided = _decide(sink, epoch, report)
        if isinstance(decided, Skip):
            return _skip(sink, decided.entry, epoch, report)
        try:
            with report.step("check"):
                prepared = prepare(sink)
            with prepared as work, report.step("commit"):
                rows = sink.commit(work, decided)
        except ForeachOnceError as error:
            return _settle(sink, error, epoch, report)
        report.written(replace(decided, rows=rows), f"written, {rows} rows (seq {decided.seq})")
        return "written"


def _decide(sink: Sink[Work], epoch: Epoch, report: Report) -> Skip | Entry:
    """The entry to write, as the holder of the stream; or a skip."""
    with report.step("head"):
        state = sink.ledger.look(epoch)
    fault("head-read")
    while True:
        verdict = decide(state.head, state.same_batch, epoch)
        if isinstance(verdict, Skip):
            return verdict
        why = _why(sink, verdict, epoch)
        if state.is_held:
            return Entry.next(state.head, epoch, sink=report.sink, decision=why)
        # A refused epoch takes nothing over: a wrong checkpoint must not stop the run that is right.
        with report.step("take"):
            state = sink.ledger.take(epoch, state.head)
            if state.is_held:
                sink.begin_run(epoch)
        fault("stream-taken")


def _settle(sink: Sink[Work], error: ForeachOnceError, epoch: Epoch, report: Report) -> Outcome:
    """Read the ledger again after a commit that failed, and believe it.

    The reply may be lost though the server has committed, or another run may have written the batch or taken the stream
    over; then that is what the user must learn. Otherwise the error stands. A commit that the server still carries out
    after this look does no harm: the entry is unique, so either it or the next attempt comes through, never both.
    """
    with report.step("head"):
        state = sink.ledger.look(epoch)
    verdict = decide(state.head, state.same_batch, epoch)
    if isinstance(verdict, Skip):
        entry = verdict.entry
        if entry.run_id != epoch.run_id:
            return _skip(sink, entry, epoch, report)
        report.written(entry, "was committed though its reply was lost", level=logging.WARNING)
        return "written"
    if isinstance(verdict, Refuse) and sink.on_mismatch == "raise":
        raise Mismatch(explain(verdict, epoch)) from error
    # Where the user wanted the batch written in spite of a mismatch, the mismatch is no news.
    raise error


def _skip(sink: Sink[Work], entry: Entry, epoch: Epoch, report: Report) -> Outcome:
    # Spark runs a batch again in a new run only; the same run comes twice where a function calls two sinks.
    if entry.run_id == epoch.run_id and entry.sink != str(sink):
        raise Mismatch(
            f"stream {epoch.stream!r}: batch {epoch.batch_id} was just written to {entry.sink}, and is now to be written to "
            f"{sink} under the same stream name, where it would be skipped. Give each sink a stream= of its own."
        )
    report.publish("skipped", "replay", f"skipped, it is in the ledger (seq {entry.seq})", entry=entry)
    return "skipped"


def _why(sink: Sink[Work], verdict: Write | Refuse, epoch: Epoch) -> Decision:
    """The decision of the entry; raises where neither the ledger nor the user wants the epoch written."""
    if isinstance(verdict, Write):
        return WRITE
    # A batch that has an entry cannot get a second one: only a new place in the chain can be chosen.
    if sink.on_mismatch == "raise" or verdict.reason == "changed":
        raise Mismatch(explain(verdict, epoch))
    return Decision("on_mismatch", verdict.reason)
