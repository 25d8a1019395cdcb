"""What does not fit a record, a topic or the broker is refused by name, and nothing of it can be read."""

from __future__ import annotations

import json
import time
from uuid import uuid4

import pytest
from confluent_kafka import Producer

from foreachonce import JdbcSink, KafkaLedger, KafkaSink, SinkUnavailable, exactly_once, observe
from foreachonce.kafka.history import TopicHistory
from foreachonce.testing.contract import refused
from tests.servers.kafka import KafkaStream, Reader, make_topic


class Topic:
    """A new topic, and sinks that write it."""

    def __init__(self, servers: str):
        self.servers, self.name, self.prefix = servers, f"events-{uuid4().hex[:8]}", f"ledger-{uuid4().hex[:8]}."
        make_topic(servers, self.name, partitions=1)

    def sink(self, **keywords) -> KafkaSink:
        given = {"topic": self.name, "stream": "s", "ledger_prefix": self.prefix}
        return KafkaSink(self.servers, **{**given, **keywords})

    def messages(self):
        return list(Reader(self.servers).messages(self.name))


@pytest.fixture
def topic(kafka_server) -> Topic:
    return Topic(kafka_server)


@pytest.fixture
def write(stream):
    """Bring a frame, made of the batch by SQL expressions, through a sink."""

    def write(sink, *expressions: str, ids=(1, 2, 3)):
        @exactly_once(sink)
        def batch(frame, batch_id):
            return frame.selectExpr(*expressions)

        stream.feed(ids)
        stream.run(batch)

    return write


@pytest.mark.parametrize(("expressions", "keywords", "words"), [
    (["id as value"], {}, ["column 'value' is of type bigint", "to_json()"]),
    (["value", "id as key"], {}, ["column 'key' is of type bigint"]),
    (["id"], {}, ["no column 'value'", "'id'", "to_json(struct(*))"]),
    (["value", "id"], {}, ["column 'id' is not a field of a Kafka record", "would be lost"]),
    (["value", "id"], {"value": "id"}, ["value='id' is of type bigint"]),
    (["value", "id"], {"value": "price"}, ["value='price'", "`price`"]),
    (["value", "id"], {"value": "to_json("}, ["value='to_json('", "PARSE_SYNTAX_ERROR"]),
    (["value", "id"], {"value": "string(sum(id))", "key": "value"}, ["value='string(sum(id))': each row becomes one"]),
    (["value", "id"], {"key": "string(count(*))"}, ["key='string(count(*))': each row becomes one record", "in the frame"]),
    (["array(value) as tags"], {"value": "explode(tags)"}, ["value='explode(tags)': each row becomes one record"]),
    (["value"], {"topic": None}, ["topic= is not given", "no column 'topic'"]),
    (["value", "map('a', 'b') as headers"], {}, ["column 'headers' is of type map<string,string>"]),
    (["value", "'x' as partition"], {}, ["column 'partition' is of type string"]),
])  # fmt: skip
def test_frame_that_is_no_records_is_refused(topic, write, expressions, keywords, words):
    with refused("FrameError", *words, "Nothing was written"):
        write(topic.sink(**keywords), *expressions)
    assert topic.messages() == []


@pytest.mark.parametrize("path", ["driver", "task"])
def test_row_without_a_topic_is_refused(topic, write, path):
    sink = topic.sink(topic=None, path=path)
    with refused("FrameError", "column 'topic' is null"):
        write(sink, "value", f"if(id = 3, null, '{topic.name}') as topic")
    assert topic.messages() == []
    assert sink.ledger.head("s") is None


@pytest.mark.parametrize("path", ["driver", "task"])
@pytest.mark.parametrize(("header", "words"), [
    ("named_struct('key', if(id = 2, null, 'k'), 'value', X'01')", "a header whose key is NULL"),
    ("if(id = 2, null, named_struct('key', 'k', 'value', X'01'))", "a header that is NULL"),
])  # fmt: skip
def test_header_without_a_key_is_refused(topic, write, path, header, words):
    sink = topic.sink(path=path)
    with refused("WriteFailed", "headers: a row has", words, "Nothing was written"):
        write(sink, "value", f"array({header}) as headers")
    assert topic.messages() == []
    assert sink.ledger.head("s") is None


@pytest.mark.parametrize("path", ["driver", "task"])
def test_headers_may_be_null_or_empty(topic, write, path):
    headers = "array(named_struct('key', 'k', 'value', cast(null as binary)))"
    columns = ["value", f"case id when 1 then null when 2 then slice({headers}, 1, 0) else {headers} end headers"]
    write(topic.sink(path=path), *columns)
    assert [message.headers() for message in topic.messages()] == [None, None, [("k", None)]]


