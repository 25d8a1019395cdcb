"""Kafka: the topic that both sides read, and one of its own for each side to write."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import launch
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient
from kafka_job import once
from tally import Tally
from target import Count, Target

import flights
from foreachonce import Entry
from tests.servers.jdbc import KAFKA, with_all_they_need
from tests.servers.kafka import NoKafka, kafka, make_topic

PARTITIONS = 2
SECONDS = 60


@contextmanager
def topics(names: Sequence[str], folder: Path) -> Iterator[dict[str, Target]]:
    """Send the flights to the topic that both sides read, and yield a new topic for each name."""
    # Hadoop, most of their bytes, Spark has itself; a driver copies its jars whenever it starts.
    jars = [jar for jar in with_all_they_need(KAFKA) if "hadoop" not in jar.name]
    with kafka() as servers, name_of_topics(servers) as source:
        send_flights(servers, source)
        yield {name: Topic(name, servers, source, jars) for name in names}


@contextmanager
def name_of_topics(servers: str) -> Iterator[str]:
    """Yield a new name; the topics whose names have it in them are deleted afterwards."""
    name = f"demo-{uuid4().hex[:8]}"
    try:
        yield name
    finally:
        admin = AdminClient({"bootstrap.servers": servers})
        # A broker that went first has taken them along.
        with suppress(KafkaException):
            found = [topic for topic in admin.list_topics(timeout=5).topics if name in topic]
            for deletion in admin.delete_topics(found).values():
                deletion.result(5)


def send_flights(servers: str, topic: str) -> None:
    """Make the topic and send every flight to it, in the order of their ids.

    With one partition, both sides have the same rows in the same batches: those of the files.
    """
    make_topic(servers, topic, partitions=1)
    settings = {"bootstrap.servers": servers, "enable.idempotence": True, "log_level": 0}
    producer = Producer({**settings, "queue.buffering.max.messages": 2 * flights.TOTAL})
    for batch in flights.table().to_batches(max_chunksize=flights.BATCH_ROWS):
        for flight in batch.to_pylist():
            producer.produce(topic, json.dumps(flight))
    if producer.flush(SECONDS):
        raise NoKafka(f"the broker at {servers} has not taken all flights within {SECONDS} s")


class Topic:
    """A side's topic, a :class:`~target.Target`.

    Args:
        side: which side writes it.
        servers: the broker's address.
        source: the topic that the side reads.
        jars: what Spark reads and writes Kafka with.
    """

    def __init__(self, side: str, servers: str, source: str, jars: Sequence[Path]) -> None:
        self._side, self._servers, self._source, self._jars = side, servers, source, jars
        self._name = f"{source}-{side}"
        make_topic(servers, self._name, PARTITIONS)
        self._tally = Tally(servers, self._name, PARTITIONS)

    @property
    def variables(self) -> Mapping[str, str]:
        """Nothing."""
        return {}

    def command(self, checkpoint: Path) -> list[str]:
        """The command line of ``kafka_job.py``."""
        jars = ",".join(map(str, self._jars))
        place = (self._servers, self._source, flights.BATCH_ROWS, self._name)
        return launch.command("kafka_job.py", self._side, *place, checkpoint, jars)

    def count(self) -> Count:
        """Count all records, and the different flights among them."""
        found = self._tally.look()
        return Count(found.total(), len(found))

    def held(self, flight_ids: range) -> int:
        """Count how many of these flights are there."""
        found = self._tally.look()
        return sum(flight in found for flight in flight_ids)

    def entries(self) -> list[Entry]:
        """The ledger on this broker."""
        ledger = once(self._servers, self._name).ledger
        return list(ledger.entries(self._name))
