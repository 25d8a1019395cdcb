"""Spark itself goes on from the checkpoints that this library writes, and does with them what the unit tests' model says."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyspark
import pytest
import sqlalchemy as sa

from foreachonce import JdbcSink
from foreachonce.checkpoint import CommitLog, OffsetLog, by_entry, source_log_lines
from foreachonce.checkpoint.local import LocalCheckpoint
from foreachonce.testing.recovery import start
from foreachonce.testing.stream import SCHEMA, FileStream
from tests.unit.builders import FakeFolder
from tests.unit.spark_model import Query, restart

STREAMING = "spark.sql.streaming."


@pytest.fixture
def set_to(spark) -> Iterator[Callable[..., None]]:
    """Settings of streaming for the queries of a test."""
    names: list[str] = []

    def set_to(**settings: object) -> None:
        for name, value in settings.items():
            names.append(STREAMING + name.replace("_", "."))
            spark.conf.set(names[-1], str(value))

    yield set_to
    for name in names:
        spark.conf.unset(name)


@pytest.fixture
def database(tmp_path) -> Path:
    return tmp_path / "sink.db"


@pytest.fixture
def sink(database) -> JdbcSink:
    return JdbcSink(f"sqlite:///{database}", table="events", stream="s", heal=True)


def rows(database: Path, what: str = "id") -> list[tuple]:
    with sa.create_engine(f"sqlite:///{database}", poolclass=sa.NullPool).connect() as connection:
        return [tuple(row) for row in connection.execute(sa.text(f"select {what} from events order by id"))]


def entries(folder, name: str) -> list[int]:
    """Which entries of the source's log a file holds."""
    return list(by_entry(source_log_lines(folder.text(f"sources/0/{name}"))))


def test_log_goes_with_the_interval_of_the_session(stream, sink, database, set_to):
    set_to(fileSource_log_compactInterval=2)
    stream.feed(*([number] for number in range(5)))
    start(stream, sink)
    real, model = LocalCheckpoint(str(stream.checkpoint)), Query(FakeFolder(), interval=2).run(*[1] * 5).folder
    for path in ("offsets", "commits", "sources", "sources/0"):
        assert real.names(path) == model.names(path)
    assert [entries(real, name) for name in real.names("sources/0")] == [
        entries(model, name) for name in model.names("sources/0")
    ]
    assert (restart(real, 2).batch_id, restart(real, 2).ends) == (5, None)
    stream.lose_checkpoint()
    stream.feed([5])
    start(stream, sink)
    assert real.names("sources/0") == ["1.compact", "3.compact", "4", "5.compact"]
    assert rows(database) == [(number,) for number in range(6)]


@pytest.mark.skipif(pyspark.__version__ < "4.2", reason="Spark has no names for sources")
def test_named_sources_and_the_newest_formats(spark, tmp_path, sink, database, set_to):
    set_to(queryEvolution_enableSourceEvolution=True, queryEvolution_enableSinkEvolution=True, offsetLog_formatVersion=2)
    orders, clicks = FileStream(spark, tmp_path / "orders"), FileStream(spark, tmp_path / "clicks")
    folder = LocalCheckpoint(str(orders.checkpoint))

    def run() -> None:
        both = [
            spark.readStream.name(stream.source.parent.name)
            .schema(SCHEMA)
            .option("maxFilesPerTrigger", 1)
            .json(str(stream.source))
            for stream in (orders, clicks)
        ]
        writer = both[0].union(both[1]).writeStream.trigger(availableNow=True)
        writer._jwrite.name("events")  # Python's writer has no name() yet
        sink.start(writer, folder.root).awaitTermination()

    orders.feed([1], [2])
    clicks.feed([10])
    run()
    assert [log.parse(folder.text(path)).version for log, path in ((OffsetLog, "offsets/1"), (CommitLog, "commits/1"))] == [
        "v2",
        "v3",
    ]
    for log, kind in ((OffsetLog, "offsets"), (CommitLog, "commits")):
        assert all(log.parse(folder.text(path)).text() == folder.text(path) for path in folder.walk(kind))
    orders.lose_checkpoint()
    orders.feed([3])
    clicks.feed([11])
    run()
    assert folder.names("sources") == ["clicks", "orders"]
    assert rows(database) == [(1,), (2,), (3,), (10,), (11,)]


def test_source_that_the_query_uses_twice(stream, sink, database):
    """It stands twice in the offset log, and has one log of files."""

    def both(frame):
        return frame.where("id % 2 = 0").union(frame.where("id % 3 = 0"))

    stream.feed([1, 2, 3], [4, 5, 6])
    start(stream, sink, change=both)
    position = sink.ledger.head("s").position
    assert (position.shared, position.folders) == (frozenset("1"), {"0": "0"})
    stream.lose_checkpoint()
    stream.feed([6, 7, 8])
    start(stream, sink, change=both)
    assert LocalCheckpoint(str(stream.checkpoint)).names("sources") == ["0"]
    assert rows(database) == [(number,) for number in (2, 3, 4, 6, 6, 6, 6, 8)]


def distinct(frame):
    """Rows whose id has not come before."""
    return frame.dropDuplicates(["id"])


@pytest.fixture
def quick_snapshots(spark, set_to) -> Iterator[None]:
    """Spark makes a snapshot of the state every second batch. Its task for that keeps the interval that it began with."""
    store = spark._jvm.org.apache.spark.sql.execution.streaming.state.StateStore
    store.stop()
    set_to(stateStore_maintenanceInterval="50ms", stateStore_minDeltasForSnapshot=1)
    # StateStore.stop waits so long, 300 seconds by default, for a task that may be waiting for its lock.
    set_to(stateStore_maintenanceShutdownTimeout="1s")
    yield
    store.stop()


def test_state_of_batches_that_were_taken_back_is_not_loaded(stream, sink, database, quick_snapshots, set_to):
    """Batches that are cut otherwise come in their place; Spark would take a snapshot of the old ones for theirs."""

    def await_snapshots(frame, batch_id):
        frame.collect()
        deadline = time.monotonic() + 30
        while batch_id == 3 and len(list(stream.checkpoint.glob("state/0/*/4.snapshot"))) < 2:
            assert time.monotonic() < deadline
            time.sleep(1)
            # Where Spark's task for snapshots has met an error, the next use of the state starts it again.
            frame.collect()

    stream.feed([0])
    start(stream, sink, change=distinct)
    stream.feed([1], [2], [3])
    stream.run(await_snapshots, change=distinct)
    set_to(stateStore_minDeltasForSnapshot=100)
    stream.feed([4], [5])
    start(stream, sink, limit=2, change=distinct)
    assert LocalCheckpoint(str(stream.checkpoint)).names("commits")[-1] == "3"
    stream.feed([4, 5], [6])
    start(stream, sink, change=distinct)
    assert rows(database) == [(number,) for number in range(7)]
