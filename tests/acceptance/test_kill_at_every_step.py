"""A real driver is killed at every step between offsets/N and commits/N; each batch is there once."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy as sa

from foreachonce import DeltaLedger, DeltaSink, DeltaTables, JdbcSink, exactly_once
from foreachonce.chain import breaks
from foreachonce.delta.sink import DELTA_POINTS
from foreachonce.runner import POINTS_AFTER, POINTS_BEFORE
from foreachonce.sql.url import parse_url
from foreachonce.sql.write import DIRECT_POINTS, DRIVER_POINTS, STAGED_POINTS
from foreachonce.testing.driver import Driver, Job
from foreachonce.testing.stream import FileStream
from tests.acceptance.delta_reader import DeltaReader
from tests.acceptance.reader import ROWS, Reader, file_ids
from tests.acceptance.sql_reader import SqlReader
from tests.contract.effects import Effects

EVERY_POINT = (*POINTS_BEFORE, *DRIVER_POINTS, *POINTS_AFTER)


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
        copy = self._path.with_name(f"copy-{self._copies}")
        if self._path.exists():
            shutil.copytree(self._path, copy)
        return DeltaLedger(str(copy))

    def head(self, stream: str):
        return self._ledger().head(stream)

    def entries(self, stream: str):
        return self._ledger().entries(stream)


@pytest.mark.parametrize(("place", "path", "steps"), [
    ("sqlite_url", "driver", EVERY_POINT), ("postgres_url", "direct", DIRECT_POINTS),
    ("mariadb_url", "staged", STAGED_POINTS),
])  # fmt: skip
def test_a_kill_at_any_step_loses_and_repeats_nothing(place, path, steps, request, tmp_path: Path):
    url = request.getfixturevalue(place)
    sink = JdbcSink(url, table="events", stream="s", path=path)
    _kill_at(steps, sink, sink.ledger, SqlReader(url), tmp_path)


def test_a_kill_at_any_step_of_a_transaction(postgres_url, tmp_path: Path):
    write = exactly_once(JdbcSink(postgres_url, stream="s", path="direct"))(orders_and_count)
    steps = ("rows-staged", "rows-written", "entry-written")  # those between differ in nothing from one table's
    _kill_at(steps, write, write.sinks[0].ledger, SqlReader(postgres_url), tmp_path)
    with sa.create_engine(parse_url(postgres_url), poolclass=sa.NullPool).connect() as connection:
        batches = connection.execute(sa.text("select batch from batches order by batch")).scalars().all()
        left = connection.execute(sa.text("select tablename from pg_tables where tablename like 'foreachonce_stage%'"))
        assert len({name.split("_")[3] for (name,) in left}) == 1, "stages of an earlier run are left"
    assert batches == list(range(len(steps) + 1))


def test_a_kill_at_any_step_of_a_function(sqlite_url, tmp_path: Path):
    effects = Effects(f"sqlite:///{tmp_path / 'effects.db'}")
    push = exactly_once(ledger=sqlite_url, stream="s", in_doubt=effects.is_there)(effects)
    _kill_at(("intent-written", "function-called", "entry-written"), push, push.ledger, SqlReader(effects.url), tmp_path)


def test_a_kill_at_any_step_of_a_delta_commit(delta_path, tmp_path: Path):
    sink = DeltaSink(delta_path, stream="s")
    _kill_at(DELTA_POINTS, sink, Untouched(delta_path), DeltaReader(delta_path), tmp_path)


def test_a_kill_between_two_delta_tables(delta_path, tmp_path: Path):
    merged = str(tmp_path / "merged")
    write = exactly_once(DeltaTables(delta_path, merged, stream="s"))(partial(two_tables, tables=(delta_path, merged)))
    # The second driver has nothing to do in the first table, so it is in the second one that it is killed.
    steps = ("entry-copied", "committed")
    _kill_at(steps, write, Untouched(delta_path), DeltaReader(delta_path), tmp_path)
    reader = DeltaReader(merged)
    reader.look()
    assert (reader.parts, reader.still) == ([], 0)
    assert reader.ids() == DeltaReader(delta_path).ids()
    assert [entry.batch_id for entry in DeltaLedger(merged).entries("s")] == list(range(len(steps) + 1))


def _kill_at(steps, function, ledger, reader: Reader, tmp_path: Path) -> None:
    stream = FileStream(None, tmp_path)  # the session is in the drivers
    stream.feed(*(file_ids(number) for number in range(len(steps) + 1)))
    job = Job(function, stream.source, stream.checkpoint)
    with reader:
        for number, step in enumerate(steps):
            batches_before = _entries(ledger)
            with Driver(job, fault=step) as driver:
                driver.wait_at_point()
                driver.kill("all")
            # The driver came to its point in a replay or in the next batch; either way all or nothing was committed.
            batches_after = _entries(ledger)
            assert batches_after - batches_before in (0, 1), (number, step)
            if batches_after and step != "function-called":  # there, the effect has come before its entry
                assert reader.ids()[: batches_after * ROWS] == stream.ids()[: batches_after * ROWS], step
        with Driver(job) as driver:
            assert driver.wait() == 0, driver.log()
    assert reader.ids() == stream.ids()
    assert (reader.parts, reader.still) == ([], 0)
    entries = list(ledger.entries("s"))
    assert list(breaks(entries)) == []
    assert [entry.batch_id for entry in entries] == list(range(len(steps) + 1))


def _entries(ledger) -> int:
    head = ledger.head("s")
    return 0 if head is None else head.seq + 1
