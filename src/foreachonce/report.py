"""The event of one epoch and one sink, told once: in the log and to the observers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Any

from foreachonce import observe
from foreachonce.entry import Entry
from foreachonce.epoch import Epoch
from foreachonce.events import Event, Outcome, outcome_of, reason_of
from foreachonce.sink import Sink
from foreachonce.stopwatch import Stopwatch

log = logging.getLogger("foreachonce")

Behind = Callable[[], Mapping[str, int | None]]

_LEVELS: dict[Outcome, int] = {
    "written": logging.INFO,
    "skipped": logging.INFO,
    "refused": logging.WARNING,
    "fenced": logging.WARNING,
    "failed": logging.ERROR,
}


class Report:
    """What becomes of an epoch in a sink, told once: by :meth:`tell`, or by the error that leaves the block.

    Args:
        sink: where to.
        batch_id: Spark's batch id.
        watch: has timed the steps so far, and times those that follow.
        epoch: the batch as an epoch; None while it is not known.
        behind: gives the event's ``behind``; asked only if somebody listens.
    """

    def __init__(
        self, sink: Sink[Any], batch_id: int, watch: Stopwatch, *, epoch: Epoch | None = None, behind: Behind = dict
    ) -> None:
        self._sink, self._batch_id, self._epoch, self._behind = sink, batch_id, epoch, behind
        self._watch = watch
        self.step = watch.step
        self._is_told = False

    def __enter__(self) -> Report:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is not None and not self._is_told:
            outcome, reason = outcome_of(error), reason_of(error)
            self.tell(outcome, reason, f"{outcome}: %s", reason)

    def tell(
        self,
        outcome: Outcome,
        reason: str,
        text: str,
        *values: object,
        entry: Entry | None = None,
        level: int | None = None,
    ) -> None:
        """Log ``text`` with the event on its record, and give the event to each observer.

        Args:
            outcome: what became of the epoch.
            reason: as in the event.
            text: what the log says of the batch; ``values`` are put in.
            entry: the batch's, if it has one.
            level: of the log's record; None takes the outcome's.
        """
        self._is_told = True
        level = _LEVELS[outcome] if level is None else level
        if not (log.isEnabledFor(level) or observe.is_heard()):
            return
        event = self._event(outcome, reason, entry)
        extra = {"foreachonce": event.flat()}
        log.log(level, f"stream %r: batch %d {text}", event.stream, event.batch_id, *values, extra=extra)
        observe.give(event)

    def _event(self, outcome: Outcome, reason: str, entry: Entry | None) -> Event:
        epoch = self._epoch
        return Event(
            stream=self._sink.stream if epoch is None else epoch.stream,
            outcome=outcome,
            batch_id=self._batch_id,
            query_id=None if epoch is None else epoch.query_id,
            run_id=None if epoch is None else epoch.run_id,
            seq=None if entry is None else entry.seq,
            rows=None if entry is None else entry.rows,
            seconds=self._watch.seconds,
            behind=self._behind(),
            reason=reason,
            sink=str(self._sink),
        )


@contextmanager
def resolving(sinks: Sequence[Sink[Any]], batch_id: int) -> Iterator[Stopwatch]:
    """Time what the sinks of a batch have in common; an error there is the outcome for each of them."""
    watch = Stopwatch()
    with ExitStack() as reports:
        for sink in sinks:
            reports.enter_context(Report(sink, batch_id, watch))
        with watch.step("resolve"):
            yield watch
