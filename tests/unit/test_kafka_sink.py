"""KafkaSink's keywords and words, without Spark and without a broker."""

from __future__ import annotations

import gc
import pickle
import subprocess
import sys

import pytest

from foreachonce import ConfigurationError, Conflict, KafkaLedger, KafkaSink
from foreachonce.kafka.batch import KEPT, HeldStream, held_by, hold
from foreachonce.kafka.cluster import Cluster
from foreachonce.kafka.history import TopicHistory
from foreachonce.kafka.rows import RecordColumns
from foreachonce.kafka.topic import ledger_topic
from tests.unit.builders import entry, epoch

SERVERS = "broker1:9092,broker2:9092"


@pytest.mark.parametrize(("keywords", "words"), [
    ({"bootstrap_servers": ""}, "bootstrap_servers="),
    ({"bootstrap_servers": None}, "bootstrap_servers="),
    ({"bootstrap_servers": "app:hunter2@broker:9092"}, "sasl_password="),
    ({"topic": ""}, "topic=''"),
    ({"stream": " "}, "stream=' '"),
    ({"stream": "s" * 300}, "shorten it"),
    ({"key": 3}, "key=3"),
    ({"transactions": 0}, "transactions=0"),
    ({"transactions": True}, "transactions=True"),
    ({"transactions": 2, "path": "driver"}, "leave transactions= out"),
    ({"transaction_timeout_ms": 10}, "transaction_timeout_ms=10"),
    ({"path": "direct"}, "path='direct'"),
    ({"on_mismatch": "skip"}, "on_mismatch='skip'"),
    ({"ledger_prefix": "a b"}, "ledger_prefix='a b'"),
    ({"transactional_id": "mine"}, "transactional_id= cannot be given"),
    ({"acks": 1}, "acks= cannot be given"),
    ({"no_such_setting": 1}, "No such configuration property"),
    ({"compression_type": "best"}, "compression.codec"),
])  # fmt: skip
def test_wrong_keyword_is_named_at_once(keywords, words):
    with pytest.raises(ConfigurationError) as caught:
        KafkaSink(**{"bootstrap_servers": SERVERS, **keywords})
    assert words in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_secrets_are_shown_nowhere():
    sink = KafkaSink(SERVERS, topic="t", stream="s", security_protocol="SASL_SSL", sasl_mechanism="PLAIN",
                     sasl_username="app", sasl_password="hunter2", ssl_key_password="hunter3")  # fmt: skip
    shown = f"{sink} {sink!r} {sink.ledger!r} {sink.ledger.cluster!r}"
    assert SERVERS in shown
    assert "hunter" not in shown
    assert sink.ledger.cluster.scrub("a hunter2 and a hunter3") == "a *** and a ***"


def test_settings_are_librdkafkas_with_underscores():
    made = Cluster.of(SERVERS, {"security_protocol": "SSL", "linger_ms": 7})
    assert made.settings(group_id="g")["linger.ms"] == 7
    assert made.settings(group_id="g")["group.id"] == "g"


def test_sink_goes_to_other_processes():
    sink = KafkaSink(SERVERS, topic="t", stream="s", transactions=2, sasl_password="hunter2")
    again = pickle.loads(pickle.dumps(sink))
    assert again.ledger == sink.ledger
    assert str(again) == str(sink)


def test_sink_forgets_what_is_of_one_run():
    """A producer and what was checked neither go to other processes nor to the next run."""
    sink = KafkaSink(SERVERS, topic="t", stream="s")
    sink.ledger._held["s"] = HeldStream("r", TopicHistory((), is_whole=True))
    sink._columns = RecordColumns("{}", None)
    again = pickle.loads(pickle.dumps(sink))
    assert (again._columns, again.ledger._held) == (None, {})
    sink.begin_run(epoch())
    assert sink._columns is None


def test_process_keeps_producers_of_the_streams_that_it_wrote_last():
    class CleanProducer:
        is_clean = True

    streams = [HeldStream("r", TopicHistory((), is_whole=True)) for _ in range(KEPT + 3)]
    for number, held in enumerate(streams):
        held.keep(CleanProducer())
        if number > 0:
            streams[0].keep(CleanProducer())
    kept = [held._producer is not None for held in streams]
    assert kept == [True, *[False] * 3, *[True] * (KEPT - 1)]


def test_run_writes_by_several_sinks_until_another_takes_the_stream():
    topic, history = ledger_topic(Cluster.of(SERVERS, {}), "held.", "s"), TopicHistory((), is_whole=True)
    held = hold(topic, "r1", history)
    again = ledger_topic(Cluster.of(SERVERS, {}), "held.", "s")
    assert held_by(again, "r1") is held
    assert held_by(again, "r2") is None
    later = hold(again, "r2", history)
    assert (held_by(topic, "r1"), held_by(topic, "r2")) == (None, later)


def test_what_a_run_knows_ends_with_its_sinks():
    topic = ledger_topic(Cluster.of(SERVERS, {}), "held.", "gone")
    held = hold(topic, "r1", TopicHistory((), is_whole=True))
    assert held_by(topic, "r1") is held
    del held
    gc.collect()
    assert held_by(topic, "r1") is None


def test_producer_whose_commit_was_not_clean_is_not_kept():
    class SlowProducer:
        is_clean = False

    held = HeldStream("r", TopicHistory((), is_whole=True))
    held.keep(SlowProducer())
    assert held._producer is None


def test_run_that_has_not_taken_the_stream_appends_nothing():
    with pytest.raises(Conflict, match="does not hold it"):
        KafkaLedger(SERVERS).append(entry())


def test_guarantee_says_what_a_reader_sees():
    assert "all of a batch" in str(KafkaSink(SERVERS, topic="t"))
    assert "part by part" in str(KafkaSink(SERVERS, topic="t", transactions=2))
    assert KafkaLedger(SERVERS) == KafkaSink(SERVERS, topic="t").ledger


def test_missing_client_says_what_to_install():
    code = """
import sys
sys.modules["confluent_kafka"] = None
import foreachonce
try:
    foreachonce.KafkaSink
except ImportError as error:
    assert "pip install 'foreachonce[kafka]'" in str(error), error
else:
    sys.exit("no error")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
