"""Every epoch is told once, whatever becomes of it, and whoever listens cannot harm it."""

from __future__ import annotations

import json
import logging
import sys
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import sqlalchemy as sa

from foreachonce import EpochError, Fenced, Mismatch, SqlLedger, exactly_once, observe
from foreachonce.errors import hide_credentials
from foreachonce.events import STEPS, Event, Stopwatch, reason_of
from foreachonce.observe import Report
from foreachonce.runner import run, write_once
from tests.unit.builders import epoch
from tests.unit.test_model import ListSink

LOGGER = logging.getLogger("foreachonce")


@pytest.fixture(autouse=True)
def observers(monkeypatch):
    """Nobody listens; what a test says of it is forgotten."""
    monkeypatch.setattr(observe, "_observers", ())
    monkeypatch.setattr(observe, "_lacks_defaults", False)


@pytest.fixture
def heard():
    events: list[Event] = []
    observe.add(events.append)
    return events


@pytest.fixture
def sink(sqlite_url):
    engine = sa.create_engine(sqlite_url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.execute(sa.text("create table numbers (n bigint)"))
    return ListSink(SqlLedger(sqlite_url))


def write(sink, batch, **keywords):
    return write_once(sink, batch, lambda sink: nullcontext(sink.check(range(3))), **keywords)


def second(**changed):
    return epoch(4, 6, batch_id=1, **changed)


def told(caplog):
    """The events on the log's records."""
    return [(record.levelname, record.foreachonce) for record in caplog.records if hasattr(record, "foreachonce")]


def raised(kind, sink, batch):
    with pytest.raises(kind) as caught:
        write(sink, batch)
    return caught.value


# --- one event for each outcome -------------------------------------------------------------------------------------


def test_written_epoch(sink, heard):
    write(sink, epoch(None, 4))
    (event,) = heard
    assert (event.stream, event.outcome, event.batch_id) == ("s", "written", 0)
    assert (event.query_id, event.run_id) == ("query-1", "run-1")
    assert (event.seq, event.rows, event.reason, event.sink) == (0, 3, "write", "numbers")


def test_skipped_epoch_has_the_rows_that_were_written_before(sink, heard):
    write(sink, epoch(None, 4))
    write(sink, epoch(None, 4, run_id="run-2"))
    event = heard[1]
    assert (event.outcome, event.run_id, event.seq, event.rows, event.reason) == ("skipped", "run-2", 0, 3, "replay")
    assert set(event.seconds) == {"head", "total"}


def test_refused_epoch(sink, heard):
    write(sink, epoch(None, 4))
    raised(Mismatch, sink, epoch(None, 2, query_id="query-2", run_id="run-2"))
    event = heard[1]
    assert (event.outcome, event.seq, event.rows) == ("refused", None, None)
    assert event.reason.startswith("Mismatch: stream 's': batch 0 is refused")
    assert "\n" not in event.reason


def test_fenced_epoch(sink, heard):
    write(sink, epoch(None, 4))
    write(sink, second(run_id="run-2"))
    raised(Fenced, sink, epoch(6, 8, batch_id=2))
    assert [event.outcome for event in heard] == ["written", "written", "fenced"]
    assert heard[2].reason.startswith("Fenced: ")


def test_failed_epoch_raises_the_error_itself(sink, heard, monkeypatch):
    error = ValueError("no such number\nand more")

    def commit(rows, entry):
        raise error

    monkeypatch.setattr(sink, "commit", commit)
    assert raised(ValueError, sink, epoch(None, 4)) is error
    (event,) = heard
    assert (event.outcome, event.reason, event.seq, event.rows) == ("failed", "ValueError: no such number", None, None)
    assert {"check", "commit"} <= set(event.seconds)


def test_lost_reply_is_one_written_epoch(sink, heard):
    sink.crash = "lost reply"
    write(sink, epoch(None, 4))
    assert [(event.outcome, event.seq, event.rows) for event in heard] == [("written", 0, 3)]


def test_function_that_no_transaction_covers(sqlite_url, heard):
    called = []

    @exactly_once(ledger=sqlite_url, stream="f")
    def push(frame, batch_id):
        called.append(batch_id)

    write(push, epoch(None, 4, stream="f"))
    write(push, epoch(None, 4, stream="f", run_id="run-2"))
    assert called == [0]
    assert [(event.outcome, event.seq, event.rows) for event in heard] == [("written", 0, None), ("skipped", 0, None)]


def test_batch_that_spark_does_not_tell_has_failed_for_each_sink(sink, heard):
    with pytest.raises(EpochError):
        run([sink, SimpleNamespace(stream=None, checkpoint=None)], SimpleNamespace(isStreaming=True), 7)
    assert {(event.outcome, event.batch_id, event.query_id) for event in heard} == {("failed", 7, None)}
    assert {event.stream for event in heard} == {"s", None}
    assert all(set(event.seconds) == {"resolve", "total"} for event in heard)


def test_epoch_that_was_told_is_not_told_again_by_an_error(sink, heard):
    def tell_and_raise():
        with Report(sink.stream, str(sink), 0, Stopwatch(), epoch=epoch(None, 4)) as report:
            report.publish("skipped", "replay", "skipped")
            raise ValueError("later")

    with pytest.raises(ValueError, match="later"):
        tell_and_raise()
    assert [event.outcome for event in heard] == ["skipped"]


# --- the steps' seconds ---------------------------------------------------------------------------------------------


def test_first_write_takes_every_step(sink, heard):
    watch = Stopwatch()
    with watch.step("resolve"):
        pass
    write(sink, epoch(None, 4), watch=watch)
    assert set(heard[0].seconds) == set(STEPS)


def test_total_holds_the_steps(sink, heard):
    write(sink, epoch(None, 4))
    seconds = dict(heard[0].seconds)
    total = seconds.pop("total")
    assert 0 < sum(seconds.values()) <= total


def test_step_that_is_taken_twice_takes_as_long_as_both(monkeypatch):
    now = iter([0, 1, 3, 10, 14, 20])
    monkeypatch.setattr("foreachonce.events.perf_counter", lambda: next(now))
    watch = Stopwatch()
    for _ in range(2):
        with watch.step("head"):
            pass
    assert watch.seconds == {"head": 6, "total": 20}


def test_second_sink_shares_what_was_resolved_and_nothing_else(monkeypatch):
    now = iter([0, 0, 2, 50, 51])
    monkeypatch.setattr("foreachonce.events.perf_counter", lambda: next(now))
    watch = Stopwatch()
    with watch.step("resolve"):
        pass
    assert watch.again().seconds == {"resolve": 2, "total": 3}


# --- the log --------------------------------------------------------------------------------------------------------


def test_record_in_the_log_reads_as_ever_and_has_the_event(sink, caplog):
    caplog.set_level(logging.INFO, "foreachonce")
    write(sink, epoch(None, 4))
    (record,) = caplog.records
    assert record.getMessage() == "stream 's': batch 0 written, 3 rows (seq 0)"
    assert record.foreachonce["outcome"] == "written"
    assert json.loads(json.dumps(record.foreachonce)) == record.foreachonce


def test_what_goes_wrong_is_louder(sink, caplog, monkeypatch):
    caplog.set_level(logging.INFO, "foreachonce")
    write(sink, epoch(None, 4))
    write(sink, epoch(None, 4, run_id="run-2"))
    raised(Mismatch, sink, epoch(None, 2, query_id="query-2", run_id="run-2"))
    write(sink, second(run_id="run-3"))
    raised(Fenced, sink, epoch(6, 8, batch_id=2))
    monkeypatch.setattr(sink, "check", lambda rows: [][1])
    raised(IndexError, sink, epoch(6, 8, batch_id=2, run_id="run-3"))
    assert [(level, event["outcome"]) for level, event in told(caplog)] == [
        ("INFO", "written"), ("INFO", "skipped"), ("WARNING", "refused"),
        ("INFO", "written"), ("WARNING", "fenced"), ("ERROR", "failed"),
    ]  # fmt: skip


def test_epoch_with_two_records_in_the_log_has_its_event_on_one(sink, caplog):
    write(sink, epoch(None, 4))
    sink.on_mismatch, sink.crash = "write", "lost reply"
    write(sink, epoch(None, 2, query_id="query-2", run_id="run-2"))
    assert len(caplog.records) == 2
    assert [event["reason"] for _, event in told(caplog)] == ["on_mismatch=write: behind"]


@pytest.mark.parametrize(("batch_id", "warnings"), [(0, 0), (3, 1)])
def test_new_stream_under_a_checkpoint_that_has_finished_batches_is_a_warning(sink, caplog, batch_id, warnings):
    write(sink, epoch(None, 4, batch_id=batch_id))
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(said) == warnings
    assert all("its checkpoint has finished batches up to 2" in text for text in said)


def test_flat_event_is_of_one_level(sink, heard):
    write(sink, epoch(None, 4), behind=lambda: {"0": 17, "1": None})
    flat = heard[0].flat()
    assert (flat["behind_0"], flat["behind_1"]) == (17, None)
    assert flat["seconds_commit"] == pytest.approx(heard[0].seconds["commit"], abs=1e-6)
    assert all(value is None or isinstance(value, str | int | float) for value in flat.values())


# --- no secrets -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [
    "cannot reach postgresql://app:hunter2@db/shop",
    "cannot reach https://app:hunter2/@:x@db/shop?a=b now",
    "FATAL: dbname=shop password=hunter2 user=app",
    "jdbc:mysql://db/shop?user=app&PASSWORD=hunter2&x=1",
])  # fmt: skip
def test_error_of_a_users_function_shows_no_password(text):
    assert "hunter2" not in reason_of(RuntimeError(text))
    assert "***" in reason_of(RuntimeError(text))


