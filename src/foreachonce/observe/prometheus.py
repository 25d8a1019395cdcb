"""Each epoch as Prometheus metrics, by ``prometheus_client``.

The process's own registry has them; to let Prometheus read it is the user's: ``prometheus_client.start_http_server(port)``.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from foreachonce.events import BUCKETS, OUTCOMES, Event


class Metrics(NamedTuple):
    """What one registry has of this library."""

    epochs: Counter
    rows: Counter
    seconds: Histogram
    head: Gauge
    written: Gauge
    behind: Gauge


@cache
def metrics(registry: CollectorRegistry) -> Metrics:
    """The registry's metrics, made once: it refuses two of a name."""
    return Metrics(
        Counter("foreachonce_epochs_total", "Epochs, by what became of them.", ("stream", "outcome"), registry=registry),
        Counter("foreachonce_rows_total", "Rows that were written.", ("stream",), registry=registry),
        Histogram(
            "foreachonce_step_seconds",
            "How long the steps of an epoch take.",
            ("stream", "step"),
            registry=registry,
            buckets=BUCKETS,
        ),
        Gauge("foreachonce_head_seq", "The newest entry that was written.", ("stream",), registry=registry),
        Gauge(
            "foreachonce_last_written_timestamp_seconds",
            "When an epoch was written last.",
            ("stream",),
            registry=registry,
        ),
        Gauge(
            "foreachonce_behind_records",
            "At most how many records the source had beyond the newest batch's end.",
            ("stream", "source"),
            registry=registry,
        ),
    )


class PrometheusObserver:
    """Counts each epoch in a registry.

    Args:
        registry: where the metrics are; by default the one that ``prometheus_client`` gives out.
    """

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self._metrics = metrics(registry)

    def __call__(self, event: Event) -> None:
        """Count an epoch."""
        metrics, stream = self._metrics, event.stream or ""
        # Each outcome is there from the first epoch on: Prometheus sees no increase in a series that begins with 1.
        for outcome in OUTCOMES:
            metrics.epochs.labels(stream, outcome).inc(outcome == event.outcome)
        for step, seconds in event.seconds.items():
            metrics.seconds.labels(stream, step).observe(seconds)
        for source, records in event.behind.items():
            if records is not None:
                metrics.behind.labels(stream, source).set(records)
        if event.outcome == "written":
            metrics.rows.labels(stream).inc(event.rows or 0)
            metrics.head.labels(stream).set(event.seq or 0)
            metrics.written.labels(stream).set_to_current_time()
