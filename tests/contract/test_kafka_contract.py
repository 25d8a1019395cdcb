"""The Kafka sink keeps the contract, by each of its ways."""

from __future__ import annotations

import json
from uuid import uuid4

import pytest

from foreachonce import KafkaSink
from foreachonce.kafka.write import DRIVER_POINTS, TASK_POINTS
from foreachonce.runner import POINTS_AFTER, POINTS_BEFORE
from foreachonce.testing.contract import SinkContract
from foreachonce.testing.kafka import Reader, make_topic
from foreachonce.testing.writing import WriteContract


class Place:
    """A topic of its own for each test."""

    way: dict[str, object]

    @pytest.fixture(autouse=True)
    def place(self, spark, kafka_server):
        name = uuid4().hex[:12]
        self.servers, self.topic, self.prefix = kafka_server, f"events-{name}", f"ledger-{name}."
        make_topic(kafka_server, self.topic)

    def sink(self, stream, **keywords):
        given = {"topic": self.topic, "key": "value", "value": "to_json(struct(id))", "ledger_prefix": self.prefix}
        return KafkaSink(self.servers, stream=stream, **given, **self.way, **keywords)

    def read(self):
        return sorted(json.loads(value)["id"] for value in Reader(self.servers).values(self.topic))


class TestKafkaByTask(Place, SinkContract):
    way = {"path": "task"}  # noqa: RUF012 - pytest's way of a class's parameters
    worker_points = TASK_POINTS
    points = (*POINTS_BEFORE, *TASK_POINTS, *POINTS_AFTER)


class TestKafkaByDriver(Place, WriteContract):
    way = {"path": "driver"}  # noqa: RUF012
    points = (*POINTS_BEFORE, *DRIVER_POINTS, *POINTS_AFTER)


class TestKafkaInParts(Place, WriteContract):
    way = {"path": "task", "transactions": 2}  # noqa: RUF012
    worker_points = TASK_POINTS
    points = (*POINTS_BEFORE, *TASK_POINTS, *POINTS_AFTER)
