"""A real driver is killed at every step between offsets/N and commits/N; each batch is there once.

The driver runs a query for every way of rows into every place, so one kill at a point meets all that pass it.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, get_args
from uuid import uuid4

import pytest
import sqlalchemy as sa

from foreachonce import DeltaLedger, DeltaSink, DeltaTables, JdbcSink, exactly_once
from foreachonce.chain import breaks
from foreachonce.delta.sink import DELTA_POINTS
from foreachonce.faults import Point
from foreachonce.kafka.batch import DRIVER_POINTS as KAFKA_DRIVER_POINTS
from foreachonce.kafka.batch import TASK_POINTS
from foreachonce.runner import POINTS_AFTER, POINTS_BEFORE
from foreachonce.sql import function
from foreachonce.sql.paths import DIRECT_POINTS, DRIVER_POINTS, STAGED_POINTS
from foreachonce.sql.spark_jdbc import GENERIC_POINTS
from foreachonce.sql.url import parse_url
from foreachonce.testing.driver import Driver, Job
from foreachonce.testing.stream import FileStream
from tests.acceptance.delta_reader import DeltaReader
from tests.acceptance.kafka_reader import KafkaReader
from tests.acceptance.place import KAFKA, kafka_sink
from tests.acceptance.reader import ROWS, Reader, file_ids
from tests.acceptance.sql_reader import SqlReader
from tests.contract.effects import Effects
from tests.servers.jdbc import options
from tests.servers.kafka import Reader as TopicReader
from tests.servers.kafka import make_topic


def orders_and_count(df, batch_id, tx):
    """Two tables, one transaction."""
    tx.append(df, table="events")
    tx.execute("create table if not exists batches (batch bigint)")
    tx.execute("insert into batches values (:batch)", {"batch": batch_id})


def two_tables(df, batch_id, tx, tables):
    """The batch in two Delta tables."""
    tx.append(df, table=tables[0])
    tx.merge(df, table=tables[1], key="id")


class Untouched:
    """A Delta table's ledger, read from a copy: to read the table itself would heal what a killed driver has left."""

    def __init__(self, path: str):
        self._path, self._copies = Path(path), 0

    def _ledger(self) -> DeltaLedger:
        self._copies += 1
        copy = self._path.with_name(f"{self._path.name}-copy-{self._copies}")
        if self._path.exists():
            shutil.copytree(self._path, copy)
        return DeltaLedger(str(copy))

    def head(self, stream: str):
        return self._ledger().head(stream)

    def entries(self, stream: str):
        return self._ledger().entries(stream)


@dataclass
class Way:
    """A way of rows into a place, with a stream of its own.

    Args:
        function: what each batch is given to.
        ledger: where its entries are.
        reader: somebody who looks at the place from outside.
        points: the fault points that it passes.
        stream: its source and checkpoint.
        url: the database's address, where it is asked.
        is_exact: whether the rows can be read as soon as their entry, and no sooner.
    """

    function: Any
    ledger: Any
    reader: Reader
    points: Sequence[Point]
    stream: FileStream
    url: str = ""
    is_exact: bool = True

    @property
    def job(self) -> Job:
        """All that is new. Tasks that stand still keep their places from nobody."""
        return Job(self.function, self.stream.source, self.stream.checkpoint, master="local[24,4]")

    def check(self, step: str) -> None:
        """All rows of each batch that has an entry are there, and none else."""
        head = self.ledger.head("s") if self.is_exact else None
        while head is not None:
            ids, newest = self.reader.ids(), self.ledger.head("s")
            if newest == head:
                assert ids == self.stream.ids()[: (head.seq + 1) * ROWS], step
                return
            # A commit that the killed driver had sent came through between the two looks.
            head = newest

    def check_all(self, batches: int) -> None:
        """Everything is there once."""
        assert self.reader.ids() == self.stream.ids()
        assert (self.reader.parts, self.reader.still) == ([], 0)
        entries = list(self.ledger.entries("s"))
        assert list(breaks(entries)) == []
        assert [entry.batch_id for entry in entries] == list(range(batches))


@pytest.fixture
def ways(sqlite_url, kafka_server, tmp_path: Path, new_database) -> dict[str, Way]:
    """By name."""
    found: dict[str, Way] = {}

    def add(name: str, function: Any, ledger: Any, reader: Reader, points: Sequence[Point], **more: Any) -> None:
        reader.every = 0.2
        stream = FileStream(None, tmp_path / "streams" / name)
        found[name] = Way(function, ledger, reader, (*POINTS_BEFORE, *points, *POINTS_AFTER), stream, **more)

    def jdbc(name: str, url: str, path: str, points: Sequence[Point]) -> None:
        sink = JdbcSink(url, table="events", stream="s", path=path)
        add(name, sink, sink.ledger, SqlReader(url), points)

    jdbc("sqlite", sqlite_url, "driver", DRIVER_POINTS)
    for kind in ("postgres", "mariadb"):
        jdbc(f"{kind} direct", new_database(kind), "direct", DIRECT_POINTS)
        jdbc(f"{kind} staged", new_database(kind), "staged", STAGED_POINTS)
    url = new_database("postgres")
    spark_jdbc = JdbcSink(url, table="events", stream="s", spark_jdbc=options(url))
    add("postgres by Spark", spark_jdbc, spark_jdbc.ledger, SqlReader(url), GENERIC_POINTS)
    url = new_database("postgres")
    write = exactly_once(JdbcSink(url, stream="s", path="direct"))(orders_and_count)
    add(
        "transaction",
        write,
        write.sinks[0].ledger,
        SqlReader(url),
        STAGED_POINTS,
        url=url,
    )
    effects, ledger = Effects(f"sqlite:///{tmp_path}/effects.db"), f"sqlite:///{tmp_path}/ledger.db"
    push = exactly_once(ledger=ledger, stream="s", in_doubt=effects.is_there)(effects)
    add("function", push, push.ledger, SqlReader(effects.url), function.POINTS, is_exact=False)
    delta, merged = str(tmp_path / "delta"), str(tmp_path / "merged")
    add("delta", DeltaSink(delta, stream="s"), Untouched(delta), DeltaReader(delta), DELTA_POINTS)
    first = str(tmp_path / "first")
    write = exactly_once(DeltaTables(first, merged, stream="s"))(partial(two_tables, tables=(first, merged)))
    add("delta tables", write, Untouched(first), DeltaReader(first), DELTA_POINTS)
    for path, points in [("task", TASK_POINTS), ("driver", KAFKA_DRIVER_POINTS)]:
        topic = f"events-{uuid4().hex[:12]}"
        make_topic(kafka_server, topic, partitions=1)
        sink = kafka_sink(f"{KAFKA}{kafka_server}/{topic}", path=path)
        add(f"kafka {path}", sink, sink.ledger, KafkaReader(kafka_server, topic), points, is_exact=False)
    return found


