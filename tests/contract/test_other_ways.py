"""What other ways of writing from foreachBatch do after the same events. docs/comparison.md has this table."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import sqlalchemy as sa
from pyspark.errors import StreamingQueryException

KNOWN = "select 1 from batches where id = :batch"
INSERT = "insert into events values (:id)"
UPSERT = f"{INSERT} on conflict (id) do update set id = excluded.id"


class Database:
    """A foreachBatch function in SQL. The first call with a row 13 breaks off after half of its rows."""

    def __init__(self, folder: Path, *, key: str = "", insert: str = INSERT, once: bool = False) -> None:
        self._file, self._insert, self._once, self._breaks = folder / "sink.db", insert, once, True
        self._engine = sa.create_engine(f"sqlite:///{self._file}", poolclass=sa.NullPool)
        with self._engine.begin() as connection:
            connection.execute(sa.text(f"create table events (id bigint {key})"))
            connection.execute(sa.text("create table batches (id bigint primary key)"))

    def __call__(self, frame, batch_id):
        with self._engine.connect() as connection:
            if self._once:
                if connection.execute(sa.text(KNOWN), {"batch": batch_id}).all():
                    return
                connection.execute(sa.text("insert into batches values (:batch)"), {"batch": batch_id})
            for row in frame.orderBy("id").collect():
                if row.id == 13 and self._breaks:
                    self._breaks = False
                    raise ConnectionError("half of the batch")
                connection.execute(sa.text(self._insert), {"id": row.id})
                if not self._once:
                    connection.commit()
            connection.commit()

    def ids(self) -> list[int]:
        with self._engine.connect() as connection:
            return list(connection.execute(sa.text("select id from events order by id")).scalars())

    def keep(self) -> None:
        shutil.copy(self._file, self._file.with_suffix(".kept"))

    def put_back(self) -> None:
        shutil.copy(self._file.with_suffix(".kept"), self._file)


class Delta:
    """Delta's options for idempotent writes, as its documentation says."""

    def __init__(self, spark, folder: Path) -> None:
        self._spark, self._path = spark, str(folder / "events")

    def __call__(self, frame, batch_id):
        options = {"txnAppId": "app", "txnVersion": str(batch_id)}
        frame.write.format("delta").mode("append").options(**options).save(self._path)

    def ids(self) -> list[int]:
        return sorted(row.id for row in self._spark.read.format("delta").load(self._path).collect())

    def keep(self) -> None:
        self._version = self._spark.sql(f"describe history delta.`{self._path}`").first().version

    def put_back(self) -> None:
        self._spark.sql(f"restore delta.`{self._path}` to version as of {self._version}").collect()


@pytest.fixture
def ways(spark, tmp_path):
    return {
        "plain": lambda: Database(tmp_path),
        "batch ids": lambda: Database(tmp_path, once=True),
        "upsert": lambda: Database(tmp_path, key="primary key", insert=UPSERT),
        "delta": lambda: Delta(spark, tmp_path),
    }


def of(*rows):
    return pytest.mark.parametrize(("way", "expected"), rows, ids=[row[0] for row in rows])


@of(("plain", [1, 2, 2]), ("batch ids", [1, 2]), ("upsert", [1, 2]), ("delta", [1, 2]))
def test_replay(stream, ways, way, expected):
    write = ways[way]()
    stream.feed([1], [2])
    stream.run(write)
    stream.forget_commit()
    stream.run(write)
    assert write.ids() == expected


@of(("plain", ([12], [12, 12, 13])), ("batch ids", ([], [12, 13])), ("upsert", ([12], [12, 13])))
def test_half_a_batch(stream, ways, way, expected):
    """What is seen of it, and what is there after a restart."""
    write = ways[way]()
    stream.feed([12, 13])
    with pytest.raises(StreamingQueryException, match="half of the batch"):
        stream.run(write)
    seen = write.ids()
    stream.run(write)
    assert (seen, write.ids()) == expected


@of(("plain", [1, 1, 2, 2, 3]), ("batch ids", [1, 2]), ("upsert", [1, 2, 3]), ("delta", [1, 2]))
def test_lost_checkpoint(stream, ways, way, expected):
    write = ways[way]()
    stream.feed([1], [2])
    stream.run(write)
    stream.lose_checkpoint()
    stream.feed([3])
    stream.run(write, limit=3)
    assert write.ids() == expected


@pytest.mark.parametrize("limit", [1, 3])
@of(("plain", [1, 2, 2, 3, 3, 4]), ("batch ids", [1, 2, 3]), ("upsert", [1, 2, 3, 4]), ("delta", [1, 2, 3]))
def test_older_checkpoint(stream, ways, way, expected, limit):
    """With the same limit the batches are the same ones; with another one the next batch holds rows 2 to 4."""
    write = ways[way]()
    stream.feed([1])
    stream.run(write)
    copy = stream.copy_checkpoint("copy")
    stream.feed([2], [3])
    stream.run(write)
    stream.restore_checkpoint(copy)
    stream.feed([4])
    stream.run(write, limit=limit)
    assert write.ids() == ([1, 2, 3, 4] if limit == 1 and way != "plain" else expected)


@of(("plain", [1, 4]), ("batch ids", [1, 4]), ("upsert", [1, 4]), ("delta", [1, 4]))
def test_sink_that_was_put_back(stream, ways, way, expected):
    write = ways[way]()
    stream.feed([1])
    stream.run(write)
    write.keep()
    stream.feed([2], [3])
    stream.run(write)
    write.put_back()
    stream.feed([4])
    stream.run(write)
    assert write.ids() == expected


@of(("plain", [1, 2, 3]), ("batch ids", [1, 2, 3]), ("upsert", [1, 2, 3]), ("delta", [1]))
def test_sink_and_checkpoint_that_were_put_back(stream, ways, way, expected):
    write = ways[way]()
    stream.feed([1])
    stream.run(write)
    write.keep()
    copy = stream.copy_checkpoint("copy")
    stream.feed([2], [3])
    stream.run(write)
    write.put_back()
    stream.restore_checkpoint(copy)
    stream.run(write)
    assert write.ids() == expected
