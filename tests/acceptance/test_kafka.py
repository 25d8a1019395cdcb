"""Kafka as a source, with drivers that are killed, and a broker that is.

Kills at every step of a Kafka transaction are in test_kill_at_every_step.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from foreachonce import DeltaSink, JdbcSink
from foreachonce.chain import breaks
from foreachonce.faults import Point
from foreachonce.testing.contract import refused
from foreachonce.testing.driver import Driver, Job
from tests.acceptance.delta_reader import DeltaReader
from tests.acceptance.place import kafka_sink, reader
from tests.acceptance.reader import FILE_IDS, ROWS, Reader, file_ids
from tests.acceptance.sql_reader import SqlReader
from tests.servers.kafka import KafkaStream, broker, make_topic
from tests.servers.kafka import Reader as TopicReader

# --- Kafka as a source ----------------------------------------------------------------------------------------------


@dataclass
class Landing:
    """A stream of a topic into a place of its own."""

    stream: KafkaStream
    sink: Any
    open_reader: Callable[[], Reader]

    @property
    def job(self) -> Job:
        return Job(self.sink, self.stream.source, self.stream.checkpoint, master="local[8,4]")


def test_kafka_source_lands_once_in_every_sink(kafka_server, kafka_place, postgres_url, delta_path, tmp_path: Path):
    """Two partitions, killed drivers, and a partition that joins."""
    sinks = [
        (JdbcSink(postgres_url, table="events", stream="s"), partial(SqlReader, postgres_url)),
        (DeltaSink(delta_path, stream="s"), partial(DeltaReader, delta_path)),
        (kafka_sink(kafka_place), partial(reader, kafka_place)),
    ]
    landings = [
        Landing(KafkaStream(kafka_server, tmp_path / str(number), records=100, partitions=2), *sink)
        for number, sink in enumerate(sinks)
    ]
    steps: tuple[Point, ...] = ("head-read", "committed")
    for number, step in enumerate(steps):
        for landing in landings:
            landing.stream.feed(range(number * FILE_IDS, number * FILE_IDS + 250))
        with Driver(*(landing.job for landing in landings)) as driver:
            driver.faults.arm(step, "hold")
            driver.faults.wait_for_all(step, len(landings), lambda driver=driver: driver.is_running)
            driver.kill("all")
    for landing in landings:
        add_partition(kafka_server, landing.stream.source.topic, 3)
        landing.stream.feed(range(9 * FILE_IDS, 9 * FILE_IDS + 250))
    with Driver(*(landing.job for landing in landings)) as driver:
        assert driver.wait() == 0, driver.log()
    for landing in landings:
        check(landing)


def check(landing: Landing) -> None:
    """Every record is there once, and the chain ends with three partitions."""
    found = landing.open_reader()
    assert found.ids() == landing.stream.ids()
    found.close()
    entries = list(landing.sink.ledger.entries("s"))
    assert list(breaks(entries)) == []
    ends = json.loads(entries[-1].position.sources["0"].end)[landing.stream.source.topic]
    assert sorted(ends) == ["0", "1", "2"]
    assert sum(ends.values()) == len(landing.stream.ids())


def test_lost_checkpoint_of_a_kafka_source_is_refused(spark, kafka_server, kafka_place, tmp_path: Path):
    sink = kafka_sink(kafka_place)
    stream = KafkaStream(kafka_server, tmp_path, records=10, spark=spark)
    stream.feed(range(20))
    stream.run(sink)
    stream.lose_checkpoint()
    with refused("Mismatch"):
        stream.run(sink)
    assert reader(kafka_place).ids() == stream.ids()


def add_partition(servers: str, topic: str, partitions: int) -> None:
    from confluent_kafka.admin import AdminClient, NewPartitions

    admin = AdminClient({"bootstrap.servers": servers})
    admin.create_partitions([NewPartitions(topic, partitions)])[topic].result(30)


# --- the broker is killed -------------------------------------------------------------------------------------------


def test_broker_that_is_killed_and_restarted_loses_and_repeats_nothing(tmp_path: Path):
    """Once amid the rows and once amid the commit, which the driver outlives or is started again after."""
    with broker() as server, Driver() as driver:
        sinks = {path: kafka_sink(topic(server.servers, path), path=path) for path in ("task", "driver")}
        streams = {path: KafkaStream(server.servers, tmp_path / path, records=ROWS) for path in sinks}
        jobs = [Job(sink, streams[path].source, streams[path].checkpoint) for path, sink in sinks.items()]
        for number, step in enumerate(["rows-half", "commit-begun"]):
            for stream in streams.values():
                stream.feed(file_ids(number))
            driver.faults.arm(step, "hold")
            driver.submit(*jobs)
            driver.faults.wait_for_all(step, len(jobs), lambda: driver.is_busy)
            server.kill()
            server.start()
            driver.faults.clear()
            driver.result()
        driver.submit(*jobs)
        assert driver.result() == ""
        for path, sink in sinks.items():
            ids = sorted(json.loads(value)["id"] for value in TopicReader(server.servers).values(f"events-{path}"))
            assert ids == streams[path].ids()
            assert list(breaks(sink.ledger.entries("s"))) == []


def topic(servers: str, path: str) -> str:
    """A new topic of one partition."""
    make_topic(servers, f"events-{path}", partitions=1)
    return f"kafka://{servers}/events-{path}"
