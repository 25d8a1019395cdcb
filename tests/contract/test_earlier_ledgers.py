"""What version 13795a7 wrote is read in full, and its streams go on: ``tests/data/13795a7/make.py`` has made it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
import sqlalchemy as sa
from confluent_kafka import Producer

from foreachonce import DeltaSink, JdbcSink, KafkaSink, SqlLedger, exactly_once
from foreachonce.chain import breaks
from foreachonce.sql.url import parse_url
from foreachonce.testing.contract import refused
from foreachonce.testing.stream import FileStream
from tests.servers.kafka import Reader, make_topic

FOR_EVER = {"retention.ms": "-1", "retention.bytes": "-1", "cleanup.policy": "delete"}
WRITTEN = Path(__file__).parent.parent / "data" / "13795a7"


@dataclass
class Place:
    """A ledger as it was left.

    Args:
        name: of its folder.
        sink: makes a sink of a stream.
        ids: reads what the sinks have written.
        old: the ids that were there.
        url: a database's address.
    """

    name: str
    sink: Callable[..., Any]
    ids: Callable[[], list[int]]
    old: tuple[int, ...] = (*range(8), 10, 10, 11, 11)
    url: str = ""

    @property
    def ledger(self):
        return self.sink("orders").ledger

    @property
    def entries(self) -> dict[str, list[dict]]:
        """By stream, as the version that wrote them read them."""
        return json.loads((WRITTEN / self.name / "entries.json").read_text())


@pytest.fixture
def sqlite(sqlite_url, tmp_path):
    shutil.copy(WRITTEN / "sqlite/sink.db", tmp_path)
    return of_database("sqlite", sqlite_url)


@pytest.fixture
def postgres(postgres_url):
    with psycopg.connect(postgres_url) as connection:
        connection.execute((WRITTEN / "postgres/dump.sql").read_bytes())
    return of_database("postgres", postgres_url)


def of_database(name: str, url: str) -> Place:
    def ids():
        with sa.create_engine(parse_url(url), poolclass=sa.NullPool).connect() as connection:
            return list(connection.execute(sa.text("select id from events order by id")).scalars())

    return Place(name, lambda stream, **keywords: JdbcSink(url, table="events", stream=stream, **keywords), ids, url=url)


@pytest.fixture
def delta(spark, tmp_path):
    path = str(shutil.copytree(WRITTEN / "delta/events", tmp_path / "events"))

    def ids():
        return [row.id for row in spark.read.format("delta").load(path).orderBy("id").collect()]

    return Place("delta", lambda stream, **keywords: DeltaSink(path, stream=stream, **keywords), ids)


@pytest.fixture
def kafka(kafka_server):
    prefix = f"ledger-{uuid4().hex[:12]}."
    make_topic(kafka_server, f"{prefix}events", partitions=2)

    def sink(stream, **keywords):
        rows = {"topic": f"{prefix}events", "key": "cast(id as string)", "value": "to_json(struct(*))"}
        return KafkaSink(kafka_server, stream=stream, ledger_prefix=f"{prefix}foreachonce.", **rows, **keywords)

    def ids():
        return sorted(json.loads(value)["id"] for value in Reader(kafka_server).values(f"{prefix}events"))

    producer = Producer({"bootstrap.servers": kafka_server})
    for records in (WRITTEN / "kafka").glob("*.jsonl"):
        topic = f"{prefix}foreachonce.{records.stem}"
        make_topic(kafka_server, topic, partitions=1, settings=FOR_EVER)
        for record in map(json.loads, records.read_text().splitlines()):
            producer.produce(topic, record["value"], record["key"], headers=record["headers"])
    producer.flush()
    return Place("kafka", sink, ids, old=())


@pytest.fixture(params=["sqlite", "postgres", "delta", "kafka"])
def place(request) -> Place:
    return request.getfixturevalue(request.param)


def left(name: str, stream: str, spark, tmp_path: Path) -> FileStream:
    """The stream's checkpoint, and a file of rows that came later; those before it are gone."""
    found = FileStream(spark, tmp_path / "later")
    shutil.copytree(WRITTEN / name / f"checkpoint-{stream}", found.checkpoint)
    found.feed([90, 91])
    # Of a path with a wildcard Spark does not ask that all files of the log are below it.
    found.source = found.source.with_name("sourc[e]")
    return found


def test_every_entry_reads_back_as_it_was_written(place):
    assert place.ledger.streams() == sorted(place.entries)
    for stream, expected in place.entries.items():
        entries = list(place.ledger.entries(stream))
        assert [{**entry.to_fields(), "rows": entry.rows} for entry in entries] == expected
        assert place.ledger.head(stream) == entries[-1]
        assert list(breaks(entries)) == []


def test_decisions_have_their_kinds(place):
    kinds = [entry.decision.kind for stream in ("orders", "again") for entry in place.ledger.entries(stream)]
    assert kinds == ["write", "write", "write", "repair", "write", "write", "on_mismatch"]
    assert [entry.is_repair for entry in place.ledger.entries("orders")] == [False, False, False, True, False]


def test_stream_goes_on_where_it_was(place, spark, tmp_path):
    """Spark does not know that the newest batch was written: it is skipped, and the next one is written."""
    stream = left(place.name, "orders", spark, tmp_path)
    stream.run(place.sink("orders"))
    assert place.ids() == sorted([*place.old, 90, 91])
    entries = list(place.ledger.entries("orders"))
    assert list(breaks(entries)) == []
    assert [entry.batch_id for entry in entries] == [0, 1, 2, -3, 3, 4]


def test_stream_of_several_transactions_goes_on_where_it_was(kafka, spark, tmp_path):
    stream = left("kafka", "parts", spark, tmp_path)
    stream.run(exactly_once(kafka.sink("parts", path="task", transactions=2))(lambda df, batch_id: df.repartition(2)))
    assert kafka.ids() == [90, 91]
    assert [epoch.parts for epoch in kafka.ledger.history("parts").epochs] == [2, 2, 2]
    assert list(breaks(kafka.ledger.entries("parts"))) == []


@pytest.mark.parametrize("place", ["sqlite", "postgres"], indirect=True)
def test_call_in_doubt_is_in_doubt_still(place, spark, tmp_path):
    stream, called = left(place.name, "calls", spark, tmp_path), []
    with refused("InDoubt", "batch 1", "attempt 0"):
        stream.run(exactly_once(ledger=place.url, stream="calls")(lambda df, batch_id: called.append(batch_id)))
    stream.run(
        exactly_once(ledger=place.url, stream="calls", in_doubt="rerun")(lambda df, batch_id: called.append(batch_id))
    )
    assert called == [1, 2]
    decisions = [str(entry.decision) for entry in SqlLedger(place.url).entries("calls")]
    assert decisions == ["in_doubt=rerun", "in_doubt=rerun", "write"]
