"""A table that is altered, between two runs of one driver or during a run: the values are right, or the batch is refused."""

from __future__ import annotations

import pytest

from foreachonce import JdbcSink, exactly_once
from foreachonce.testing.contract import refused

# A frame's value and the column, before and after, and what is there.
WIDER = [
    ("cast(1.23 as decimal(10,2))", "cast(1.2345 as decimal(10,4))", "numeric(10,2)", "numeric(14,4)", "1.2345"),
    ("'short'", "'much longer'", "varchar(5)", "text", "much longer"),
    ("5", "5000000000", "integer", "bigint", "5000000000"),
]
NARROWER = [
    ("cast(1.2345 as decimal(10,4))", "numeric(12,4)", "numeric(10,2)", "cast the frame's"),
    ("5", "bigint", "smallint", "cast the frame's"),
]
WAYS = [
    ("append", "direct"),
    ("append", "driver"),
    ("append", "staged"),
    ("merge", "direct"),
    ("merge", "staged"),
    ("merge", "driver"),
]


def alter(kind: str, column: str) -> str:
    if kind == "postgresql":
        return f"alter table t alter column v type {column} using cast(v as {column})"
    return f"alter table t modify v {column}"


@pytest.fixture
def kind(url) -> str:
    if url.startswith("sqlite"):
        pytest.skip("SQLite cannot alter a column's type")
    return "postgresql" if url.startswith("postgresql") else "mysql"


def sink(url, value, mode, path, before=lambda batch_id: None):
    made = JdbcSink(url, table="t", stream="s", mode=mode, key="id" if mode == "merge" else None, path=path)

    @exactly_once(made)
    def batch(frame, batch_id):
        before(batch_id)
        return frame.selectExpr("id", f"{value} as v")

    return batch


@pytest.mark.parametrize(("mode", "path"), WAYS)
@pytest.mark.parametrize(("first", "second", "before", "after", "right"), WIDER)
def test_wider_column_takes_what_it_can_hold_in_the_next_run(
    url, kind, stream, query, first, second, before, after, right, mode, path
):
    """1.23 must not come of 1.2345 because a run before it saw another type."""
    query(f"create table t (id bigint primary key, v {before})")
    stream.feed([1])
    stream.run(sink(url, first, mode, path))
    query(alter(kind, after))
    stream.feed([2])
    stream.run(sink(url, second, mode, path))
    assert [str(v) for (v,) in query("select v from t where id = 2")] == [right]


@pytest.mark.parametrize(("mode", "path"), WAYS)
@pytest.mark.parametrize(("value", "before", "after", "words"), NARROWER)
def test_narrower_column_is_refused_in_the_next_run(url, kind, stream, query, value, before, after, words, mode, path):
    query(f"create table t (id bigint primary key, v {before})")
    stream.feed([1])
    stream.run(sink(url, value, mode, path))
    query(alter(kind, after))
    stream.feed([2])
    with refused("FrameError", "'v'", words):
        stream.run(sink(url, value, mode, path))
    assert query("select count(*) from foreachonce_ledger") == [(1,)]


@pytest.mark.parametrize(("mode", "path"), WAYS)
@pytest.mark.parametrize("change", ["narrower", "wider", "made anew"])
def test_table_that_is_altered_during_a_run_is_refused(url, kind, stream, query, mode, path, change):
    query("create table t (id bigint primary key, v numeric(12,4))")

    def hurt(batch_id):
        if batch_id == 1 and change == "made anew":
            query("drop table t")
            query("create table t (id bigint primary key, v numeric(10,2))")
        elif batch_id == 1:
            query(alter(kind, "numeric(10,2)" if change == "narrower" else "numeric(14,6)"))

    value = "cast(1.2345 as decimal(10,4))"
    stream.feed([1], [2])
    with refused("WriteFailed", "othing was written") as caught:
        stream.run(sink(url, value, mode, path, hurt))
    # LOAD DATA itself refuses what it would round, unless it goes into a temporary table that was made before.
    by_load = kind == "mysql" and change != "wider" and "a row did not go in as it is" in str(caught.value)
    assert by_load or "table t was altered while the query ran" in str(caught.value)
    assert query("select count(*) from t where id = 2") == [(0,)]
    if change == "wider":
        stream.run(sink(url, value, mode, path))
        assert query("select id, v from t order by id")[1][0] == 2


@pytest.mark.parametrize(("mode", "path"), WAYS)
def test_table_that_is_dropped_between_two_runs_is_made_again(url, stream, query, mode, path):
    if url.startswith("sqlite") and path == "staged":
        pytest.skip("SQLite has one path")
    stream.feed([1])
    stream.run(sink(url, "'text'", mode, path))
    query("drop table t")
    stream.feed([2])
    stream.run(sink(url, "5", mode, path))
    assert query("select id, v from t") == [(2, 5)]