def test_window_over_the_batch_is_no_aggregate(topic, write):
    write(topic.sink(value="string(sum(id) over ())"), "id")
    assert [message.value() for message in topic.messages()] == [b"6"] * 3


@pytest.mark.parametrize("path", ["driver", "task"])
@pytest.mark.parametrize("keywords", [{}, {"message_max_bytes": 5_000_000}], ids=["by the client", "by the broker"])
def test_record_that_is_too_large_is_refused(topic, write, path, keywords):
    with refused("WriteFailed", topic.name, "is larger than", "Nothing was written"):
        write(topic.sink(path=path, **keywords), "repeat('x', if(id = 2, 3000000, 1)) as value")
    assert topic.messages() == []


@pytest.mark.parametrize("path", ["driver", "task"])
def test_topic_that_is_not_there_is_refused(topic, write, path):
    with refused("ConfigurationError", "topic='no-such-topic' does not exist", "Create it"):
        write(topic.sink(topic="no-such-topic", path=path), "value")
    assert topic.sink().ledger.streams() == ["s"]  # the run had taken it; nothing else was written
    assert topic.sink().ledger.head("s") is None


def test_topic_of_a_row_that_is_not_there_is_refused(topic, write):
    with refused("WriteFailed", "'no-such-topic' does not exist", "Nothing was written"):
        write(topic.sink(topic=None), "value", f"if(id = 2, 'no-such-topic', '{topic.name}') as topic")
    assert topic.messages() == []


def test_records_have_all_of_sparks_columns(topic, write):
    write(
        topic.sink(topic=None),
        "cast(id as string) as key", "cast(value as binary) as value", f"'{topic.name}' as topic", "0 as partition",
        "array(named_struct('key', 'a', 'value', cast('b' as binary)), named_struct('key', 'n', 'value', null)) as headers",
        "timestamp'2026-01-02 03:04:05 UTC' as timestamp", ids=[1],
    )  # fmt: skip
    (message,) = topic.messages()
    assert (message.key(), message.value(), message.partition()) == (b"1", b"value 1", 0)
    assert message.headers() == [("a", b"b"), ("n", None)]
    assert message.timestamp()[1] == 1767323045000


def test_nulls_are_tombstones(topic, write):
    write(topic.sink(), "cast(id as string) as key", "cast(null as string) as value", ids=[1])
    (message,) = topic.messages()
    assert (message.key(), message.value()) == (b"1", None)


def test_keys_lie_where_java_puts_them(kafka_server, topic, write):
    """Murmur2, as in Java's clients: librdkafka's own way would put them elsewhere."""
    wide = f"{topic.name}-wide"
    make_topic(kafka_server, wide, partitions=7)
    write(topic.sink(topic=wide, key="'order-1'", value="'x'"), "value", ids=[1])
    (message,) = Reader(kafka_server).messages(wide)
    assert message.partition() == 4  # Utils.toPositive(Utils.murmur2("order-1".getBytes())) % 7


def test_transaction_that_would_outlive_its_time_is_given_up(topic, stream, monkeypatch):
    from foreachonce.kafka import rows

    def slowly(*arguments):
        time.sleep(1.0)

    monkeypatch.setattr(rows, "_send_batch", slowly)
    stream.feed([1])
    with refused("WriteFailed", "transaction_timeout_ms=1000", "maxOffsetsPerTrigger", "Nothing was written"):
        stream.run(topic.sink(key="value", value="value", path="driver", transaction_timeout_ms=1000))


def test_time_that_the_broker_does_not_allow_is_refused(topic, stream):
    stream.feed([1])
    with refused("ConfigurationError", "transaction_timeout_ms=", "transaction.max.timeout.ms"):
        stream.run(topic.sink(key="value", value="value", transaction_timeout_ms=2_000_000))


def test_broker_that_does_not_answer_is_unavailable(monkeypatch):
    from foreachonce.kafka import topic as ledger_topic

    monkeypatch.setattr(ledger_topic, "SECONDS", 2.0)
    with pytest.raises(SinkUnavailable, match=r"Kafka at 127.0.0.1:1 does not answer.*refused"):
        KafkaLedger("127.0.0.1:1").head("s")
    with pytest.raises(SinkUnavailable, match="does not answer"):
        KafkaLedger("127.0.0.1:1").streams()


def test_tls_that_the_broker_does_not_speak_is_told(kafka_server, monkeypatch):
    from foreachonce.kafka import topic as ledger_topic

    monkeypatch.setattr(ledger_topic, "SECONDS", 3.0)
    with pytest.raises(SinkUnavailable, match=r"(?i)ssl"):
        KafkaLedger(kafka_server, security_protocol="SSL").head("s")


