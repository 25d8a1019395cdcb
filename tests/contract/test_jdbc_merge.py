"""Merge: one row a key, replays change nothing, and a batch that leaves open which row wins is refused."""

from __future__ import annotations

import pytest

from foreachonce import JdbcSink, exactly_once
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


# --- order and equality as Spark has them ----------------------------------------------------------------------------


@pytest.mark.parametrize(("column", "lesser", "greater"), [
    ("decimal(38,0)", "9", "10"), ("decimal(38,0)", "-10", "-9"), ("decimal(10,3)", "9.5", "10.25"),
    ("string", "'B'", "'a'"), ("string", "'z'", "'ä'"), ("string", "'a'", "'a '"), ("string", "'Z'", "'_'"),
    ("double", "1e300", "double('NaN')"), ("double", "double('-Infinity')", "-0.0"),
    ("bigint", "-9223372036854775808", "-1"),
    ("date", "'0001-01-01'", "'9999-12-31'"), ("timestamp", "'1850-01-01 00:00:00'", "'1850-01-01 00:00:00.000001'"),
    ("boolean", "false", "true"), ("binary", "X'7F'", "X'80'"),
])  # fmt: skip
def test_row_that_spark_takes_for_the_greatest_wins(stream, url, query, column, lesser, greater):
    if url.startswith("mysql") and "double" in (lesser + greater):
        pytest.skip("MariaDB has neither NaN nor infinities")
    order = f"select 1 as id, cast({{}} as {column}) as o, '{{}}' as v"

    @exactly_once(JdbcSink(url, table="t", stream="s", mode="merge", key="id", order_by="o"))
    def batch(frame, batch_id):
        return frame.sparkSession.sql(f"{order.format(greater, 'right')} union all {order.format(lesser, 'wrong')}")

    stream.feed([1])
    stream.run(batch)
    assert query("select v from t") == [("right",)]


def test_texts_are_ordered_as_spark_does_whatever_the_columns_collation(stream, url, query):
    if not url.startswith("postgresql"):
        pytest.skip("PostgreSQL's alone: the tests' server has the collation C")
    query('create table t (id int primary key, o text collate "und-x-icu", v text)')

    @exactly_once(JdbcSink(url, table="t", stream="s", mode="merge", key="id", order_by="o"))
    def batch(frame, batch_id):
        return frame.sparkSession.createDataFrame([(1, "B", "wrong"), (1, "a", "right")], "id int, o string, v string")

    stream.feed([1])
    stream.run(batch)
    assert query("select v from t") == [("right",)]


@pytest.mark.parametrize("value", ["array(1)", "named_struct('a', 1)", "map(1, 2)"])
def test_order_that_no_database_has_is_refused(stream, url, value):
    sink = exactly_once(JdbcSink(url, table="t", stream="s", mode="merge", key="id", order_by="o"))
    stream.feed([1])
    with refused("FrameError", "order_by= names 'o'", "order by a number"):
        stream.run(sink(lambda frame, batch_id: frame.selectExpr("id", f"{value} as o")))


@pytest.mark.parametrize(("database", "table", "word"), [
    ("sqlite", "create table t (id text collate nocase primary key, v text)", "NOCASE"),
    ("sqlite", "create table t (id text collate rtrim unique, v text)", "RTRIM"),
    ("postgresql", "create table t (id char(5) primary key, v text)", "CHAR(5)"),
    ("postgresql", "create table t (id text primary key deferrable, v text)", "DEFERRABLE"),
    ("postgresql", "create table t (id text collate same primary key, v text)", "deterministic"),
])  # fmt: skip
def test_key_that_takes_several_texts_for_one_is_refused(stream, url, query, database, table, word):
    if not url.startswith(database):
        pytest.skip("another database's")
    if "collate same" in table:
        query("create collation same (provider = icu, locale = 'und-u-ks-level2', deterministic = false)")
    query(table)
    stream.feed([1])
    with refused("FrameError", "t", word):
        stream.run(exactly_once(JdbcSink(url, table="t", stream="s", mode="merge", key="id"))(
            lambda frame, batch_id: frame.selectExpr("value as id", "value as v")))  # fmt: skip


@pytest.mark.parametrize(("first", "second"), [("5,1", "5,2"), ("5,2", "5,0"), ("20,0", "20,1")])
def test_equal_decimals_are_one_key_whatever_their_scale(stream, url, query, first, second):
    """Of SQLite, where decimals are text, the second is refused."""

    def rows(kind):
        return exactly_once(JdbcSink(url, table="t", stream="s", mode="merge", key="k"))(
            lambda frame, batch_id: frame.selectExpr(f"cast(1 as decimal({kind})) as k", "value as v"))  # fmt: skip

    query("create table t (k numeric(24,2) unique, v text)" if not url.startswith("sqlite") else
          "create table t (k text unique, v text)")  # fmt: skip
    stream.feed([1])
    stream.run(rows(first))
    stream.feed([2])
    if url.startswith("sqlite"):
        with refused("FrameError", "'k'", "two keys", "Cast"):
            stream.run(rows(second))
        stream.run(rows(first))
    else:
        stream.run(rows(second))
    assert query("select v from t") == [("value 2",)]


def test_key_with_trailing_blanks_meets_no_other(stream, url, query):
    """MariaDB's usual collations ignore them."""
    if not url.startswith("mysql"):
        pytest.skip("MariaDB's alone")
    query("create table t (id varchar(20) collate utf8mb4_bin primary key, v text)")
    rows = exactly_once(JdbcSink(url, table="t", stream="s", mode="merge", key="id"))
    stream.feed([1])
    with refused("WriteFailed", "'id'", "trailing blanks", "Nothing was written"):
        stream.run(rows(lambda frame, batch_id: frame.selectExpr("concat(value, ' ') as id", "value as v")))


@pytest.mark.parametrize("path", ["direct", "driver"])
def test_null_does_not_become_the_next_number(stream, url, query, path):
    number = "integer primary key" if url.startswith("sqlite") else "integer auto_increment primary key"
    query(f"create table t (id {'integer primary key' if url.startswith('postgresql') else number}, v text)")
    rows = exactly_once(JdbcSink(url, table="t", stream="s", path=path))
    stream.feed([1])
    with refused("WriteFailed", "id", "othing was written"):
        stream.run(rows(lambda frame, batch_id: frame.selectExpr("cast(null as int) as id", "value as v")))
    assert query("select count(*) from t") == [(0,)]
