"""Rows that go into a Delta table by key."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.errors import StreamingQueryException

from foreachonce import DeltaSink, exactly_once
from foreachonce.testing.contract import refused

SCHEMA = "id bigint, day string, amount int, op string"


@pytest.fixture
def merged(stream, tmp_path, spark):
    """Bring batches of rows, one file each, through a merging sink; return the table's rows."""
    path = str(tmp_path / "merged")

    def merge(*batches: list[tuple], schema=SCHEMA, **keywords):
        before = len(list(stream.source.glob("*.json")))

        @exactly_once(DeltaSink(path, stream="s", mode="merge", **{"key": "id", **keywords}))
        def batch(frame, batch_id):
            return frame.sparkSession.createDataFrame(batches[batch_id - before], schema)

        stream.feed(*([number] for number in range(len(batches))))
        stream.run(batch)
        return rows()

    def rows():
        if not list(Path(path, "_delta_log").glob("*.json")):
            return []
        return sorted(tuple(row) for row in spark.read.format("delta").load(path).collect())

    merge.rows, merge.path = rows, path
    return merge


def test_merge_inserts_and_updates(merged, stream):
    first, second = [(1, "a", 1, "u"), (2, "a", 2, "u")], [(2, "b", 20, "u"), (3, "b", 3, "u")]
    assert merged(first, second) == [(1, "a", 1, "u"), (2, "b", 20, "u"), (3, "b", 3, "u")]
    entries = list(DeltaSink(merged.path).ledger.entries("s"))
    assert [entry.rows for entry in entries] == [2, 2]


def test_key_of_two_columns_with_odd_names(merged):
    schema = "`a-b` bigint, `c.d` string, amount int"
    rows = merged([(1, "x", 1)], [(1, "x", 2), (1, "y", 3)], schema=schema, key=["a-b", "c.d"])
    assert rows == [(1, "x", 2), (1, "y", 3)]


def test_names_that_sql_must_quote(merged):
    schema = "`tick``y` bigint, `dot.ted` string, `it's` int, `$1` int, `a:b` int, `?` int, `%s` int"
    first, second = [(1, "x", 1, 1, 1, 1, 1)], [(1, "x", 2, 2, 2, 2, 2), (2, "y", 1, 1, 1, 1, 1)]
    keywords = {"schema": schema, "key": ["tick`y", "dot.ted"], "skip_unchanged": True}
    assert merged(first, second, second, **keywords) == [*second]


def test_columns_with_the_librarys_own_names(merged):
    schema = "id bigint, foreachonce_rank int, Foreachonce_Count string"
    rows = merged([(1, 7, "a"), (1, 9, "b")], [(2, 1, "c")], schema=schema, order_by="foreachonce_rank")
    assert rows == [(1, 9, "b"), (2, 1, "c")]


@pytest.mark.parametrize("first", [[], [[(9, "a", 0, "u")]]])
def test_key_that_comes_twice_is_refused(merged, first):
    with refused("DuplicateKeys", "key=(id)", '"id":1', "order_by=", "Nothing was written"):
        merged(*first, [(1, "a", 1, "u"), (1, "b", 2, "u"), (2, "c", 3, "u")])
    assert merged.rows() == [row for batch in first for row in batch]


def test_greatest_of_order_by_wins(merged):
    batch = [(1, "a", 1, "u"), (1, "b", 2, "u"), (1, None, 9, "u"), (2, "c", 3, "u")]
    assert merged(batch, order_by="day") == [(1, "b", 2, "u"), (2, "c", 3, "u")]


def test_tie_in_order_by_is_refused(merged):
    with refused("DuplicateKeys", "order_by= leaves ties"):
        merged([(1, "a", 1, "u"), (1, "a", 2, "u")], order_by=["day"])


def test_key_that_holds_null_is_refused(merged):
    with refused("WriteFailed", "key=(id)", "NULL", "filter such rows out"):
        merged([(1, "a", 1, "u"), (None, "b", 2, "u")])
    assert merged.rows() == []


def test_rows_that_are_there_are_kept(merged):
    assert merged([(1, "a", 1, "u")], [(1, "b", 2, "u"), (2, "b", 2, "u")], when_matched="keep") == [
        (1, "a", 1, "u"), (2, "b", 2, "u"),
    ]  # fmt: skip


def test_rows_are_replaced_on_a_condition(merged):
    batches = [(1, "b", 1, "u"), (2, "b", 1, "u")], [(1, "a", 2, "u"), (2, "c", 2, "u")]
    assert merged(*batches, when_matched="source.day > target.day") == [(1, "b", 1, "u"), (2, "c", 2, "u")]


