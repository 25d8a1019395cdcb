"""Merge: one row a key, replays change nothing, and a batch that leaves open which row wins is refused."""

from __future__ import annotations

import pytest

from foreachonce import JdbcSink
from foreachonce.testing.contract import refused


@pytest.fixture
def merge(url, land, path):
    """Merge batches of rows, one file each, into table t by a key."""

    def merge(*batches: list[tuple], schema="id bigint, version int, note string", change=lambda frame: frame, **keywords):
        sink = JdbcSink(url, table="t", stream="s", mode="merge", path=path, **{"key": "id", **keywords})
        return land(sink, *batches, schema=schema, change=change)

    return merge


def test_rows_of_a_known_key_are_updated_and_others_inserted(merge, query):
    merge([(1, 1, "old"), (2, 1, "kept")], [(1, 2, "new"), (3, 1, None)])
    assert query("select id, version, note from t order by id") == [(1, 2, "new"), (2, 1, "kept"), (3, 1, None)]


def test_replayed_merge_changes_nothing(merge, query, stream):
    sink = merge([(1, 1, "first")])
    query("update t set note = 'changed by hand'")
    stream.forget_commit()
    stream.run(sink)
    assert query("select note from t") == [("changed by hand",)]


def test_key_of_several_columns(merge, query):
    merge([(1, 1, "a"), (1, 2, "b")], [(1, 2, "c")], key=["id", "version"])
    assert query("select id, version, note from t order by 1, 2") == [(1, 1, "a"), (1, 2, "c")]


def test_key_that_is_the_whole_row(merge, query):
    merge([(1,), (2,)], [(2,), (3,)], schema="id bigint")
    assert query("select id from t order by 1") == [(1,), (2,), (3,)]


def test_key_twice_in_a_batch_is_refused(merge, query):
    with refused("DuplicateKeys", "t", "(7) 2 times", "order_by="):
        merge([(7, 1, "a"), (7, 2, "b"), (8, 1, "c")])
    assert query("select count(*) from t") == [(0,)]
    assert query("select count(*) from foreachonce_ledger") == [(0,)]


def test_order_by_says_which_row_of_a_key_wins(merge, query):
    merge([(7, 1, "a"), (7, 3, "wins"), (7, None, "no version"), (8, 1, "c")], order_by="version")
    assert query("select id, version, note from t order by id") == [(7, 3, "wins"), (8, 1, "c")]


def test_order_by_that_leaves_a_tie_is_refused(merge, query):
    with refused("DuplicateKeys", "(7) 2 times", "leaves ties"):
        merge([(7, 1, "a"), (7, 1, "b")], order_by="version")
    assert query("select count(*) from t") == [(0,)]


def test_null_in_a_key_is_refused(merge, query):
    query("create table t (id bigint, version int, note text)")
    query("create unique index t_id on t (id)")
    with refused("WriteFailed", "'id' holds NULL"):
        merge([(None, 1, "a")])
    assert query("select count(*) from t") == [(0,)]


def test_table_without_a_unique_index_on_the_key_is_refused(merge, query):
    query("create table t (id bigint, version int, note text)")
    with refused("FrameError", "no unique index on key=(id)", "create unique index"):
        merge([(1, 1, "a")])


def test_names_that_need_quotes(merge, query):
    schema = '`select` bigint, `Weird "name"` string, `dotted.name` int'
    merge([(1, "a", 1)], [(1, "b", 2)], schema=schema, key="select")
    assert query('select "select", "Weird ""name""", "dotted.name" from t') == [(1, "b", 2)]
