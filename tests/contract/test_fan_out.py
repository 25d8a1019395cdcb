"""One frame for several sinks: each has it once, also after a crash between two."""

from __future__ import annotations

import pytest
from pyspark.errors import StreamingQueryException

from foreachonce import JdbcSink, exactly_once


@pytest.fixture
def sinks(sqlite_url, postgres_url):
    return [JdbcSink(sqlite_url, table="events", stream="s"), JdbcSink(postgres_url, table="events", stream="s")]


def ids(sink):
    import sqlalchemy as sa

    with sink.ledger.database.reading(sink.ledger.url) as connection:
        return list(connection.execute(sa.text("select id from events order by id")).scalars())


def fan(sinks):
    called = []

    @exactly_once(sinks)
    def copy(df, batch_id):
        called.append(batch_id)
        return df.where("id > 0")

    return copy, called


def test_each_sink_has_every_row_once(stream, sinks, spark):
    stream.feed([0, 1], [2])
    copy, called = fan(sinks)
    kept = spark.sparkContext._jsc.getPersistentRDDs().size()
    stream.run(copy)
    assert [ids(sink) for sink in sinks] == [[1, 2], [1, 2]]
    assert called == [0, 1]
    assert spark.sparkContext._jsc.getPersistentRDDs().size() == kept


def test_only_the_sink_that_lacks_the_batch_writes(stream, sinks):
    stream.feed([1])
    stream.run(fan(sinks)[0])
    stream.feed([2])

    @exactly_once(sinks[0])
    def crash_after_the_first(df, batch_id):
        return df

    def crash(df, batch_id):
        crash_after_the_first(df, batch_id)
        raise RuntimeError("between the two")

    with pytest.raises(StreamingQueryException, match="between the two"):
        stream.run(crash)
    assert [ids(sink) for sink in sinks] == [[1, 2], [1]]
    copy, called = fan(sinks)
    stream.run(copy)
    assert [ids(sink) for sink in sinks] == [[1, 2], [1, 2]]
    assert called == [1]
    assert [len(list(sink.ledger.entries("s"))) for sink in sinks] == [2, 2]


def test_replay_in_all_calls_nothing(stream, sinks):
    stream.feed([1])
    copy, called = fan(sinks)
    stream.run(copy)
    stream.forget_commit()
    stream.run(copy)
    assert called == [0]
