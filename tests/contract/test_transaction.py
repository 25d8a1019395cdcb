"""Several tables, one transaction, one entry: all of it or nothing."""

from __future__ import annotations

import pytest
from pyspark.errors import StreamingQueryException
from pyspark.sql import functions as F

from foreachonce import JdbcSink, exactly_once
from foreachonce.chain import breaks
from foreachonce.testing.contract import refused


def shop(url, **changed):
    """Orders, a total for each last digit, and the newest batch: three tables."""

    @exactly_once(JdbcSink(url, stream="s", path="direct"))
    def write(df, batch_id, tx):
        totals = df.groupBy((df.id % 10).alias("digit")).agg(F.count("*").alias("orders"))
        tx.append(df, table="orders")
        tx.merge(changed.get("totals", lambda frame: frame)(totals), table="totals", key="digit")
        tx.execute("delete from newest")
        tx.execute(changed.get("last", "insert into newest values (:batch)"), {"batch": batch_id})

    return write


@pytest.fixture
def tables(query):
    query("create table newest (batch bigint)")
    return lambda: (
        [row[0] for row in query("select id from orders order by id")],
        query("select digit, orders from totals order by digit"),
        query("select batch from newest"),
    )


def test_all_tables_and_one_entry(stream, url, tables, query):
    stream.feed([1, 2, 11], [12, 21])
    write = shop(url)
    stream.run(write)
    assert tables() == ([1, 2, 11, 12, 21], [(1, 1), (2, 1)], [(1,)])
    ledger = write.sinks[0].ledger
    assert [entry.rows for entry in ledger.entries("s")] == [5, 4]  # three orders and two totals; two and two
    assert list(breaks(ledger.entries("s"))) == []
    assert query("select count(*) from foreachonce_runs") == [(1,)]


def test_steps_are_done_in_order(stream, url, query):
    query("create table t (id bigint, value text)")

    @exactly_once(JdbcSink(url, stream="s"))
    def write(df, batch_id, tx):
        tx.execute("insert into t values (0, 'first')")
        tx.append(df.select("id", "value"), table="t")
        tx.execute("update t set value = " + ("concat('seen ', id)" if url.startswith("mysql") else "'seen ' || id"))
        tx.append(df.select((df.id + 10).alias("id"), "value"), table="t")

    stream.feed([1])
    stream.run(write)
    assert query("select id, value from t order by id") == [(0, "seen 0"), (1, "seen 1"), (11, "value 1")]


def test_second_merge_into_a_table_brings_its_own_rows_only(stream, url, query):
    @exactly_once(JdbcSink(url, stream="s"))
    def write(df, batch_id, tx):
        tx.merge(df.select("id", F.lit(1).alias("step")), table="t", key="id")
        tx.merge(df.where("id > 1").select("id", F.lit(2).alias("step")), table="t", key="id")

    stream.feed([1, 2], [2, 3])
    stream.run(write)
    assert query("select id, step from t order by id") == [(1, 1), (2, 2), (3, 2)]
    assert [entry.rows for entry in write.sinks[0].ledger.entries("s")] == [3, 4]


@pytest.mark.parametrize("failure", ["statement", "rows", "function"])
def test_failure_leaves_nothing_behind(stream, url, tables, query, failure):
    stream.feed([1, 2])
    stream.run(shop(url))
    before = tables()
    stream.feed([3])

    def fail(frame):
        if failure == "function":
            raise RuntimeError("no such rate")
        return frame.withColumn("digit", F.expr("raise_error('torn')").cast("bigint")) if failure == "rows" else frame

    last = "insert into nowhere values (:batch)" if failure == "statement" else "insert into newest values (:batch)"
    with pytest.raises(StreamingQueryException):
        stream.run(shop(url, totals=fail, last=last))
    assert tables() == before
    stream.run(shop(url))
    assert tables() == ([1, 2, 3], [(1, 1), (2, 1), (3, 1)], [(1,)])
    names = {
        "sqlite": "name from sqlite_master where name like",
        "postgresql": "tablename from pg_tables where tablename like",
        "mysql": "table_name from information_schema.tables where table_schema = database() and table_name like",
    }
    left = query(f"select {names[url.partition(':')[0]]} 'foreachonce_stage%'")
    assert len({name.split("_")[3] for (name,) in left}) == 1, "stages of an earlier run are left"


