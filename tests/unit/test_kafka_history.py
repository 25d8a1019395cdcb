"""What the newest records of a ledger topic tell."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("confluent_kafka")

from foreachonce.errors import ConfigurationError, Conflict, Fenced, LedgerError
from foreachonce.kafka.cluster import Cluster
from foreachonce.kafka.history import REMEMBERED, Part, Taken, TopicHistory, from_bytes, to_bytes
from foreachonce.kafka.topic import ledger_topic, stream_of
from tests.unit.builders import chain as made
from tests.unit.builders import epoch

NOW = datetime(2026, 1, 2, tzinfo=timezone.utc)


def taken(run: str = "r1", ids: int = 1, token: int = 0) -> Taken:
    return Taken(run_id=run, query_id="q", time=NOW, token=token, ids=ids)


def part(entry, number: int = 0, parts: int = 1, rows: int = 1, token: int = 0) -> Part:
    return Part(entry=replace(entry, rows=None), part=number, parts=parts, rows=rows, token=token, ids=parts)


def chain(length: int, run: str = "r1"):
    """The entries of as many batches."""
    return [replace(entry, run_id=run) for entry in made(*range(1, length + 1))]


def test_head_is_the_newest_entry_with_its_rows():
    entries = chain(3)
    history = TopicHistory((taken(), *(part(entry, rows=7) for entry in entries)), is_whole=True)
    assert history.head == replace(entries[2], rows=7)
    assert history.unfinished is None
    assert history.same_batch(entries[1].query_id, 1).seq == 1
    assert history.same_batch("another", 1) is None


def test_epoch_is_complete_once_all_parts_are_there():
    first, second = chain(2)
    history = TopicHistory((part(first, 0, 2, 3), part(first, 1, 2, 4), part(second, 1, 2, 5)), is_whole=True)
    assert history.head == replace(first, rows=7)
    assert history.unfinished is not None
    assert (history.unfinished.parts, history.unfinished.committed) == (2, frozenset({1}))
    assert history.followed_by(part(second, 0, 2, 6)).head == replace(second, rows=11)


def test_epoch_that_begins_before_the_records_is_left_out():
    first, second = chain(2)
    history = TopicHistory((part(first, 1, 2), part(second)), is_whole=False)
    assert [written.entry.seq for written in history.epochs] == [1]
    assert TopicHistory((part(first, 1, 2),), is_whole=False).head is None


def test_older_records_are_asked_for_until_they_can_add_nothing():
    entries = chain(5)
    end = TopicHistory(tuple(map(part, entries[3:])), is_whole=False)
    query = entries[0].query_id
    assert end.covers(query, 3)
    assert end.covers(query, 9)
    assert not end.covers(query, 2)
    assert not end.covers("another", 9)
    assert TopicHistory(end.records, is_whole=True).covers("another", 9)


def test_record_with_the_greatest_token_names_the_holder():
    assert TopicHistory((), is_whole=True).holder is None
    entry = chain(1, "r2")[0]
    assert TopicHistory((taken("r1"), taken("r2", token=1), part(entry, token=1)), is_whole=True).holder.run_id == "r2"
    assert TopicHistory((part(entry), taken("r3", ids=4, token=1)), is_whole=True).ids == 4


def test_task_of_an_earlier_run_that_commits_late_takes_nothing_back():
    history = TopicHistory((taken("r1"), taken("r2", ids=2, token=1), part(chain(1, "r1")[0], 1, 2)), is_whole=True)
    assert (history.holder.run_id, history.ids) == ("r2", 2)
    assert history.unfinished is not None


def test_only_the_same_rows_complete_an_epoch():
    first, second = chain(2)
    history = TopicHistory((taken("r"), part(first), part(second, 0, 2)), is_whole=True)
    same = second.epoch
    assert history.state(same, is_held=True).head.seq == 0
    other = epoch(1, 9, batch_id=1)
    assert history.state(other, is_held=True).same_batch.seq == 1
    foreign = epoch(1, 9, query_id="another")
    state = history.state(foreign, is_held=True)
    assert (state.head.seq, state.same_batch, state.is_held) == (1, None, True)
    assert state.head.parts == (1, 2)


def test_epoch_that_is_written_in_spite_of_an_unfinished_one_follows_it():
    first, second = chain(2)
    history = TopicHistory((taken("r1"), part(first), part(second, 0, 2)), is_whole=True)
    history.check_next(replace(epoch(1, 9, batch_id=5), run_id="r1"), 1)
    history.check_next(replace(second.epoch, run_id="r1"), 0)
    with pytest.raises(Conflict, match="newest entry is 1, not 0"):
        history.check_next(replace(epoch(1, 9, batch_id=5), run_id="r1"), 0)


def test_fenced_run_and_other_heads_are_refused():
    entry = chain(1, "r1")[0]
    history = TopicHistory((taken("r1"), part(entry)), is_whole=True)
    history.check_next(entry.epoch, 0)
    with pytest.raises(Conflict, match="newest entry is 0, not -1"):
        history.check_next(entry.epoch, -1)
    with pytest.raises(Fenced, match="was replaced by run r2"):
        history.followed_by(taken("r2", token=1)).check_next(entry.epoch, 0)
    with pytest.raises(Fenced, match="deleted"):
        TopicHistory((), is_whole=True).check_next(entry.epoch, 0)


def test_records_come_back_as_they_were():
    for record in (taken("r", ids=3, token=7), part(chain(1)[0], 1, 2, 44, token=7)):
        assert from_bytes("s", to_bytes("s", record)) == record


def test_records_of_the_first_version_are_read_and_written_as_they_were():
    taken_text = (
        '{"foreachonce": 1, "stream": "s", "token": 7, "ids": 3, "kind": "taken", "run_id": "r", "query_id": "q", '
        '"time": "2026-01-02T00:00:00+00:00"}'
    )
    part_text = (
        '{"foreachonce": 1, "stream": "s", "token": 7, "ids": 3, "kind": "entry", "part": 1, "parts": 2, "rows": 44, '
        '"seq": 0, "query_id": "query-1", "batch_id": 0, "run_id": "run-1", "time": "2026-01-02T00:00:00+00:00", '
        '"start_offsets": "0:-", "end_offsets": "0:{\\"events\\": {\\"0\\": 1}}", "source_log": null, '
        '"offset_log": "v1\\n{}\\n{\\"events\\": {\\"0\\": 1}}", "is_stateful": false, "sink": "a sink", '
        '"versions": "foreachonce 1, pyspark 4", "decision": "write"}'
    )
    entry = replace(chain(1, "run-1")[0], rows=None, time=NOW)
    assert from_bytes("s", taken_text.encode()) == taken("r", ids=3, token=7)
    part_record = Part(entry=entry, part=1, parts=2, rows=44, token=7, ids=3)
    assert from_bytes("s", part_text.encode()) == part_record
    assert json.loads(to_bytes("s", part_record)) == json.loads(part_text)
    assert json.loads(to_bytes("s", taken("r", ids=3, token=7))) == json.loads(taken_text)


def test_run_that_this_process_does_not_know_is_refused_if_it_has_lost_the_stream():
    history = TopicHistory((taken("r1"), taken("r2", token=1)), is_whole=True)
    for run in ("r2", "new"):
        history.check_unknown(replace(epoch(), run_id=run))
    with pytest.raises(Fenced, match="was replaced by run r2"):
        history.check_unknown(replace(epoch(), run_id="r1"))


@pytest.mark.parametrize("value", [None, b"", b"not json", b"[]", b'{"id": 1}', b'{"foreachonce": 1, "stream": "other"}'])
def test_record_of_somebody_else_is_refused(value):
    with pytest.raises(LedgerError, match="not an entry of this stream"):
        from_bytes("s", value)


def test_record_of_a_newer_version_is_refused():
    with pytest.raises(LedgerError, match="newer foreachonce"):
        from_bytes("s", b'{"foreachonce": 2, "stream": "s"}')


@given(st.text(min_size=1, max_size=30))
def test_stream_is_told_by_its_topic(stream):
    try:
        topic = ledger_topic(Cluster("broker:9092"), "foreachonce.", stream).name
    except ConfigurationError:
        assert len(stream.encode()) > 70
    else:
        assert set(topic) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
        assert stream_of("foreachonce.", topic) == stream


def test_other_topics_are_no_streams():
    assert stream_of("foreachonce.", "orders") is None


def test_run_that_goes_on_for_long_remembers_a_bounded_number_of_its_records():
    history = TopicHistory((), is_whole=True)
    for number, written in enumerate(chain(299)):
        history = history.followed_by(part(written))
        assert history.head.seq == number
    assert len(history.records) == REMEMBERED
    assert not history.is_whole
    assert history.epochs[0].entry.seq == 299 - REMEMBERED
    assert history.same_batch("query-1", 298) == history.head