def test_ledger_topic_that_forgets_is_refused(topic, kafka_server, stream):
    from confluent_kafka.admin import AdminClient, NewTopic

    wanted = NewTopic(topic.sink().ledger.topic("s"), num_partitions=1, config={"retention.ms": "1000"})
    admin = AdminClient({"bootstrap.servers": kafka_server})
    admin.create_topics([wanted])[wanted.topic].result(10)
    stream.feed([1])
    with refused("LedgerError", "retention.ms=1000", "set it to -1"):
        stream.run(topic.sink(key="value", value="value"))


def test_ledger_topic_with_somebody_elses_record_is_refused(topic, kafka_server, stream):
    sink = topic.sink(key="value", value="value")
    stream.feed([1])
    stream.run(sink)
    producer = Producer({"bootstrap.servers": kafka_server})
    producer.produce(sink.ledger.topic("s"), b"hello")
    producer.flush()
    with pytest.raises(Exception, match="not an entry of this stream"):
        list(sink.ledger.entries("s"))


def test_head_is_found_without_reading_the_whole_topic(topic, kafka_server, stream, monkeypatch):
    sink = topic.sink(key="value", value="value")
    stream.feed(*([number] for number in range(45)))
    stream.run(sink)
    read = []
    seen = TopicHistory.__init__
    monkeypatch.setattr(TopicHistory, "__init__", lambda self, records, is_whole: (
        read.append(len(records)), seen(self, records, is_whole))[1])  # fmt: skip
    assert sink.ledger.head("s").seq == 44
    assert max(read) <= 33
    assert len(list(sink.ledger.entries("s"))) == 45
    assert [entry.seq for entry in sink.ledger.entries("s", after=42)] == [43, 44]


def test_entries_are_json_that_anybody_reads(topic, kafka_server, stream):
    sink = topic.sink(key="value", value="value")
    stream.feed([1, 2])
    stream.run(sink)
    taken, entry = map(json.loads, Reader(kafka_server).values(sink.ledger.topic("s")))
    assert (taken["kind"], taken["run_id"]) == ("taken", entry["run_id"])
    assert (entry["kind"], entry["stream"], entry["seq"], entry["rows"]) == ("entry", "s", 0, 2)


@pytest.fixture
def lags(kafka_server, spark, sqlite_url, tmp_path, monkeypatch):
    """Run a topic of five records, two a batch, and return what each epoch's event says of the lag."""
    heard = []
    monkeypatch.setattr(observe, "_observers", (heard.append,))
    monkeypatch.setattr(observe, "_lacks_defaults", False)
    stream = KafkaStream(kafka_server, tmp_path)
    stream.feed(range(5))
    sink, session = JdbcSink(sqlite_url, table="events", stream="s"), spark.newSession()

    def lags(name=None):
        reader = session.readStream.format("kafka").option("kafka.bootstrap.servers", kafka_server)
        reader = reader.option("subscribe", stream.source.topic).option("startingOffsets", "earliest")
        frame = (reader.name(name) if name else reader).option("maxOffsetsPerTrigger", 2).load().select("offset")
        writer = frame.writeStream.foreachBatch(sink).option("checkpointLocation", str(stream.checkpoint))
        writer.trigger(availableNow=True).start().awaitTermination()
        return [(event.outcome, dict(event.behind)) for event in heard]

    lags.session, lags.checkpoint = session, stream.checkpoint
    return lags


def test_event_tells_how_far_a_batch_is_behind_its_topic(lags):
    assert lags() == [("written", {"0": 3}), ("written", {"0": 1}), ("written", {"0": 0})]
    for path in (lags.checkpoint / "commits").glob("*2*"):
        path.unlink()
    # Spark has not looked at the topic since the query started.
    assert lags()[3:] == [("skipped", {"0": None})]


def test_event_tells_how_far_a_batch_is_behind_a_source_with_a_name(lags):
    """Which sources can have from Spark 4.2 on."""
    lags.session.conf.set("spark.sql.streaming.offsetLog.formatVersion", "2")
    lags.session.conf.set("spark.sql.streaming.queryEvolution.enableSourceEvolution", "true")
    assert lags("orders") == [("written", {"orders": 3}), ("written", {"orders": 1}), ("written", {"orders": 0})]


def test_aborted_rows_are_seen_by_nobody_who_reads_committed(topic, stream):
    sink = topic.sink(value="if(id = 400, raise_error('torn'), value)", path="task")
    stream.feed(range(500))
    with pytest.raises(Exception, match="torn"):
        stream.run(sink)
    assert topic.messages() == []
