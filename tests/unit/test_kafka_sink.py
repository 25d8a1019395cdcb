"""KafkaSink's keywords and words, without Spark and without a broker."""

from __future__ import annotations

import pickle
import subprocess
import sys

import pytest

from foreachonce import ConfigurationError, KafkaLedger, KafkaSink
from foreachonce.kafka.cluster import cluster

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
    made = cluster(SERVERS, {"security_protocol": "SSL", "linger_ms": 7})
    assert made.settings(group_id="g")["linger.ms"] == 7
    assert made.settings(group_id="g")["group.id"] == "g"


def test_sink_goes_to_other_processes():
    sink = KafkaSink(SERVERS, topic="t", stream="s", transactions=2, sasl_password="hunter2")
    again = pickle.loads(pickle.dumps(sink))
    assert again.ledger == sink.ledger
    assert str(again) == str(sink)


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
