"""A checkpoint that does not agree with the ledger is mended, whatever the sink and whatever became of it."""

from __future__ import annotations

import json
import os
import shutil
import signal

import pytest
import sqlalchemy as sa
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from pyspark.errors import StreamingQueryException

from foreachonce import ConfigurationError, JdbcSink, Mismatch, SqlLedger, exactly_once
from foreachonce.chain import breaks
from foreachonce.errors import Expired
from foreachonce.polling import wait_until
from foreachonce.sql.url import parse_url
from foreachonce.testing.contract import refused
from foreachonce.testing.recovery import (
    DAMAGES,
    DamageContract,
    RecoveryContract,
    StatefulRecoveryContract,
    empty_the_newest_offsets,
    lose_it,
    lose_metadata,
    put_an_older_copy_back,
    start,
    tear_the_newest_commit,
)
from tests.contract.effects import Broken, Effects
from tests.contract.test_delta_contract import DeltaPlace
from tests.contract.test_jdbc_contract import JdbcPlace
from tests.contract.test_kafka_contract import Place as KafkaPlace
from tests.servers.kafka import KafkaStream, make_topic


class FewDamages:
    """Those that differ most, where the ledger is read like another's that meets all of them."""

    damages = {damage: DAMAGES[damage] for damage in (lose_it, put_an_older_copy_back, tear_the_newest_commit)}  # noqa: RUF012


class PutBack:
    """A sink that can be put back to an earlier moment."""

    def test_sink_that_was_put_back_gets_what_it_lacks(self, stream):
        sink = self.sink("s", heal=True)
        stream.feed([1], [2])
        start(stream, sink)
        self.snapshot()
        stream.feed([3], [4], [5])
        start(stream, sink)
        self.put_back()
        assert self.read() == [1, 2]
        assert self.prepared(stream, sink, dry_run=True).kind == "ahead"
        stream.feed([6])
        start(stream, sink, limit=3)
        self.assert_exactly_once(sink, stream)


class TestSqlite(PutBack, JdbcPlace, StatefulRecoveryContract):
    path = "driver"

    @pytest.fixture(autouse=True)
    def place(self, sqlite_url, tmp_path):
        self.url, self.file = sqlite_url, tmp_path / "sink.db"

    def snapshot(self):
        shutil.copy(self.file, self.file.with_suffix(".dump"))

    def put_back(self):
        shutil.copy(self.file.with_suffix(".dump"), self.file)


