"""A broker that asks who one is and what one may: the rights that docs/sinks/kafka.md lists are enough."""

from __future__ import annotations

import os
from uuid import uuid4

import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from foreachonce import KafkaLedger, KafkaSink, SinkUnavailable
from foreachonce.testing.contract import refused
from tests.servers.kafka import NoKafka, broker, make_topic

ADMIN = {
    "security.protocol": "SASL_PLAINTEXT",
    "sasl.mechanism": "PLAIN",
    "sasl.username": "admin",
    "sasl.password": "for-admins",
}
USER = {
    "security_protocol": "SASL_PLAINTEXT",
    "sasl_mechanism": "PLAIN",
    "sasl_username": "app",
    "sasl_password": "for-the-app",
}
SERVER = {
    "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:SASL_PLAINTEXT",
    "inter.broker.listener.name": "PLAINTEXT",
    "sasl.mechanism.inter.broker.protocol": "PLAIN",
    "sasl.enabled.mechanisms": "PLAIN",
    "listener.name.plaintext.plain.sasl.jaas.config": (
        "org.apache.kafka.common.security.plain.PlainLoginModule required "
        'username="admin" password="for-admins" user_admin="for-admins" user_app="for-the-app";'
    ),
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "super.users": "User:admin;User:ANONYMOUS",
}
ROWS, LEDGER, IDS, GROUP = "rows", "ledger", "ids", "group"
# What is needed, by what it is a right on.
NEEDED = {
    ROWS: {AclOperation.WRITE, AclOperation.DESCRIBE},
    LEDGER: {
        AclOperation.READ,
        AclOperation.WRITE,
        AclOperation.DESCRIBE,
        AclOperation.CREATE,
        AclOperation.DESCRIBE_CONFIGS,
    },
    IDS: {AclOperation.WRITE, AclOperation.DESCRIBE},
    GROUP: {AclOperation.DESCRIBE},
}


@pytest.fixture(scope="module")
def guarded():
    """The address of a broker with users and rights."""
    if os.environ.get("FOREACHONCE_SKIP_KAFKA") and not os.environ.get("CI"):
        pytest.skip("FOREACHONCE_SKIP_KAFKA is set: NOTHING IS TESTED ON KAFKA")
    try:
        with broker(ADMIN, **SERVER) as started:
            yield started.servers
    except NoKafka as error:
        pytest.fail(str(error))


@pytest.fixture
def app(guarded):
    """Make a topic, and give the user rights; return its sink."""

    def app(rights: dict[str, set[AclOperation]], **keywords) -> KafkaSink:
        topic, prefix = f"events-{uuid4().hex[:8]}", f"ledger-{uuid4().hex[:8]}."
        make_topic(guarded, topic, **ADMIN)
        places = {
            ROWS: (ResourceType.TOPIC, topic, ResourcePatternType.LITERAL),
            LEDGER: (ResourceType.TOPIC, prefix, ResourcePatternType.PREFIXED),
            IDS: (ResourceType.TRANSACTIONAL_ID, prefix, ResourcePatternType.PREFIXED),
            GROUP: (ResourceType.GROUP, "foreachonce", ResourcePatternType.LITERAL),
        }
        allowed = [
            AclBinding(*places[place], "User:app", "*", operation, AclPermissionType.ALLOW)
            for place, operations in rights.items()
            for operation in operations
        ]
        admin = AdminClient({"bootstrap.servers": guarded, **ADMIN})
        for made in admin.create_acls(allowed).values():
            made.result(30)
        given = {"key": "value", "value": "value", "ledger_prefix": prefix, **USER, **keywords}
        return KafkaSink(guarded, topic=topic, stream="s", **given)

    return app


def without(place: str, *operations: AclOperation) -> dict[str, set[AclOperation]]:
    return {**NEEDED, place: NEEDED[place] - set(operations)}


@pytest.mark.parametrize("path", ["driver", "task"])
def test_rights_that_are_listed_are_enough(app, stream, path):
    sink = app(NEEDED, path=path)
    stream.feed([1], [2])
    stream.run(sink)
    assert sink.ledger.head("s").seq == 1


@pytest.mark.parametrize(("rights", "error", "words"), [
    (without(ROWS, AclOperation.WRITE), "WriteFailed", ["lacks the right to a topic", "WRITE"]),
    (without(ROWS, AclOperation.WRITE, AclOperation.DESCRIBE), "WriteFailed", ["topic 'events-", "lacks the right"]),
    (without(IDS, AclOperation.WRITE), "WriteFailed", ["transactional ids"]),
    (without(LEDGER, AclOperation.CREATE), "LedgerError", ["no right to create the ledger topic", "retention.ms=-1"]),
])  # fmt: skip
def test_right_that_is_missing_is_named(app, stream, rights, error, words):
    stream.feed([1])
    with refused(error, *words) as caught:
        stream.run(app(rights))
    assert "for-the-app" not in str(caught.value)


def test_ledger_that_may_not_be_described_is_believed(app, stream):
    sink = app(without(LEDGER, AclOperation.DESCRIBE_CONFIGS))
    stream.feed([1])
    stream.run(sink)
    assert sink.ledger.head("s").seq == 0


def test_ledger_that_may_not_be_read_is_refused_by_the_next_run(app, stream):
    sink = app(without(LEDGER, AclOperation.READ))
    stream.feed([1])
    stream.run(sink)  # a new ledger has nothing to read
    stream.feed([2])
    with refused("WriteFailed", "ledger topic 'ledger-", "lacks the right", "READ"):
        stream.run(sink)


def test_wrong_password_is_told_and_not_shown(guarded, monkeypatch):
    monkeypatch.setattr("foreachonce.kafka.topic.SECONDS", 3.0)
    with pytest.raises(SinkUnavailable, match="Authentication failed") as caught:
        KafkaLedger(guarded, **{**USER, "sasl_password": "hunter2"}).head("s")
    assert "hunter2" not in str(caught.value)