def test_frame_is_computed_once_and_let_go(stream, url, spark):
    computed = spark.sparkContext.accumulator(0)

    def count(value):
        computed.add(1)
        return value

    counted = F.udf(count, "string")

    @exactly_once(JdbcSink(url, stream="s"))
    def write(df, batch_id, tx):
        for table in ("a", "b", "c"):
            tx.append(df, table=table)

    stream.feed([1, 2, 3])
    kept = spark.sparkContext._jsc.getPersistentRDDs().size()
    stream.run(write, change=lambda frame: frame.withColumn("value", counted("value")))
    assert computed.value == 3
    assert spark.sparkContext._jsc.getPersistentRDDs().size() == kept


def test_replay_is_skipped(stream, url, tables):
    stream.feed([1], [2])
    stream.run(shop(url))
    before = tables()
    stream.forget_commit()
    stream.run(shop(url))
    assert tables() == before


def test_function_that_asks_for_nothing_has_an_entry(stream, url):
    @exactly_once(JdbcSink(url, stream="s"))
    def nothing(df, batch_id, tx):
        pass

    stream.feed([1])
    stream.run(nothing)
    assert [entry.rows for entry in nothing.sinks[0].ledger.entries("s")] == [0]


@pytest.mark.parametrize(("step", "error", "words"), [
    (lambda df, tx: tx.append(df, table="a.b"), "ConfigurationError", ["table='b'"]),
    (lambda df, tx: tx.merge(df, table="t", key=[]), "ConfigurationError", ["needs key="]),
    (lambda df, tx: tx.merge(df, table="t", key="nope"), "FrameError", ["'nope'"]),
    (lambda df, tx: tx.append(df, table="t", create_table=False), "FrameError", ["does not exist"]),
    (lambda df, tx: tx.execute("commit"), "ConfigurationError", ["committed by foreachonce"]),
    (lambda df, tx: tx.execute("update t set a = :a"), "ConfigurationError", ["'a'"]),
    (lambda df, tx: tx.execute("insert into u values (1); commit"), "", []),
])  # fmt: skip
def test_bad_step_is_refused_and_nothing_is_written(stream, url, query, step, error, words):
    query("create table u (a bigint)")

    @exactly_once(JdbcSink(url, stream="s"))
    def write(df, batch_id, tx):
        tx.execute("insert into u values (0)")
        step(df, tx)

    stream.feed([1])
    with refused(error, *words):
        stream.run(write)
    assert query("select * from u") == []
    assert write.sinks[0].ledger.head("s") is None


def test_sink_without_a_table_asks_for_one(stream, url):
    stream.feed([1])
    with refused("ConfigurationError", "has no table="):
        stream.run(JdbcSink(url, stream="s"))


def test_two_sinks_under_one_name_in_one_function_are_refused(stream, url, query):
    """The second would take the first one's entry for its own, and skip."""
    first, second = JdbcSink(url, table="first", stream="s"), JdbcSink(url, table="second", stream="s")

    def both(df, batch_id):
        first(df, batch_id)
        second(df, batch_id)

    stream.feed([1])
    with refused("Mismatch", "was just written to", "stream= of its own"):
        stream.run(both)


def test_totals_add_up_as_the_reference_says(url, stream, query):
    if url.startswith("mysql"):
        pytest.skip("MariaDB says ON DUPLICATE KEY UPDATE")
    query("create table daily_totals (day bigint primary key, amount bigint)")

    @exactly_once(JdbcSink(url, stream="s"))
    def write(df, batch_id, tx):
        tx.append(df.groupBy((df.id % 2).alias("day")).agg(F.sum("id").alias("amount")), table="new_totals")
        tx.execute(
            "insert into daily_totals select day, amount from new_totals where true "
            "on conflict (day) do update set amount = daily_totals.amount + excluded.amount"
        )
        tx.execute("delete from new_totals")

    stream.feed([1, 2, 3], [4, 5])
    stream.run(write)
    stream.forget_commit()
    stream.feed([7])
    stream.run(write)
    assert query("select day, amount from daily_totals order by day") == [(0, 6), (1, 16)]
