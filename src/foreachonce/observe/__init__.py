"""The event of each epoch: published once, to the log and to the observers.

Unless ``only()`` says otherwise, Prometheus and OpenTelemetry observe it where ``prometheus_client`` and
``opentelemetry`` are installed; neither is imported before the first event. Observers belong to a process: the driver's, or
on Spark Connect that of the worker that runs the ``foreachBatch`` function.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from threading import Lock
from types import TracebackType

from foreachonce.entry import Entry, Epoch
from foreachonce.events import Event, Outcome, Stopwatch, note_path, noted_path, outcome_of, reason_of

log = logging.getLogger("foreachonce")

Observer = Callable[[Event], object]

_LEVELS: Mapping[Outcome, int] = {
    "written": logging.INFO,
    "skipped": logging.INFO,
    "refused": logging.WARNING,
    "fenced": logging.WARNING,
    "failed": logging.ERROR,
}
_lock = Lock()
_observers: tuple[Observer, ...] = ()
_lacks_defaults = True


class Report:
    """The one event of an epoch in a sink: published by :meth:`publish`, or by the error that leaves the block.

    Args:
        stream: the stream's name; None where neither sink nor epoch has one.
        sink: the sink's description.
        batch_id: Spark's batch id.
        watch: has timed the steps so far, and times those that follow.
        epoch: the batch as an epoch; None while it is unknown.
        behind: gives the event's ``behind``; called only if somebody listens.
    """

    def __init__(
        self,
        stream: str | None,
        sink: str,
        batch_id: int,
        watch: Stopwatch,
        *,
        epoch: Epoch | None = None,
        behind: Callable[[], Mapping[str, int | None]] = dict,
    ) -> None:
        self.sink = sink
        self._stream, self._batch_id, self._epoch, self._behind = stream, batch_id, epoch, behind
        self._watch = watch
        self.step = watch.step
        self._is_published = False

    def __enter__(self) -> Report:
        note_path(None)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is not None and not self._is_published:
            outcome, reason = outcome_of(error), reason_of(error)
            self.publish(outcome, reason, f"{outcome}: {reason}")

    def written(self, entry: Entry, text: str, *, level: int = logging.INFO) -> None:
        """Publish that the batch is committed.

        Two more warnings: a batch written in spite of a mismatch, and a new stream's first batch under a checkpoint that
        has finished others, whose rows are elsewhere.
        """
        self.publish("written", str(entry.decision), text, entry=entry, level=level)
        if entry.decision.kind == "on_mismatch":
            where = (entry.stream, entry.batch_id, entry.seq)
            log.warning("stream %r: batch %d (seq %d) was written in spite of a mismatch: %s", *where, entry.decision)
        if entry.begins_late:
            log.warning(
                "stream %r: it is new to this ledger, but its checkpoint has finished batches up to %d. Their rows are not "
                "in this sink, unless a job without this library wrote them.",
                entry.stream,
                entry.batch_id - 1,
            )

    def publish(
        self, outcome: Outcome, reason: str, text: str, *, entry: Entry | None = None, level: int | None = None
    ) -> None:
        """Log ``text`` with the event on its record, and give the event to each observer.

        Args:
            outcome, reason: as in the event.
            text: what the log says of the batch.
            entry: the batch's, if it has one.
            level: of the log's record; None takes the outcome's.
        """
        self._is_published = True
        level = _LEVELS[outcome] if level is None else level
        if not (log.isEnabledFor(level) or is_observed()):
            return
        event = self._event(outcome, reason, entry)
        extra = {"foreachonce": event.flat()}
        log.log(level, "stream %r: batch %d %s", event.stream, event.batch_id, text, extra=extra)
        _give(event)

    def _event(self, outcome: Outcome, reason: str, entry: Entry | None) -> Event:
        epoch = self._epoch
        return Event(
            stream=self._stream,
            outcome=outcome,
            batch_id=self._batch_id,
            query_id=None if epoch is None else epoch.query_id,
            run_id=None if epoch is None else epoch.run_id,
            seq=None if entry is None else entry.seq,
            rows=None if entry is None else entry.rows,
            seconds=self._watch.seconds,
            behind=self._behind(),
            reason=reason,
            sink=self.sink,
            path=noted_path(),
        )


def add(observer: Observer) -> None:
    """Add an observer of each epoch, besides those there are.

    It is called with an [`Event`][foreachonce.Event] in the thread that runs the batch, once the outcome is settled, so it
    should be quick. One that raises is logged and dropped; the batch does not notice.

    Args:
        observer: a function of one event; what it returns is ignored.
    """
    global _observers
    with _lock:
        _observers = (*_observers, observer)


def only(*observers: Observer) -> None:
    """Let these observers alone observe each epoch, neither Prometheus nor OpenTelemetry.

    Args:
        *observers: functions of one event; none switches observation off.
    """
    global _observers, _lacks_defaults
    with _lock:
        _observers, _lacks_defaults = observers, False


def is_observed() -> bool:
    """Whether there is an observer."""
    if _lacks_defaults:
        _add_defaults()
    return bool(_observers)


def _give(event: Event) -> None:
    if _lacks_defaults:
        _add_defaults()
    for observer in _observers:
        try:
            observer(event)
        # Nothing is known of an observer's errors, and the batch is settled: raised here, Spark would run it again.
        except Exception:
            log.warning("the observer %r raised an error and was removed", observer, exc_info=True)
            _drop(observer)


def _add_defaults() -> None:
    global _observers, _lacks_defaults
    with _lock:
        if _lacks_defaults:
            _observers, _lacks_defaults = (*_installed(), *_observers), False


def _installed() -> Iterator[Observer]:
    for load in (_prometheus, _opentelemetry):
        try:
            yield load()
        except ModuleNotFoundError:
            continue
        # As for an observer that raises: a package that is damaged or too old must not stop a batch.
        except Exception:
            log.warning("%s cannot be used", load.__name__.strip("_"), exc_info=True)


def _prometheus() -> Observer:
    from foreachonce.observe.prometheus import PrometheusObserver

    return PrometheusObserver()


def _opentelemetry() -> Observer:
    from foreachonce.observe.opentelemetry import OpenTelemetryObserver

    return OpenTelemetryObserver()


def _drop(observer: Observer) -> None:
    global _observers
    with _lock:
        _observers = tuple(other for other in _observers if other is not observer)
