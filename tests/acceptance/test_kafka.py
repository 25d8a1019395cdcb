"""Kafka as a source and as a sink, with drivers that are killed and a broker that is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from uuid import uuid4

import pytest

from foreachonce import DeltaSink, JdbcSink, KafkaSink
from foreachonce.chain import breaks
from foreachonce.faults import Point
from foreachonce.kafka.batch import DRIVER_POINTS
from foreachonce.testing.driver import Driver, Job
from tests.acceptance.delta_reader import DeltaReader
from tests.acceptance.place import kafka_sink, reader
from tests.acceptance.reader import FILE_IDS, ROWS, file_ids
from tests.acceptance.sql_reader import SqlReader
from tests.servers.kafka import KafkaStream, Reader, broker, make_topic

pytestmark = pytest.mark.usefixtures("jdbc_driver")  # Spark's Kafka source comes with them


def finish(job: Job, tries: int = 1) -> None:
    """Run a driver to its end; one that is stopped by what the test does is started again."""
    for _ in range(tries):
        with Driver(job) as driver:
            if driver.wait() == 0:
                return
            log = driver.log()
    raise AssertionError(log)


# --- kills at every step --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "steps"),
    [
        # Its other steps are those of workers: test_worker_killed_at_any_step_writes_once in foreachonce/testing/writing.py.
        ("task", ("fenced", "commit-begun", "committed")),
        ("driver", ("stream-taken", *DRIVER_POINTS)),
    ],
)
def test_a_kill_at_any_step_of_a_kafka_transaction(path, steps, kafka_place, kafka_server, tmp_path: Path):
    sink = kafka_sink(kafka_place, path=path)
    stream = KafkaStream(kafka_server, tmp_path, records=ROWS)
    stream.feed(*(file_ids(number) for number in range(len(steps) + 1)))
    job = Job(sink, stream.source, stream.checkpoint)
    with reader(kafka_place) as watch:
        for step in steps:
            with Driver(job, fault=step) as driver:
                driver.wait_at_point()
                driver.kill("all")
        finish(job)
        watch.look()
        assert watch.ids() == stream.ids()
    assert watch.parts == []
    entries = list(sink.ledger.entries("s"))
    assert list(breaks(entries)) == []
    assert sum(entry.rows for entry in entries) == len(stream.ids())


def test_a_kill_at_any_step_of_transactions_side_by_side(kafka_server, tmp_path: Path):
    """Each part is there once; which of the parts can be read meanwhile is not promised."""
    topic = f"events-{uuid4().hex[:12]}"
    make_topic(kafka_server, topic, partitions=2)
    sink = kafka_sink(f"kafka://{kafka_server}/{topic}", path="task", transactions=2)
    stream = KafkaStream(kafka_server, tmp_path, records=ROWS)
    stream.feed(*(file_ids(number) for number in range(4)))
    job = Job(sink, stream.source, stream.checkpoint)
    for step in ("rows-half", "commit-begun", "committed"):
        with Driver(job, fault=step) as driver:
            driver.wait_at_point()
            driver.kill("all")
    finish(job)
    assert sorted(json.loads(value)["id"] for value in Reader(kafka_server).values(topic)) == stream.ids()
    assert list(breaks(sink.ledger.entries("s"))) == []
    assert {epoch.parts for epoch in sink.ledger.history("s").epochs} == {2}


# --- Kafka as a source ----------------------------------------------------------------------------------------------


def places(kafka_place: str, postgres_url: str, delta_path: str):
    """A sink of each kind, and somebody who looks at it."""
    return {
        "postgres": (JdbcSink(postgres_url, table="events", stream="s"), lambda: SqlReader(postgres_url)),
        "delta": (DeltaSink(delta_path, stream="s"), lambda: DeltaReader(delta_path)),
        "kafka": (kafka_sink(kafka_place), lambda: reader(kafka_place)),
    }


@pytest.mark.parametrize("kind", ["postgres", "delta", "kafka"])
def test_kafka_source_lands_once_in_every_sink(kind, kafka_server, kafka_place, postgres_url, delta_path, tmp_path: Path):
    """Two partitions, killed drivers, and a partition that joins."""
    sink, open_reader = places(kafka_place, postgres_url, delta_path)[kind]
    stream = KafkaStream(kafka_server, tmp_path, records=100, partitions=2)
    job = Job(sink, stream.source, stream.checkpoint)
    steps: tuple[Point, ...] = ("head-read", "committed")
    for number, step in enumerate(steps):
        stream.feed(range(number * FILE_IDS, number * FILE_IDS + 250))
        with Driver(job, fault=step) as driver:
            driver.wait_at_point()
            driver.kill("all")
    add_partition(kafka_server, stream.source.topic, 3)
    stream.feed(range(9 * FILE_IDS, 9 * FILE_IDS + 250))
    finish(job)
    found = open_reader()
    assert found.ids() == stream.ids()
    found.close()
    entries = list(sink.ledger.entries("s"))
    assert list(breaks(entries)) == []
    ends = json.loads(entries[-1].position.sources["0"].end)[stream.source.topic]
    assert sorted(ends) == ["0", "1", "2"]
    assert sum(ends.values()) == len(stream.ids())


def test_lost_checkpoint_of_a_kafka_source_is_refused(kafka_server, kafka_place, tmp_path: Path):
    sink = kafka_sink(kafka_place)
    stream = KafkaStream(kafka_server, tmp_path, records=10)
    stream.feed(range(20))
    job = Job(sink, stream.source, stream.checkpoint)
    finish(job)
    shutil.rmtree(stream.checkpoint)
    with Driver(job) as driver:
        assert driver.wait() == 1
        assert "errors.Mismatch" in driver.log()
    watch = reader(kafka_place)
    assert watch.ids() == stream.ids()


def add_partition(servers: str, topic: str, partitions: int) -> None:
    from confluent_kafka.admin import AdminClient, NewPartitions

    admin = AdminClient({"bootstrap.servers": servers})
    admin.create_partitions([NewPartitions(topic, partitions)])[topic].result(30)


# --- the broker is killed -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["task", "driver"])
def test_broker_that_is_killed_and_restarted_loses_and_repeats_nothing(path, tmp_path: Path):
    """Once amid the rows and once amid the commit, which the driver outlives or is started again after."""
    with broker() as server:
        make_topic(server.servers, "events", partitions=1)
        sink = KafkaSink(server.servers, topic="events", stream="s", key="cast(id as string)", value="to_json(struct(*))",
                         path=path)  # fmt: skip
        stream = KafkaStream(server.servers, tmp_path, records=ROWS)
        job = Job(sink, stream.source, stream.checkpoint)
        for number, step in enumerate(["rows-half", "commit-begun"]):
            stream.feed(file_ids(number))
            with Driver(job, fault=step) as driver:
                driver.wait_at_point()
                server.kill()
                server.start()
                driver.faults.release(step)
                driver.wait()
        finish(job)
        ids = sorted(json.loads(value)["id"] for value in Reader(server.servers).values("events"))
        assert ids == stream.ids()
        assert list(breaks(sink.ledger.entries("s"))) == []
