"""Few rows come to the driver, which spares a task in Python; many never do."""

from __future__ import annotations

import pytest

from foreachonce import JdbcSink, exactly_once
from foreachonce.spark import frames, gather
from foreachonce.testing.spark import state_store


@pytest.fixture
def tasks(monkeypatch):
    """What was carried by tasks."""
    seen = []

    def timed(frame, task):
        seen.append(frame)
        return frames.timed(frame, task)

    monkeypatch.setattr(gather, "timed", timed)
    return seen


@pytest.fixture
def write(url, stream):
    def write(*rows, **keywords):
        stream.feed(rows)
        stream.run(JdbcSink(url, table="events", stream="s", **keywords))

    return write


@pytest.fixture
def ids(query):
    return lambda: [row[0] for row in query("select id from events order by id")]


def test_few_rows_need_no_task(write, ids, tasks):
    write(1, 2)
    assert ids() == [1, 2]
    assert tasks == []


def test_more_rows_than_spark_thought_are_written_once_by_a_task(write, ids, tasks, monkeypatch):
    monkeypatch.setattr(gather, "FEW_ROWS", 3)
    write(1, 2, 3)
    assert not tasks
    write(4, 5, 6, 7)
    assert len(tasks) == 1
    assert ids() == [1, 2, 3, 4, 5, 6, 7]


def test_what_spark_takes_for_much_is_not_fetched(write, ids, tasks, monkeypatch):
    monkeypatch.setattr(gather, "FEW_BYTES", 10)
    monkeypatch.setattr(gather, "fetched", None)
    write(1, 2)
    assert len(tasks) == 1
    assert ids() == [1, 2]


@pytest.mark.parametrize("provider", ["HDFSBackedStateStoreProvider", "RocksDBStateStoreProvider"])
def test_state_is_kept_where_a_task_computes_the_frame_anew(spark, stream, sqlite_url, monkeypatch, provider):
    """Spark stops computing at the row that is one too many, and then computes all of them, with the same state."""
    monkeypatch.setattr(gather, "FEW_ROWS", 3)
    sink = JdbcSink(sqlite_url, table="events", stream="s")
    with state_store(spark, provider):
        for batch in (range(30), range(20, 50), range(45, 52)):
            stream.feed(batch)
            stream.run(sink, change=lambda frame: frame.dropDuplicates(["id"]))
    assert [entry.rows for entry in sink.ledger.entries("s")] == [30, 20, 2]


def test_path_decides(write, ids, tasks, monkeypatch):
    write(1, path="direct")
    assert len(tasks) == 1
    monkeypatch.setattr(gather, "FEW_ROWS", 0)
    write(2, path="driver")
    assert len(tasks) == 1
    assert ids() == [1, 2]


def test_few_rows_go_into_several_tables_in_one_transaction(url, stream, query, tasks):
    query("create table log (id bigint)")

    @exactly_once(JdbcSink(url, stream="s"))
    def write(df, batch_id, tx):
        tx.append(df, table="events")
        tx.execute("insert into log select max(id) from events")
        tx.merge(df.where("id > 1"), table="newest", key="id")

    stream.feed([1, 2], [3])
    stream.run(write)
    assert query("select id from log order by id") == [(2,), (3,)]
    assert query("select id from newest order by id") == [(2,), (3,)]
    assert tasks == []
    assert [entry.rows for entry in write.sinks[0].ledger.entries("s")] == [3, 2]
