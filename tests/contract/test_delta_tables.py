"""Several Delta tables in one epoch: each has every row once, whatever happens between their commits."""

from __future__ import annotations

import pytest
from pyspark.errors import StreamingQueryException
from pyspark.sql import functions as F

from foreachonce import ConfigurationError, DeltaTables, exactly_once
from foreachonce.chain import breaks
from foreachonce.testing.contract import refused


@pytest.fixture
def shop(spark, tmp_path):
    """Orders, and the newest of each last digit."""
    return Shop(spark, str(tmp_path / "orders"), str(tmp_path / "newest"))


class Shop:
    def __init__(self, spark, orders: str, newest: str):
        self.spark, self.orders, self.newest, self.calls = spark, orders, newest, []
        self.tables = DeltaTables(orders, newest, stream="s")

    def function(self, *, merges=True, table=None):
        @exactly_once(self.tables)
        def write(df, batch_id, tx):
            self.calls.append(batch_id)
            tx.append(df, table=self.orders, partition_by="value")
            if merges:
                newest = df.groupBy((df.id % 10).alias("digit")).agg(F.max("id").alias("id"))
                tx.merge(newest, table or self.newest, key="digit", skip_unchanged=True)

        return write

    def rows(self):
        read = self.spark.read.format("delta").load
        return (
            [row.id for row in read(self.orders).orderBy("id").collect()],
            [tuple(row) for row in read(self.newest).orderBy("digit").collect()],
        )

    def seqs(self):
        for sink in self.tables.sinks:
            assert list(breaks(sink.ledger.entries("s"))) == []
        return [[entry.seq for entry in sink.ledger.entries("s")] for sink in self.tables.sinks]


def test_every_table_and_an_entry_in_each(stream, shop):
    stream.feed([1, 2, 11], [12, 21])
    stream.run(shop.function())
    assert shop.rows() == ([1, 2, 11, 12, 21], [(1, 21), (2, 12)])
    assert shop.seqs() == [[0, 1], [0, 1]]


def test_replay_does_not_call_the_function(stream, shop):
    stream.feed([1], [2])
    stream.run(shop.function())
    stream.forget_commit()
    stream.run(shop.function())
    assert shop.calls == [0, 1]
    assert shop.rows() == ([1, 2], [(1, 1), (2, 2)])


@pytest.mark.parametrize("point", ["commit-begun", "committed", "entry-copied"])
def test_crash_between_tables_is_completed_not_repeated(stream, shop, faults, point):
    stream.feed([1])
    stream.run(shop.function())
    stream.feed([11, 2])
    faults.arm(point, "raise")
    with pytest.raises(StreamingQueryException):
        stream.run(shop.function())
    assert shop.rows()[1] == [(1, 1)]
    stream.run(shop.function())
    assert shop.rows() == ([1, 2, 11], [(1, 11), (2, 2)])
    assert shop.seqs() == [[0, 1], [0, 1]]


def test_table_without_a_step_gets_the_entry_alone(stream, shop):
    stream.feed([1])
    stream.run(shop.function(merges=False))
    assert shop.seqs() == [[0], []]
    for number in (2, 3, 4):
        stream.feed([number])
        stream.run(shop.function(merges=number != 3))
    assert shop.rows() == ([1, 2, 3, 4], [(2, 2), (4, 4)])
    assert shop.seqs() == [[0, 1, 2, 3], [0, 1, 2]]


def test_table_that_was_not_named_is_refused(stream, shop):
    stream.feed([1])
    with refused("ConfigurationError", "'/elsewhere'", "DeltaTables"):
        stream.run(shop.function(table="/elsewhere"))
    assert shop.seqs() == [[], []]


def test_second_step_into_a_table_is_refused(stream, shop):
    stream.feed([1])
    with refused("ConfigurationError", "has a step of this batch already", "unite the frames"):
        stream.run(shop.function(table=shop.orders))
    assert shop.seqs() == [[], []]


def test_tables_say_what_holds(shop):
    assert "table by table" in str(shop.tables.sinks[0])
    with pytest.raises(ConfigurationError, match="names no table"):
        DeltaTables()
    assert "table by table" in str(shop.tables)
    with pytest.raises(ConfigurationError, match="must take"):
        exactly_once(shop.tables)(lambda df, batch_id: df)


@pytest.mark.parametrize("again", ["/a/b", "/a/b/", "/a//b", "delta.`/a/b`", "file:/a/b", "file:///a/b"])
def test_table_that_is_named_twice_is_refused(again):
    with pytest.raises(ConfigurationError, match="twice"):
        DeltaTables("/a/b", again)


def test_path_and_name_of_one_table_are_refused(stream, spark, tmp_path, shop):
    spark.sql(f"CREATE TABLE same (id bigint) USING delta LOCATION '{tmp_path / 'same'}'")
    shop.tables = DeltaTables("same", str(tmp_path / "same"), stream="s")
    try:
        stream.feed([1])
        with refused("ConfigurationError", "twice", "Nothing was written"):
            stream.run(shop.function())
        assert spark.table("same").count() == 0
    finally:
        spark.sql("DROP TABLE same")