class TestPostgres(FewDamages, PutBack, JdbcPlace, RecoveryContract):
    path = "auto"

    @pytest.fixture(autouse=True)
    def place(self, postgres_url, postgres_server):
        self.url, self.server = postgres_url, postgres_server

    def snapshot(self):
        self._copy(parse_url(self.url).database, "dump")

    def put_back(self):
        self._run(f'drop database "{parse_url(self.url).database}"')
        self._copy("dump", parse_url(self.url).database)
        self._run("drop database dump")

    def _copy(self, name: str, to: str):
        self._run(f'create database "{to}" template "{name}"')

    def _run(self, statement: str):
        engine = sa.create_engine(parse_url(self.server), poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            # The library keeps connections open; a restored server has none.
            connection.execute(sa.text("select pg_terminate_backend(pid) from pg_stat_activity where datname = :name"),
                               {"name": parse_url(self.url).database})  # fmt: skip
            connection.execute(sa.text(statement))


class FromKafka:
    """A topic as the source: its offsets say all."""

    damages = {damage: DAMAGES[damage] for damage in (lose_it, lose_metadata, empty_the_newest_offsets)}  # noqa: RUF012

    @pytest.fixture
    def stream(self, spark, kafka_server, tmp_path):
        return KafkaStream(kafka_server, tmp_path, partitions=2, spark=spark)


class TestPostgresFromKafka(FromKafka, TestPostgres):
    pass


class TestMariaDb(FewDamages, JdbcPlace, RecoveryContract):
    path = "auto"

    @pytest.fixture(autouse=True)
    def place(self, mariadb_url):
        self.url = mariadb_url


class TestDelta(FewDamages, PutBack, DeltaPlace, RecoveryContract):
    def snapshot(self):
        self.version = self._history()

    def put_back(self):
        self.spark.sql(f"RESTORE delta.`{self.path}` TO VERSION AS OF {self.version}").collect()

    def _history(self) -> int:
        return self.spark.sql(f"DESCRIBE HISTORY delta.`{self.path}` LIMIT 1").collect()[0].version


class TestDeltaFromKafka(FromKafka, PutBack, DeltaPlace, DamageContract):
    # TestDelta has all damages with files, and others all with Kafka.
    damages = {lose_it: "missing", put_an_older_copy_back: "behind"}  # noqa: RUF012
    snapshot, put_back, _history = TestDelta.snapshot, TestDelta.put_back, TestDelta._history


class TestKafka(FewDamages, KafkaPlace, RecoveryContract):
    way = {"path": "driver"}  # noqa: RUF012


class TestKafkaFromKafka(FromKafka, KafkaPlace, DamageContract):
    way = {"path": "task"}  # noqa: RUF012


# --- several sinks, and calls in doubt --------------------------------------------------------------------------------


@pytest.fixture
def two(sqlite_url):
    """Two sinks with a stream each, and a function that writes both."""
    sinks = [JdbcSink(sqlite_url, table=name, stream=name, heal=True) for name in ("first", "second")]

    @exactly_once(sinks)
    def both(frame, batch_id):
        return frame

    return both


def ids(url, table):
    with sa.create_engine(url, poolclass=sa.NullPool).connect() as connection:
        return list(connection.execute(sa.text(f"select id from {table} order by id")).scalars())


def test_crash_between_two_sinks_and_a_lost_checkpoint(stream, two, sqlite_url):
    """The one that is ahead says what the batch held, and it is run again for the other."""
    stream.feed([1], [2])
    start(stream, two)
    stream.feed([3])
    stream.run(two.sinks[0])
    stream.lose_checkpoint()
    stream.feed([4])
    start(stream, two, limit=2)  # a new cut would hold 3 and 4
    for sink in two.sinks:
        assert ids(sqlite_url, sink.stream) == [1, 2, 3, 4]
        assert list(breaks(sink.ledger.entries(sink.stream))) == []


def test_sinks_that_are_further_apart_are_refused_before_the_start(stream, two, sqlite_url):
    stream.feed([1])
    start(stream, two)
    stream.feed([2], [3])
    stream.run(two.sinks[0])
    with pytest.raises(Mismatch, match=r"(?s)more than a batch apart.*batch 2 of .*first.*batch 0 of .*second"):
        start(stream, two)
    assert ids(sqlite_url, "second") == [1]


def test_call_in_doubt_is_settled_for_the_same_rows_after_a_lost_checkpoint(stream, sqlite_url, tmp_path):
    effects = Effects(f"sqlite:///{tmp_path / 'effects.db'}")
    keywords = {"ledger": sqlite_url, "stream": "s", "heal": True}
    stream.feed([1])
    start(stream, exactly_once(**keywords)(effects))
    stream.feed([2])
    with pytest.raises(StreamingQueryException, match="timed out"):
        start(stream, exactly_once(**keywords)(Broken(effects.url)))
    stream.lose_checkpoint()
    stream.feed([3])
    start(stream, exactly_once(**keywords, in_doubt=effects.is_there)(effects), limit=2)
    assert effects.ids() == [1, 2, 3]
    assert list(breaks(SqlLedger(sqlite_url).entries("s"))) == []


# --- what the source no longer has, and what is another's --------------------------------------------------------------


def test_files_that_were_deleted_before_they_were_read_are_named(stream, sqlite_url, tmp_path):
    """Of a sink that was put back: Spark had read them, the sink lacks them."""
    sink = JdbcSink(sqlite_url, table="events", stream="s", heal=True)
    stream.feed([1])
    start(stream, sink)
    stream.feed([2], [3])
    stream.run(lambda frame, batch_id: frame.collect())
    gone = sorted(stream.source.glob("*.json"))[1]
    gone.rename(tmp_path / "elsewhere")
    with pytest.raises(Expired, match=rf"(?s){gone.name}.*accept_data_loss=True") as caught:
        start(stream, sink)
    assert "00002.json" not in str(caught.value)
    assert ids(sqlite_url, "events") == [1]
    (tmp_path / "elsewhere").rename(gone)
    start(stream, sink)
    assert ids(sqlite_url, "events") == [1, 2, 3]


def test_checkpoint_of_another_query_is_refused(stream, sqlite_url):
    sink = JdbcSink(sqlite_url, table="events", stream="s", heal=True)
    stream.feed([1])
    start(stream, sink)
    stream.lose_checkpoint()
    stream.run(lambda frame, batch_id: frame.collect())
    with pytest.raises(Mismatch, match=r"(?s)another query's.*a stream= of its own"):
        start(stream, sink)
    assert ids(sqlite_url, "events") == [1]


def test_dry_run_changes_nothing(stream, spark, sqlite_url):
    sink = JdbcSink(sqlite_url, table="events", stream="s")
    stream.feed([1], [2])
    stream.run(sink)
    stream.remove("metadata")
    before = [path.name for path in stream.checkpoint.parent.iterdir()]
    repair = sink.prepare(spark, str(stream.checkpoint), dry_run=True)
    assert (repair.kind, repair.is_needed, repair.is_done) == ("damaged", True, False)
    assert "to do: write it anew from the ledger" in str(repair)
    assert [path.name for path in stream.checkpoint.parent.iterdir()] == before
    assert len(list(sink.ledger.entries("s"))) == 2


def test_stream_without_a_name_cannot_be_prepared(stream, spark, sqlite_url):
    with pytest.raises(ConfigurationError, match="stream="):
        JdbcSink(sqlite_url, table="events").prepare(spark, str(stream.checkpoint))


# --- Kafka ------------------------------------------------------------------------------------------------------------


class TestKafkaHalf(KafkaPlace):
    """A batch of which one transaction of two is there."""

    way = {"path": "task", "transactions": 2}  # noqa: RUF012

    def test_lost_checkpoint_amid_a_batch_completes_that_batch(self, stream, faults):
        sink = self.sink("s", heal=True)
        stream.feed(range(20))
        start(stream, sink)
        stream.feed(range(20, 40))
        # One task stands still before its first row, so the other's commit is the only one.
        faults.arm("transaction-begun", "stop")
        faults.arm("committed", "raise")
        with pytest.raises(StreamingQueryException):
            start(stream, sink)
        os.kill(faults.wait("transaction-begun"), signal.SIGKILL)
        assert 20 < len(self.read()) < 40
        stream.lose_checkpoint()
        stream.feed(range(40, 60))
        start(stream, sink, limit=2)
        assert self.read() == stream.ids()
        assert list(breaks(sink.ledger.entries("s"))) == []


def test_offsets_that_have_expired_are_named(spark, kafka_server, sqlite_url, tmp_path):
    stream = KafkaStream(kafka_server, tmp_path, records=2, partitions=2, spark=spark)
    sink = JdbcSink(sqlite_url, table="events", stream="s")
    stream.feed(range(10))
    start(stream, sink)
    ends = json.loads(sink.ledger.head("s").position.sources["0"].end)[stream.source.topic]
    stream.feed(range(10, 40))
    expire(kafka_server, stream.source.topic, 0, ends["0"] + 3)
    first, last = ends["0"], ends["0"] + 2
    with pytest.raises(Expired, match=rf"partition 0, offsets {first} to {last} \(3 records\)"):
        sink.prepare(spark, str(stream.checkpoint), kafka=kafka_server)
    shown = sink.prepare(spark, str(stream.checkpoint), kafka=kafka_server, dry_run=True)
    assert [(lost.first, lost.last) for lost in shown.lost] == [(first, last)]


def expire(servers, topic, partition, before):
    """Delete a partition's records before an offset, as retention does."""
    admin = AdminClient({"bootstrap.servers": servers})
    (done,) = admin.delete_records([TopicPartition(topic, partition, before)]).values()
    done.result(30)


def test_topic_that_was_made_again_is_refused(spark, kafka_server, sqlite_url, tmp_path):
    """With failOnDataLoss=false Spark goes on from an offset that lies before the last one, and loses records."""
    stream = KafkaStream(kafka_server, tmp_path, records=10, partitions=1, spark=spark)
    topic, admin = stream.source.topic, AdminClient({"bootstrap.servers": kafka_server})

    def run(sink):
        reader = spark.readStream.format("kafka").option("kafka.bootstrap.servers", kafka_server).option("subscribe", topic)
        frame = reader.option("startingOffsets", "earliest").option("failOnDataLoss", "false").load()
        writer = frame.selectExpr("cast(value as string) as value").writeStream.foreachBatch(sink)
        writer.option("checkpointLocation", str(stream.checkpoint)).trigger(availableNow=True).start().awaitTermination()

    sink = JdbcSink(sqlite_url, table="t", stream="s")
    stream.feed(range(10))
    run(sink)
    admin.delete_topics([topic])[topic].result(30)
    assert wait_until(lambda: topic not in admin.list_topics(timeout=10).topics, 30)
    make_topic(kafka_server, topic, partitions=1)
    producer = Producer({"bootstrap.servers": kafka_server})
    for number in range(3):
        producer.produce(topic, f'{{"id": {number}}}')
    producer.flush()
    with refused("Mismatch", "ends behind its own start", "failOnDataLoss=false"):
        run(sink)
    assert len(list(sink.ledger.entries("s"))) == 1
    run(JdbcSink(sqlite_url, table="t", stream="s", on_mismatch="write"))
    assert [str(entry.decision) for entry in sink.ledger.entries("s")] == ["write", "on_mismatch=write: behind"]
