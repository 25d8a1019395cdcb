"""Who hears of each epoch besides the log.

Unless :func:`only` says otherwise, Prometheus and OpenTelemetry hear of it where ``prometheus_client`` and
``opentelemetry`` are installed; neither is imported before the first event. Observers belong to a process: the driver's, or
on Spark Connect that of the worker that runs the ``foreachBatch`` function.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from threading import Lock

from foreachonce.events import Event

log = logging.getLogger("foreachonce")

Observer = Callable[[Event], object]

# The bounds of histograms, in seconds: from a look at a ledger that is near to a batch that takes minutes.
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)

_lock = Lock()
_observers: tuple[Observer, ...] = ()
_lacks_defaults = True


def add(observer: Observer) -> None:
    """Let an observer hear of each epoch, besides those that do already.

    It is called with an :class:`~foreachonce.Event` in the thread that runs the batch, once the outcome is settled, so it
    should be quick. One that raises is logged and dropped; the batch does not notice.
    """
    global _observers
    with _lock:
        _observers = (*_observers, observer)


def only(*observers: Observer) -> None:
    """Let these observers hear of each epoch and nobody else, neither Prometheus nor OpenTelemetry."""
    global _observers, _lacks_defaults
    with _lock:
        _observers, _lacks_defaults = observers, False


def is_heard() -> bool:
    """Whether there is an observer."""
    _add_defaults()
    return bool(_observers)


def give(event: Event) -> None:
    """Give the event to each observer."""
    _add_defaults()
    for observer in _observers:
        try:
            observer(event)
        # Nothing is known of an observer's errors, and the batch is settled: raised here, Spark would run it again.
        except Exception:
            log.warning("the observer %r raised an error and hears of no further epoch", observer, exc_info=True)
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