def test_rows_are_deleted_on_a_condition(merged):
    first = [(1, "a", 1, "u"), (2, "a", 2, "u"), (3, "a", 3, "d")]
    second = [(1, "a", 1, "d"), (2, "b", 3, "u"), (4, "b", 4, "d"), (5, "b", 5, None)]
    assert merged(first, second, delete_when="source.op = 'd'") == [(2, "b", 3, "u"), (5, "b", 5, None)]


def test_condition_for_deletes_over_the_target(merged):
    first = [(1, "a", 1, "u"), (2, "b", 2, "u")]
    rows = merged(first, [(1, "z", 0, "u"), (3, "z", 0, "u")], delete_when="target.day = 'a' and source.amount = 0")
    assert rows == [(2, "b", 2, "u"), (3, "z", 0, "u")]


def test_unchanged_rows_are_not_rewritten(merged, spark):
    batch = [(1, "a", 1, "u"), (2, None, 2, "u")]
    merged(batch, batch, [(1, "a", 1, "u"), (2, None, 3, "u")], skip_unchanged=True)
    history = spark.sql(f"DESCRIBE HISTORY delta.`{merged.path}`").collect()
    updated = [commit.operationMetrics["numTargetRowsUpdated"] for commit in history if commit.operation == "MERGE"]
    assert updated == ["1", "0"]
    assert merged.rows() == [(1, "a", 1, "u"), (2, None, 3, "u")]


def test_column_that_the_table_lacks_is_refused_or_added(merged):
    merged([(1, 1)], schema="id bigint, amount int")
    with refused("FrameError", "['day']", "merge_schema=True"):
        merged([(1, 2, "a")], schema="id bigint, amount int, day string")
    assert merged.rows() == [(1, 1)]


def test_column_that_the_frame_lacks_is_refused_or_left_as_it_is(merged):
    merged([(1, 1, "a"), (2, 2, "b")], schema="id bigint, amount int, day string")
    with refused("FrameError", "['day']", "merge_schema=True"):
        merged([(1, 9)], schema="id bigint, amount int")
    assert merged([(1, 9)], schema="id bigint, amount int", merge_schema=True) == [(1, 9, "a"), (2, 2, "b")]


def test_column_that_the_table_lacks_is_added(merged):
    merged([(1, 1), (2, 2)], schema="id bigint, amount int")
    more = {"schema": "id bigint, amount int, day string", "merge_schema": True, "skip_unchanged": True}
    assert merged([(1, 1, "a"), (2, 2, None)], **more) == [(1, 1, "a"), (2, 2, None)]


def test_key_that_the_frame_lacks_is_refused(merged):
    with refused("FrameError", "key=['order_id']", "Nothing was written"):
        merged([(1, "a", 1, "u")], key="order_id")


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize(("keywords", "words"), [
    ({"key": "m"}, ["key= names 'm', map<string,int>, which Spark does not compare"]),
    ({"key": ["id", "s"]}, ["key= names 's', struct<a:array<map<string,int>>>, which Spark does not compare"]),
    ({"order_by": "m"}, ["order_by= names 'm', map<string,int>, which Spark does not order", "a date or a timestamp"]),
    ({"order_by": ["id2", "v"]}, ["order_by= names 'v', variant, which Spark does not order"]),
])  # fmt: skip
def test_type_that_has_no_order_is_refused_as_key_or_order(stream, tmp_path, spark, keywords, words, first):
    path = str(tmp_path / "t")
    columns = ["id", "id AS id2", "map('a', 1) AS m", "named_struct('a', array(map('a', 1))) AS s", "parse_json('1') AS v"]
    sink = DeltaSink(path, stream="s", mode="merge", **{"key": "id", **keywords})
    if not first:
        spark.range(0).selectExpr(*columns).write.format("delta").save(path)
    stream.feed([1])
    with refused("FrameError", "table", *words, "Nothing was written"):
        stream.run(exactly_once(sink)(lambda frame, batch_id: frame.selectExpr(*columns)))
    assert list(sink.ledger.entries("s")) == []


def test_table_that_takes_appends_alone_is_refused_where_rows_change(merged, spark):
    first, second = [(1, "a", 1, "u")], [(1, "b", 2, "u"), (2, "b", 2, "u")]
    merged(first)
    spark.sql(f"ALTER TABLE delta.`{merged.path}` SET TBLPROPERTIES ('delta.appendOnly' = 'true')")
    with refused("FrameError", merged.path, "delta.appendOnly", "when_matched='keep'", "Nothing was written") as caught:
        merged(second)
    assert "ALTER TABLE null" not in str(caught.value)
    assert merged.rows() == [*first]
    assert merged(second, when_matched="keep") == [(1, "a", 1, "u"), (2, "b", 2, "u")]


