"""The places that drivers write to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from foreachonce import DeltaSink, JdbcSink, KafkaSink
from tests.acceptance.delta_reader import DeltaReader
from tests.acceptance.kafka_reader import KafkaReader
from tests.acceptance.reader import Reader
from tests.acceptance.sql_reader import SqlReader
from tests.servers.kafka import kafka, make_topic
from tests.servers.mariadb import database as mariadb_database
from tests.servers.mariadb import mariadb
from tests.servers.postgres import database, postgres

NAMES = ("sqlite", "postgres", "mariadb", "delta", "kafka")
# What a Kafka place is called by: its server and its topic, one partition of it.
KAFKA = "kafka://"


@contextmanager
def place(name: str, folder: str) -> Iterator[str]:
    """A new place: a database's address, or a Delta table's path."""
    if name == "sqlite":
        yield f"sqlite:///{folder}/sink.db"
    elif name == "postgres":
        with postgres() as server, database(server) as url:
            yield url
    elif name == "mariadb":
        with mariadb() as server, mariadb_database(server) as url:
            yield url
    elif name == "kafka":
        with kafka() as servers:
            make_topic(servers, "events", partitions=1)
            yield f"{KAFKA}{servers}/events"
    else:
        yield f"{folder}/events"


def sinks(place: str, **keywords: Any) -> list[JdbcSink] | list[DeltaSink] | list[KafkaSink]:
    """Every way of rows into a place. They share a ledger, so drivers can take them in turn."""
    if place.startswith(KAFKA):
        return [kafka_sink(place, path=path, **keywords) for path in ("task", "driver")]
    if "://" not in place:
        merge = {"stream": "s", "mode": "merge", "key": "id", **keywords}
        return [
            DeltaSink(place, stream="s", **keywords),
            DeltaSink(place, **merge),
            DeltaSink(place, **merge, when_matched="keep"),
        ]
    # The executors are killed with rows under way first.
    paths = ("direct", "driver") if place.startswith("sqlite") else ("direct", "driver", "staged")
    return [JdbcSink(place, table="events", stream="s", path=path, **keywords) for path in paths]


def kafka_sink(place: str, **keywords: Any) -> KafkaSink:
    """A sink of a Kafka place."""
    servers, topic = place.removeprefix(KAFKA).split("/")
    return KafkaSink(servers, topic=topic, stream="s", key="cast(id as string)", value="to_json(struct(*))",
                     ledger_prefix=f"ledger.{topic}.", **keywords)  # fmt: skip


def reader(place: str) -> Reader:
    """Somebody who looks at the place from outside."""
    if place.startswith(KAFKA):
        return KafkaReader(*place.removeprefix(KAFKA).split("/"))
    return SqlReader(place) if "://" in place else DeltaReader(place)
