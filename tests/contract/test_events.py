"""What a real stream gives to those who listen."""

from __future__ import annotations

import logging

import pytest

from foreachonce import JdbcSink, StateLost, exactly_once, observe
from foreachonce.testing.recovery import start


@pytest.fixture
def heard(monkeypatch):
    events = []
    monkeypatch.setattr(observe, "_observers", (events.append,))
    monkeypatch.setattr(observe, "_lacks_defaults", False)
    return events


def test_written_then_skipped(stream, sqlite_url, heard, caplog):
    """Two files, two sinks, a crash before Spark's ``commits/1``."""
    caplog.set_level(logging.INFO, "foreachonce")
    sinks = [JdbcSink(sqlite_url, table=name, stream=name) for name in ("s", "t")]

    @exactly_once(sinks)
    def both(df, batch_id):
        return df.where("id > 1")

    stream.feed([1, 2], [3, 4, 5])
    run_id = stream.run(both)
    stream.forget_commit()
    later = stream.run(both)
    assert [(event.stream, event.batch_id, event.outcome, event.rows, event.run_id) for event in heard] == [
        ("s", 0, "written", 1, run_id),
        ("t", 0, "written", 1, run_id),
        ("s", 1, "written", 3, run_id),
        ("t", 1, "written", 3, run_id),
        ("s", 1, "skipped", 3, later),
        ("t", 1, "skipped", 3, later),
    ]
    assert {tuple(event.seconds) for event in heard} == {
        ("resolve", "head", "take", "check", "commit", "total"),
        ("resolve", "head", "check", "commit", "total"),
        ("resolve", "head", "total"),
    }
    assert all(seconds > 0 for event in heard for seconds in event.seconds.values())
    assert all(event.behind == {"0": None} for event in heard)
    records = [record for record in caplog.records if hasattr(record, "foreachonce")]
    assert [record.foreachonce for record in records] == [event.flat() for event in heard]


def test_start_that_is_refused_is_an_event_of_its_own(stream, sqlite_url, heard):
    """No batch comes that could tell of it."""

    def distinct(frame):
        return frame.dropDuplicates(["id"])

    sink = JdbcSink(sqlite_url, table="t", stream="s", heal=True)
    stream.feed([1], [2])
    start(stream, sink, change=distinct)
    heard.clear()
    stream.lose_checkpoint()
    with pytest.raises(StateLost):
        start(stream, sink, change=distinct)
    (event,) = heard
    assert (event.stream, event.outcome, event.batch_id, event.run_id) == ("s", "refused", -1, None)
    assert event.reason.startswith("StateLost: ")
    assert sink.prepare(stream.spark, str(stream.checkpoint), dry_run=True, accept_state_loss=True).is_needed
    assert len(heard) == 1  # a dry run is nobody's business