@pytest.mark.parametrize("named", [True, False])
def test_column_that_must_not_be_null_is_named_where_the_frame_lacks_it(stream, tmp_path, spark, named):
    path = str(tmp_path / "t")
    spark.sql(f"CREATE TABLE strict (id bigint, value string, day string NOT NULL) USING delta LOCATION '{path}'")
    try:
        stream.feed([1])
        with refused("FrameError", "column 'day' is NOT NULL there", "the frame lacks it", "Nothing was written"):
            stream.run(DeltaSink("strict" if named else path, stream="s"))
        assert spark.table("strict").count() == 0
    finally:
        spark.sql("DROP TABLE strict")


def test_merge_may_lack_a_column_that_must_not_be_null_for_rows_that_are_there(merged, spark):
    spark.sql(f"CREATE TABLE delta.`{merged.path}` (id bigint, n int, day string NOT NULL) USING delta")
    keywords = {"schema": "id bigint, n int", "merge_schema": True}
    merged([(1, 1, "a")], schema="id bigint, n int, day string")
    assert merged([(1, 2)], **keywords) == [(1, 2, "a")]
    with refused("FrameError", "column 'day' is NOT NULL there", "the frame lacks it", "Nothing was written"):
        merged([(2, 2)], **keywords)
    with refused("WriteFailed", "day", "a row's value"):
        merged([(2, 2, None)], schema="id bigint, n int, day string")
    assert merged.rows() == [(1, 2, "a")]


def make_table_that_fills_columns(spark, path: str):
    columns = "id bigint, n int, twice int NOT NULL GENERATED ALWAYS AS (n * 2), d string NOT NULL DEFAULT 'x'"
    properties = "('delta.feature.allowColumnDefaults' = 'supported')"
    spark.sql(f"CREATE TABLE delta.`{path}` ({columns}) USING delta TBLPROPERTIES {properties}")


@pytest.mark.parametrize("merge_schema", [True, False])
def test_append_fills_columns_that_are_generated_or_have_a_default(merged, stream, spark, merge_schema):
    make_table_that_fills_columns(spark, merged.path)
    sink = DeltaSink(merged.path, stream="s", merge_schema=merge_schema)
    stream.feed([3])
    stream.run(exactly_once(sink)(lambda frame, batch_id: frame.selectExpr("id", "3 AS n")))
    assert merged.rows() == [(3, 3, 6, "x")]


def test_merge_fills_columns_that_are_generated_or_have_a_default(merged, spark):
    """Where it may lack columns."""
    make_table_that_fills_columns(spark, merged.path)
    keywords = {"schema": "id bigint, n int", "merge_schema": True}
    assert merged([(1, 1), (2, 2)], [(1, 5)], **keywords) == [(1, 5, 10, "x"), (2, 2, 4, "x")]
    with refused("FrameError", "lacks the table's columns ['twice', 'd']", "merge_schema=True", "that Delta generates"):
        merged([(1, 1)], schema="id bigint, n int")


@pytest.mark.parametrize("keywords", [
    {"when_matched": "source.no_such_column > 1"}, {"when_matched": "source.day > > target.day"},
    {"delete_when": "no_function(source.op)"}, {"delete_when": "day = 'b'"},
])  # fmt: skip
def test_condition_that_spark_does_not_understand_is_refused(merged, keywords):
    merged([(1, "a", 1, "u")])
    ((keyword, condition),) = keywords.items()
    with refused("ConfigurationError", merged.path, f"{keyword}={condition!r}", "Nothing was written"):
        merged([(1, "b", 1, "u")], **keywords)
    assert merged.rows() == [(1, "a", 1, "u")]


def test_condition_of_the_first_batch_that_spark_does_not_understand_is_refused(merged):
    with refused("ConfigurationError", "delete_when='source.no_such_column = 1'", "Nothing was written"):
        merged([(1, "a", 1, "u")], delete_when="source.no_such_column = 1")
    assert merged.rows() == []