def rounds(ways: dict[str, Way]) -> Iterator[tuple[Point, ...]]:
    """All points, those together that no way has two of."""
    passed = {point: {name for name, way in ways.items() if point in way.points} for point in get_args(Point)}
    left = [point for point in get_args(Point) if passed[point]]
    while left:
        together: list[Point] = []
        for point in left:
            if not any(passed[point] & passed[other] for other in together):
                together.append(point)
        left = [point for point in left if point not in together]
        yield tuple(together)


@pytest.mark.timeout(1800)
def test_a_kill_at_any_step_loses_and_repeats_nothing(ways: dict[str, Way]):
    killed_at = list(rounds(ways))
    with ExitStack() as stack:
        for way in ways.values():
            stack.enter_context(way.reader)
        for number, points in enumerate(killed_at):
            for way in ways.values():
                way.stream.feed(file_ids(number))
            kill_at(points, ways)
            for name, way in ways.items():
                way.check(f"{name} at {points}")
        with Driver(*(way.job for way in ways.values())) as driver:
            assert driver.wait() == 0, driver.log()
        for way in ways.values():
            way.reader.look()
            way.check_all(len(killed_at))
    assert in_the_other_table(ways["transaction"].url) == list(range(len(killed_at)))
    merged = DeltaReader(str(Path(ways["delta tables"].stream.checkpoint).parents[2] / "merged"))
    merged.look()
    assert (merged.parts, merged.still) == ([], 0)
    assert merged.ids() == ways["delta tables"].reader.ids()


def test_stages_of_a_killed_driver_are_cleared_by_the_next(spark, postgres_url, tmp_path: Path):
    write = exactly_once(JdbcSink(postgres_url, stream="s", path="direct"))(orders_and_count)
    stream = FileStream(spark, tmp_path)
    stream.feed(file_ids(0), file_ids(1))
    with Driver(Job(write, stream.source, stream.checkpoint), fault="rows-staged") as driver:
        driver.wait_at_point()
        driver.kill("all")
    stream.run(write)
    assert SqlReader(postgres_url).ids() == stream.ids()
    assert in_the_other_table(postgres_url) == [0, 1]


def kill_at(points: Sequence[Point], ways: dict[str, Way]) -> None:
    """Kill a driver when everything that passes one of the points stands at it."""
    with Driver(*(way.job for way in ways.values())) as driver:
        for point in points:
            driver.faults.arm(point, "hold")
        for point in points:
            standing = sum(point in way.points for way in ways.values())
            driver.faults.wait_for_all(point, standing, lambda: driver.is_running)
            time.sleep(0.2)
            assert len(list(driver.faults.folder.glob(f"{point}.met-*"))) == standing, point
        driver.kill("all")


def test_a_kill_at_any_step_of_transactions_side_by_side(spark, kafka_server, tmp_path: Path):
    """Each part is there once; which of the parts can be read meanwhile is not promised."""
    topic = f"events-{uuid4().hex[:12]}"
    make_topic(kafka_server, topic, partitions=2)
    sink = kafka_sink(f"{KAFKA}{kafka_server}/{topic}", path="task", transactions=2)
    stream = FileStream(spark, tmp_path)
    stream.feed(*(file_ids(number) for number in range(4)))
    points: tuple[Point, ...] = ("rows-half", "commit-begun", "committed")
    for point in points:
        with Driver(Job(sink, stream.source, stream.checkpoint), fault=point) as driver:
            driver.wait_at_point()
            driver.kill("all")
    stream.run(sink)
    assert sorted(json.loads(value)["id"] for value in TopicReader(kafka_server).values(topic)) == stream.ids()
    assert list(breaks(sink.ledger.entries("s"))) == []
    assert {epoch.parts for epoch in sink.ledger.history("s").epochs} == {2}


def in_the_other_table(url: str) -> list[int]:
    """What a transaction's other table holds; of the stages of its runs only the last one's are there."""
    with sa.create_engine(parse_url(url), poolclass=sa.NullPool).connect() as connection:
        left = connection.execute(sa.text("select tablename from pg_tables where tablename like 'foreachonce_stage%'"))
        assert len({name.split("_")[3] for (name,) in left}) <= 1, "stages of an earlier run are left"
        return list(connection.execute(sa.text("select batch from batches order by batch")).scalars())
