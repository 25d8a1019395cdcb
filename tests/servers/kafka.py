"""A real Kafka broker, from the first place that has one.

In this order: the address in ``FOREACHONCE_KAFKA_SERVERS``; Docker, through testcontainers; Kafka's own jars, which Spark
fetches from Maven Central once, and the Java that Spark needs anyway.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING
from uuid import uuid4

import pyspark
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # its stubs hide what it offers

from foreachonce.testing.stream import KafkaSource, Stream
from tests.servers.alone import alone
from tests.servers.jdbc import fetch
from tests.servers.server import free_ports, has_docker

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

VARIABLE = "FOREACHONCE_KAFKA_SERVERS"
VERSION = "4.4.0"
PACKAGES = (f"org.apache.kafka:kafka_2.13:{VERSION}", "org.slf4j:slf4j-simple:1.7.36")
HOME = Path(sys.prefix, f"kafka-{VERSION}")
START_SECONDS = 60
SETTINGS = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
    # A client must say what topics it wants.
    "auto.create.topics.enable": "false",
}


# How a reader reads.
READ: Mapping[str, str | bool | int] = MappingProxyType(
    {
        "group.id": "foreachonce-tests",
        "isolation.level": "read_committed",
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        "auto.offset.reset": "error",
        # A fetch at the end of a partition waits so long for more before it says that there is no more; else 500.
        "fetch.wait.max.ms": 5,
    }
)
NO_SETTINGS: Mapping[str, str] = MappingProxyType({})


class NoKafka(Exception):
    """No Kafka can be had here; the message says what was tried."""


class Broker:
    """A broker of one node in a folder, to be killed and started again on the same port."""

    def __init__(self, folder: Path, client: Mapping[str, str], **settings: str) -> None:
        self._folder, self._classes, self._client = folder, _classes(), client
        port, controller = free_ports(2)
        self.servers = f"127.0.0.1:{port}"
        listeners = {
            "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "log.dirs": str(folder / "data"),
        }
        given = {name.replace("_", "."): value for name, value in settings.items()}
        lines = (f"{name}={value}" for name, value in {**SETTINGS, **listeners, **given}.items())
        (folder / "server.properties").write_text("\n".join(lines) + "\n")
        self._java("kafka.tools.StorageTool", "format", "-t", "foreachonceforeachonce", "-c").wait(START_SECONDS)
        self.start()

    def start(self) -> None:
        """Start the broker, and wait until it answers."""
        self._process = self._java("kafka.Kafka")
        deadline = time.monotonic() + START_SECONDS
        while not _answers({"bootstrap.servers": self.servers, **self._client}):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise NoKafka(f"the broker did not start: {(self._folder / 'log').read_text()[-3000:]}")

    def kill(self) -> None:
        """SIGKILL the broker."""
        self._process.kill()
        self._process.wait()

    def pause(self) -> None:
        """Let the broker stand still, as on a machine that does not answer."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let the broker go on."""
        self._process.send_signal(signal.SIGCONT)

    def _java(self, main: str, *arguments: str) -> subprocess.Popen[bytes]:
        memory = ("-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
        command = ["java", *memory, "-cp", self._classes, main, *arguments, str(self._folder / "server.properties")]
        with (self._folder / "log").open("ab") as log:
            return subprocess.Popen(command, cwd=self._folder, stdout=log, stderr=log)


def jars() -> Path:
    """The folder of Kafka's jars; Spark fetches them where they are not there yet.

    Raises:
        NoKafka: it could not.
    """
    HOME.mkdir(exist_ok=True)
    done = HOME / "done"
    with alone(HOME / "lock"):
        if not done.exists():
            words = fetch(",".join(PACKAGES), HOME)
            if not (HOME / "jars" / f"org.apache.kafka_kafka_2.13-{VERSION}.jar").exists():
                raise NoKafka(f"Spark could not fetch Kafka {VERSION} from Maven Central: {words[-5000:]}")
            done.touch()
    return HOME / "jars"


def _classes() -> str:
    # Spark fetches everything but Scala, which it has itself.
    scala = Path(pyspark.__file__).parent.glob("jars/scala-library-2.13*.jar")
    return ":".join([f"{jars()}/*", *map(str, scala)])


@contextmanager
def kafka() -> Iterator[str]:
    """Yield the addresses of a Kafka that is there, or is started and stopped again.

    Raises:
        NoKafka: none can be had, with what was tried.
    """
    given = os.environ.get(VARIABLE)
    if given:
        yield given
    elif has_docker():
        with _container() as servers:
            yield servers
    elif shutil.which("java") is None:
        raise NoKafka(
            f"no Kafka: {VARIABLE} is not set, no Docker engine answers, and there is no Java. One of them will do."
        )
    else:
        with broker() as started:
            yield started.servers


@contextmanager
def broker(client: Mapping[str, str] = NO_SETTINGS, **settings: str) -> Iterator[Broker]:
    """Yield a broker of one's own.

    Args:
        client: what an administrator's client needs besides the address.
        settings: the server's, with ``_`` for each dot of their names.
    """
    with tempfile.TemporaryDirectory(prefix="foreachonce-kafka-", ignore_cleanup_errors=True) as folder:
        started = Broker(Path(folder), client, **settings)
        try:
            yield started
        finally:
            started.kill()


@contextmanager
def _container() -> Iterator[str]:
    from testcontainers.kafka import KafkaContainer

    with KafkaContainer(f"apache/kafka:{VERSION}").with_kraft() as container:
        yield container.get_bootstrap_server()


def _answers(client: Mapping[str, str]) -> bool:
    try:
        return bool(AdminClient({**client, "log_level": 0}).list_topics(timeout=1).brokers)
    except KafkaException:
        return False


def make_topic(
    servers: str, topic: str, partitions: int = 2, settings: Mapping[str, str] = NO_SETTINGS, **client: str
) -> None:
    """Make a topic that keeps its records unless ``settings`` say otherwise, and wait until the broker knows it.

    A broker deletes by the records' own timestamps, looks every five minutes, and keeps a week: a test's record of a fixed
    day would sometimes be gone before it is read.
    """
    admin = AdminClient({"bootstrap.servers": servers, **client})
    config = {"retention.ms": "-1", **settings}
    new = NewTopic(topic, num_partitions=partitions, replication_factor=1, config=config)
    admin.create_topics([new])[topic].result(30)
    while topic not in admin.list_topics(timeout=10).topics:
        time.sleep(0.01)


class KafkaStream(Stream):
    """A topic as a source, and a checkpoint.

    Args:
        servers: the broker's address.
        folder: where the checkpoint goes.
        records: how many records take the place of one file.
        partitions: of the topic.
        spark: the session that runs the queries; None where they run in drivers of their own.
    """

    source: KafkaSource

    def __init__(
        self, servers: str, folder: Path, *, records: int = 1, partitions: int = 1, spark: SparkSession | None = None
    ) -> None:
        super().__init__(spark, folder)
        self.source = KafkaSource(servers, f"source-{uuid4().hex[:12]}", records)
        self._producer = Producer({"bootstrap.servers": servers, "enable.idempotence": True})
        self._ids: list[int] = []
        make_topic(servers, self.source.topic, partitions)

    def feed(self, *files: Iterable[int]) -> None:
        """Send a record for each id, in order."""
        for number in (number for ids in files for number in ids):
            value = json.dumps({"id": number, "value": f"value {number}"})
            self._producer.produce(self.source.topic, value, key=str(number))
            self._ids.append(number)
        self._producer.flush()

    def ids(self) -> list[int]:
        """Every id that was fed, in order."""
        return sorted(self._ids)


class Reader:
    """Reads whole topics as a ``read_committed`` consumer sees them, up to the end that is stable now."""

    def __init__(self, servers: str, isolation: str = "read_committed") -> None:
        self._settings = {**READ, "bootstrap.servers": servers, "isolation.level": isolation}

    def values(self, topic: str) -> list[bytes | None]:
        """The values of all records of the topic."""
        return [message.value() for message in self.messages(topic)]

    def counts(self, topic: str) -> Counter[bytes | None]:
        """How often each value is in the topic."""
        return Counter(self.values(topic))

    def messages(self, topic: str) -> Iterator[Message]:
        """Yield all records of the topic, partition by partition; none where there is no topic."""
        consumer = Consumer(self._settings)
        try:
            for partition in consumer.list_topics(topic, timeout=10).topics[topic].partitions:
                consumer.assign([TopicPartition(topic, partition, 0)])
                yield from _to_the_end(consumer)
        finally:
            consumer.close()


def _to_the_end(consumer: Consumer) -> Iterator[Message]:
    while True:
        message = consumer.poll(10)
        if message is None:
            raise AssertionError("the broker sends nothing")
        error = message.error()
        if error is None:
            yield message
        elif error.code() == KafkaError._PARTITION_EOF:
            return
        else:
            raise KafkaException(error)