def test_key_that_the_table_would_pad_is_refused(merged, spark):
    """Its row would come again with each batch: the key is compared as it is, and padded as it is written."""
    spark.sql(f"CREATE TABLE delta.`{merged.path}` (k char(5), v int) USING delta")
    with refused("FrameError", merged.path, "column 'k' is char(5) there", "alter it to string or varchar"):
        merged([("ab", 1)], [("ab", 2)], [("ab   ", 3)], schema="k string, v int", key="k")
    assert merged.rows() == []
    spark.sql(f"ALTER TABLE delta.`{merged.path}` ALTER COLUMN k TYPE string")
    rows = merged([("ab", 1)], [("ab", 2)], [("ab   ", 3)], schema="k string, v int", key="k")
    assert rows == [("ab", 2), ("ab   ", 3)]


def test_replay_of_a_merge_is_skipped(merged, stream):
    merged([(1, "a", 1, "u")])
    stream.forget_commit()

    @exactly_once(DeltaSink(merged.path, stream="s", mode="merge", key="id"))
    def other(frame, batch_id):
        raise AssertionError("a replay does not call the function")

    stream.run(other)
    assert merged.rows() == [(1, "a", 1, "u")]


# --- append's keywords ----------------------------------------------------------------------------------------------


def test_append_partitions_a_new_table_and_adds_columns(stream, tmp_path, spark):
    path = str(tmp_path / "t")
    stream.feed([1])
    stream.run(DeltaSink(path, stream="s", partition_by="value"))
    stream.feed([2])
    with refused("FrameError", "table", "['n']", "merge_schema=True", "Nothing was written") as caught:
        stream.run(exactly_once(DeltaSink(path, stream="s"))(lambda frame, batch_id: frame.selectExpr("*", "1 as n")))
    # Python would print Spark's words, which mislead, before ours.
    assert "During handling" not in str(caught.value)
    assert "DELTA_METADATA_MISMATCH" not in str(caught.value)
    stream.run(
        exactly_once(DeltaSink(path, stream="s", partition_by="value", merge_schema=True))(
            lambda frame, batch_id: frame.selectExpr("*", "1 as n")
        )
    )
    rows = sorted(tuple(row) for row in spark.read.format("delta").load(path).collect())
    assert rows == [(1, "value 1", None), (2, "value 2", 1)]
    assert Path(path, "value=value 1").exists()


@pytest.mark.parametrize("keywords", [{"mode": "merge", "key": ["id", "value"]}, {"mode": "append"}])
@pytest.mark.parametrize("first", [True, False])
def test_empty_text_in_a_partition_column_is_refused(stream, tmp_path, spark, keywords, first):
    """Delta reads it back as NULL, so a merge would insert the row again with each batch."""
    sink = DeltaSink(str(tmp_path / "t"), stream="s", partition_by="value", **keywords)
    if not first:
        stream.feed([1])
        stream.run(sink)
    stream.feed([2])
    with refused("WriteFailed", "partition column 'value' holds ''", "Nothing was written"):
        stream.run(exactly_once(sink)(lambda frame, batch_id: frame.selectExpr("id", "'' as value")))
    assert len(list(sink.ledger.entries("s"))) == (0 if first else 1)


@pytest.mark.parametrize("mode", ["append", "merge"])
def test_table_by_its_name_in_the_catalog(stream, tmp_path, spark, mode):
    spark.sql("CREATE DATABASE IF NOT EXISTS shop LOCATION '" + str(tmp_path / "shop") + "'")
    try:
        sink = DeltaSink("shop.orders", stream="s", mode=mode, key="id" if mode == "merge" else None)
        stream.feed([1], [2])
        stream.run(sink)
        stream.forget_commit()
        stream.feed([3])
        stream.run(sink)
        assert [row.id for row in spark.table("shop.orders").orderBy("id").collect()] == [1, 2, 3]
        assert [entry.seq for entry in sink.ledger.entries("s")] == [0, 1, 2]
        spark.sql("DROP TABLE shop.orders")
        assert sink.ledger.head("s") is None
    finally:
        spark.sql("DROP DATABASE shop CASCADE")


def test_table_of_another_format_is_refused(stream, tmp_path, spark):
    spark.sql(f"CREATE TABLE csvs (id bigint) USING csv LOCATION '{tmp_path / 'csvs'}'")
    try:
        stream.feed([1])
        with pytest.raises(StreamingQueryException, match="not of Delta"):
            stream.run(DeltaSink("csvs", stream="s"))
    finally:
        spark.sql("DROP TABLE csvs")


@pytest.mark.parametrize("mode", ["append", "merge"])
def test_schema_that_the_catalog_lacks_is_named(stream, mode):
    stream.feed([1])
    with refused("ConfigurationError", "table no_shop.orders", "CREATE SCHEMA no_shop", "Nothing was written"):
        stream.run(DeltaSink("no_shop.orders", stream="s", mode=mode, key="id" if mode == "merge" else None))
