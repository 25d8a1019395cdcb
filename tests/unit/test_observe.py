"""What Prometheus and OpenTelemetry are told of an epoch, and that the board in docs/ asks for what is there."""

from __future__ import annotations

import json
import re
import time
from dataclasses import replace
from pathlib import Path

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from prometheus_client import CollectorRegistry

from foreachonce.events import BUCKETS, OUTCOMES, Event
from foreachonce.observe.opentelemetry import OpenTelemetryObserver
from foreachonce.observe.prometheus import PrometheusObserver

BOARD = Path(__file__).parents[2] / "docs/grafana.json"
SUFFIX = re.compile("_(bucket|sum|count|created)$")

WRITTEN = Event(
    stream="s",
    outcome="written",
    batch_id=7,
    query_id="query-1",
    run_id="run-1",
    seq=5,
    rows=1000,
    seconds={"head": 0.02, "commit": 0.2, "total": 0.25},
    behind={"0": 400, "1": None},
    reason="write",
    sink="a sink",
)
SKIPPED = replace(WRITTEN, outcome="skipped", seq=3, behind={"0": 0})
REFUSED = replace(WRITTEN, outcome="refused", seq=None, rows=None, behind={}, reason="Mismatch: no")
FUNCTION = replace(WRITTEN, stream="f", rows=None)


# --- Prometheus -----------------------------------------------------------------------------------------------------


@pytest.fixture
def registry():
    return CollectorRegistry()


def test_prometheus_counts_epochs_and_the_rows_of_written_ones(registry):
    observer = PrometheusObserver(registry)
    for event in (WRITTEN, WRITTEN, SKIPPED, REFUSED):
        observer(event)
    epochs = {
        outcome: registry.get_sample_value("foreachonce_epochs_total", {"stream": "s", "outcome": outcome})
        for outcome in OUTCOMES
    }
    assert epochs == {"written": 2, "skipped": 1, "refused": 1, "fenced": 0, "failed": 0}
    assert registry.get_sample_value("foreachonce_rows_total", {"stream": "s"}) == 2000


def test_prometheus_knows_head_time_and_lag(registry):
    observer = PrometheusObserver(registry)
    for event in (WRITTEN, SKIPPED):
        observer(event)
    assert registry.get_sample_value("foreachonce_head_seq", {"stream": "s"}) == 5
    written = registry.get_sample_value("foreachonce_last_written_timestamp_seconds", {"stream": "s"})
    assert time.time() - 60 < written <= time.time()
    assert registry.get_sample_value("foreachonce_behind_records", {"stream": "s", "source": "0"}) == 0
    assert registry.get_sample_value("foreachonce_behind_records", {"stream": "s", "source": "1"}) is None


def test_prometheus_measures_the_steps(registry):
    PrometheusObserver(registry)(WRITTEN)
    labels = {"stream": "s", "step": "commit"}
    assert registry.get_sample_value("foreachonce_step_seconds_sum", labels) == 0.2
    assert registry.get_sample_value("foreachonce_step_seconds_bucket", {**labels, "le": "0.1"}) == 0
    assert registry.get_sample_value("foreachonce_step_seconds_bucket", {**labels, "le": "0.25"}) == 1


def test_prometheus_takes_what_is_not_known(registry):
    observer = PrometheusObserver(registry)
    observer(FUNCTION)
    observer(replace(REFUSED, stream=None))
    assert registry.get_sample_value("foreachonce_rows_total", {"stream": "f"}) == 0
    assert registry.get_sample_value("foreachonce_epochs_total", {"stream": "", "outcome": "refused"}) == 1


def test_two_observers_of_one_registry_share_its_metrics(registry):
    for observer in (PrometheusObserver(registry), PrometheusObserver(registry)):
        observer(WRITTEN)
    assert registry.get_sample_value("foreachonce_rows_total", {"stream": "s"}) == 2000


# --- OpenTelemetry --------------------------------------------------------------------------------------------------


