"""Each epoch as OpenTelemetry metrics and a span, by its API; where no SDK is set up, the API drops them.

Exported to Prometheus the metrics have the names of :mod:`foreachonce.observe.prometheus`.
"""

from __future__ import annotations

from time import time, time_ns

from opentelemetry import metrics, trace
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import Status, StatusCode, TracerProvider

from foreachonce.events import BUCKETS, OUTCOMES, Event

NAME = "foreachonce"


class OpenTelemetryObserver:
    """Measures each epoch, and gives a span for it.

    Args:
        meters, tracers: where to; by default the providers that the process has set.
    """

    def __init__(self, meters: MeterProvider | None = None, tracers: TracerProvider | None = None) -> None:
        meter = metrics.get_meter(NAME, meter_provider=meters)
        self._tracer = trace.get_tracer(NAME, tracer_provider=tracers)
        self._epochs = meter.create_counter("foreachonce.epochs", "{epoch}", "Epochs, by what became of them.")
        self._rows = meter.create_counter("foreachonce.rows", "{row}", "Rows that were written.")
        self._seconds = meter.create_histogram(
            "foreachonce.step", "s", "How long the steps of an epoch take.", explicit_bucket_boundaries_advisory=BUCKETS
        )
        self._head = meter.create_gauge("foreachonce.head_seq", "{entry}", "The newest entry that was written.")
        self._written = meter.create_gauge(
            "foreachonce.last_written_timestamp", "s", "When an epoch was written last, in Unix time."
        )
        self._behind = meter.create_gauge(
            "foreachonce.behind_records",
            "{record}",
            "At most how many records the source had beyond the newest batch's end.",
        )

    def __call__(self, event: Event) -> None:
        """Measure an epoch."""
        stream = {"stream": event.stream or ""}
        # Each outcome is there from the first epoch on: Prometheus sees no increase in a series that begins with 1.
        for outcome in OUTCOMES:
            self._epochs.add(int(outcome == event.outcome), {**stream, "outcome": outcome})
        for step, seconds in event.seconds.items():
            self._seconds.record(seconds, {**stream, "step": step})
        for source, records in event.behind.items():
            if records is not None:
                self._behind.set(records, {**stream, "source": source})
        if event.outcome == "written":
            self._rows.add(event.rows or 0, stream)
            self._head.set(event.seq or 0, stream)
            self._written.set(time(), stream)
        self._span(event)

    def _span(self, event: Event) -> None:
        """A span that ends now and began when the epoch did."""
        end = time_ns()
        span = self._tracer.start_span(
            f"{NAME} {event.stream or 'epoch'}",
            start_time=end - int(event.seconds["total"] * 1e9),
            attributes={f"{NAME}.{name}": value for name, value in event.flat().items() if value is not None},
        )
        if event.outcome not in ("written", "skipped"):
            span.set_status(Status(StatusCode.ERROR, event.reason))
        span.end(end)
