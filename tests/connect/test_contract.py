"""On Spark Connect the JDBC sink keeps the same contract, with ``checkpoint=``; and the other forms work."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from pyspark.errors import StreamingQueryException

from foreachonce import JdbcSink, exactly_once
from foreachonce.sql.url import parse_url
from foreachonce.testing.contract import refused
from tests.contract.effects import Broken, Effects
from tests.contract.test_jdbc_contract import JdbcContract
from tests.servers.jdbc import options


class TestJdbc(JdbcContract):
    # How many partitions a frame has Connect does not tell; the other driver is a classic one, and would choose otherwise.
    path = "staged"
    # Each query starts a worker process of its own, which takes seconds: the steps where most is open must do.
    points = ("rows-staged", "entry-written")
    worker_points = ("rows-half",)

    @pytest.fixture(autouse=True)
    def place(self, postgres_url, tmp_path):
        self.url, self.checkpoint = postgres_url, str(tmp_path / "checkpoint")

    def sink(self, stream, **keywords):
        return super().sink(stream, checkpoint=self.checkpoint, **keywords)

    def test_two_streams_in_one_place_do_not_meet(self):
        pytest.skip("each needs a checkpoint= of its own")

    def test_replay_does_not_call_the_users_function(self):
        pytest.skip("the function runs in another process and cannot tell")


def query(url, statement):
    with sa.create_engine(parse_url(url), poolclass=sa.NullPool).connect() as connection:
        return [tuple(row) for row in connection.execute(sa.text(statement))]


def test_transaction(stream, postgres_url):
    @exactly_once(JdbcSink(postgres_url, stream="s", checkpoint=str(stream.checkpoint)))
    def write(df, batch_id, tx):
        tx.append(df, table="orders")
        tx.merge(df.groupBy((df.id % 10).alias("digit")).count(), table="totals", key="digit")
        tx.execute("update totals set count = count + :more", {"more": 100})

    stream.feed([1, 2, 11], [12])
    stream.run(write)
    stream.forget_commit()
    stream.run(write)
    assert query(postgres_url, "select id from orders order by id") == [(1,), (2,), (11,), (12,)]
    assert query(postgres_url, "select * from totals order by 1") == [(1, 202), (2, 101)]


def test_transaction_by_sparks_jdbc_writer(stream, postgres_url):
    @exactly_once(JdbcSink(postgres_url, stream="s", checkpoint=str(stream.checkpoint), spark_jdbc=options(postgres_url)))
    def write(df, batch_id, tx):
        tx.append(df, table="orders")
        tx.merge(df.groupBy((df.id % 10).alias("digit")).count(), table="totals", key="digit")

    stream.feed([1, 2, 11], [12])
    stream.run(write)
    stream.forget_commit()
    stream.run(write)
    assert query(postgres_url, "select id from orders order by id") == [(1,), (2,), (11,), (12,)]
    assert query(postgres_url, "select * from totals order by 1") == [(1, 2), (2, 1)]


def test_function(stream, postgres_url, tmp_path):
    effects = Effects(f"sqlite:///{tmp_path / 'effects.db'}")
    keywords = {"ledger": postgres_url, "stream": "s", "checkpoint": str(stream.checkpoint)}
    stream.feed([1])
    with pytest.raises(StreamingQueryException, match="timed out"):
        stream.run(exactly_once(**keywords)(Broken(effects.url)))
    with refused("InDoubt", "batch 0"):
        stream.run(exactly_once(**keywords)(effects))
    stream.feed([2])
    stream.run(exactly_once(**keywords, in_doubt=effects.is_there)(effects))
    assert effects.ids() == [1, 2]


def test_fan_out(stream, postgres_url, sqlite_url):
    sinks = [JdbcSink(url, table="t", stream="s", checkpoint=str(stream.checkpoint)) for url in (postgres_url, sqlite_url)]
    stream.feed([1], [2])
    stream.run(exactly_once(sinks)(lambda df, batch_id: df))
    assert [query(url, "select id from t order by id") for url in (postgres_url, sqlite_url)] == [[(1,), (2,)]] * 2


def test_sink_without_the_checkpoint_asks_for_it(stream, sqlite_url):
    stream.feed([1])
    with refused("EpochError", "on Spark Connect give the sink checkpoint="):
        stream.run(JdbcSink(sqlite_url, table="t", stream="s"))


def test_output_mode_that_connect_does_not_tell_is_the_users(stream, sqlite_url):
    stream.feed([1, 2], [3])
    stream.run(JdbcSink(sqlite_url, table="t", stream="s", mode="overwrite", checkpoint=str(stream.checkpoint)))
    assert query(sqlite_url, "select id from t") == [(3,)]