def measured(*events):
    """By metric the points, and the spans."""
    reader, exporter = InMemoryMetricReader(), InMemorySpanExporter()
    tracers = TracerProvider()
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    observer = OpenTelemetryObserver(MeterProvider([reader]), tracers)
    for event in events:
        observer(event)
    (resource,) = reader.get_metrics_data().resource_metrics
    found = {metric.name: metric for scope in resource.scope_metrics for metric in scope.metrics}
    return found, exporter.get_finished_spans()


def points(metric):
    return {tuple(point.attributes.values()): point for point in metric.data.data_points}


def test_opentelemetry_counts_and_measures_the_same():
    metrics, _ = measured(WRITTEN, WRITTEN, SKIPPED, REFUSED)
    epochs = {key: point.value for key, point in points(metrics["foreachonce.epochs"]).items()}
    assert epochs == {
        ("s", "written"): 2, ("s", "skipped"): 1, ("s", "refused"): 1, ("s", "fenced"): 0, ("s", "failed"): 0,
    }  # fmt: skip
    assert points(metrics["foreachonce.rows"])["s",].value == 2000
    assert points(metrics["foreachonce.step"])["s", "commit"].sum == pytest.approx(0.8)
    assert points(metrics["foreachonce.step"])["s", "commit"].explicit_bounds == BUCKETS
    assert points(metrics["foreachonce.head_seq"])["s",].value == 5
    assert time.time() - 60 < points(metrics["foreachonce.last_written_timestamp"])["s",].value <= time.time()
    assert {key: point.value for key, point in points(metrics["foreachonce.behind_records"]).items()} == {("s", "0"): 0}


def test_opentelemetry_takes_what_is_not_known(caplog):
    metrics, spans = measured(FUNCTION, replace(REFUSED, stream=None))
    assert points(metrics["foreachonce.rows"])["f",].value == 0
    assert ("", "refused") in points(metrics["foreachonce.epochs"])
    assert spans[1].name == "foreachonce epoch"
    assert "foreachonce.rows" not in spans[1].attributes
    assert caplog.records == []


def test_opentelemetry_has_a_span_as_long_as_the_epoch():
    _, (written, refused) = measured(WRITTEN, REFUSED)
    assert (written.end_time - written.start_time) / 1e9 == pytest.approx(0.25)
    assert (written.name, written.attributes["foreachonce.seq"]) == ("foreachonce s", 5)
    assert written.status.status_code is StatusCode.UNSET
    assert (refused.status.status_code, refused.status.description) == (StatusCode.ERROR, "Mismatch: no")


def test_opentelemetry_exported_to_prometheus_has_the_same_names(registry):
    metrics, _ = measured(WRITTEN)
    exported = {name.replace(".", "_") + ("_seconds" if metric.unit == "s" else "") for name, metric in metrics.items()}
    assert exported == {family.name for family in told(registry)}


# --- the board ------------------------------------------------------------------------------------------------------


def told(registry):
    """The metrics of an epoch, as Prometheus reads them."""
    PrometheusObserver(registry)(WRITTEN)
    return list(registry.collect())


def expressions(board):
    targets = [target for panel in board["panels"] for target in panel.get("targets", [])]
    variables = [variable["definition"] for variable in board["templating"]["list"] if variable["type"] == "query"]
    return [target["expr"] for target in targets] + variables


def test_board_asks_for_metrics_that_are_there(registry):
    samples = {sample.name for family in told(registry) for sample in family.samples}
    asked = {name for text in expressions(json.loads(BOARD.read_text())) for name in re.findall(r"foreachonce_\w+", text)}
    assert asked <= samples
    assert len({SUFFIX.sub("", name) for name in asked}) == 5


def test_board_asks_for_labels_and_steps_that_are_there(registry):
    labels = {label for family in told(registry) for sample in family.samples for label in sample.labels}
    board = json.loads(BOARD.read_text())
    asked = {name for text in expressions(board) for name in re.findall(r"[{,]\s*(\w+)\s*[=!]~?=?", text)}
    grouped = {name for text in expressions(board) for by in re.findall(r"by \(([^)]*)\)", text) for name in by.split(", ")}
    assert asked
    assert asked | grouped <= labels