def test_text_without_a_password_is_left_alone():
    text = "see https://spark.apache.org:443/docs, or write to a@b"
    assert hide_credentials(text) == text


# --- who listens ----------------------------------------------------------------------------------------------------


def test_observer_that_raises_is_logged_once_and_breaks_nothing(sink, caplog):
    events = []

    def broken(event):
        raise ZeroDivisionError

    observe.only(broken, events.append)
    assert write(sink, epoch(None, 4)) == "written"
    assert write(sink, second()) == "written"
    assert [event.seq for event in events] == [0, 1]
    (record,) = caplog.records
    assert "broken" in record.getMessage()
    assert record.exc_info[0] is ZeroDivisionError


def test_lag_is_asked_for_only_if_somebody_listens(sink):
    def behind():
        raise AssertionError("asked")

    level = LOGGER.level
    LOGGER.setLevel(logging.WARNING)
    try:
        write(sink, epoch(None, 4), behind=behind)
    finally:
        LOGGER.setLevel(level)
    observe.only(lambda event: None)
    with pytest.raises(AssertionError, match="asked"):
        write(sink, second(), behind=behind)


def test_prometheus_and_opentelemetry_listen_where_they_are_installed(monkeypatch):
    monkeypatch.setattr(observe, "_lacks_defaults", True)
    observe.add(print)
    assert observe.is_observed()
    names = [getattr(observer, "__name__", type(observer).__name__) for observer in observe._observers]
    assert names == ["PrometheusObserver", "OpenTelemetryObserver", "print"]


def test_only_switches_them_off(monkeypatch, heard):
    monkeypatch.setattr(observe, "_lacks_defaults", True)
    observe.only()
    assert not observe.is_observed()


def test_package_that_is_not_installed_is_not_missed(monkeypatch, caplog):
    monkeypatch.setattr(observe, "_lacks_defaults", True)
    for package in ("prometheus_client", "opentelemetry"):
        monkeypatch.setitem(sys.modules, package, None)
        monkeypatch.delitem(sys.modules, f"foreachonce.observe.{package.partition('_')[0]}", raising=False)
    assert not observe.is_observed()
    assert caplog.records == []


def test_package_that_is_damaged_is_told_and_breaks_nothing(monkeypatch, caplog):
    monkeypatch.setattr(observe, "_lacks_defaults", True)
    monkeypatch.delitem(sys.modules, "foreachonce.observe.prometheus", raising=False)
    monkeypatch.setitem(sys.modules, "prometheus_client", SimpleNamespace())
    assert observe.is_observed()
    assert [type(observer).__name__ for observer in observe._observers] == ["OpenTelemetryObserver"]
    (record,) = caplog.records
    assert "prometheus cannot be used" in record.getMessage()
