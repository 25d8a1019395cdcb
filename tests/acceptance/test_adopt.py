"""A job of plain foreachBatch is taken over, and given back, as docs/operations/adopt-a-running-job.md says."""

from __future__ import annotations

import shutil

import pytest
import sqlalchemy as sa
from pyspark.errors import StreamingQueryException

from foreachonce import JdbcSink, Mismatch, SqlLedger
from foreachonce.testing.contract import refused
from foreachonce.testing.recovery import start
from tests.pages import Page
from tests.servers.kafka import KafkaStream

PAGE = "operations/adopt-a-running-job.md"
DEFINE, OLD, DRAIN, ADOPT, FINISH, BACK, AGAIN = range(7)
LOOK, COPY, CHECK = range(3)
COUNT, DOUBLED = range(2)


@pytest.fixture
def shop(stream, sqlite_url) -> Page:
    """The old job has written rows 1 and 2, a batch each, and is drained."""
    places = {"postgresql+psycopg://app@db/shop": sqlite_url, "postgresql://app@db/shop": sqlite_url}
    page = Page(PAGE, stream, sqlite_url, {**places, "/checkpoints/orders": str(stream.checkpoint)})
    stream.feed([1], [2])
    for block in (DEFINE, OLD, DRAIN):
        page.python(block)
    return page


def test_drained_job_is_taken_over_and_outlives_its_checkpoint(stream, shop):
    assert shop.sh(LOOK).split() == ["1", "1"]
    shop.sh(COPY)
    assert shop.sql(COUNT) == [(2,)]
    stream.feed([3])
    shop.python(ADOPT)
    assert shop.ids() == [1, 2, 3]
    assert "Rows: 1 by the entries and 2 before them, 3 in the table" in shop.sh(CHECK)
    stream.lose_checkpoint()
    stream.feed([4])
    with pytest.raises(Mismatch):
        shop.python(ADOPT)
    shutil.copytree(f"{stream.checkpoint}.before", stream.checkpoint)
    shop.python(ADOPT)
    assert shop.ids() == [1, 2, 3, 4]


def test_unfinished_batch_is_doubled_and_seen_by_its_keys_alone(stream, shop):
    stream.forget_commit()
    assert shop.sh(LOOK).split() == ["1", "0"]
    shop.python(ADOPT)
    assert shop.ids() == [1, 2, 2]
    assert shop.sql(DOUBLED) == [(2, 2)]
    assert SqlLedger(shop.url).head("orders").batch_id == 1
    assert "Rows: 1 by the entries and 2 before them, 3 in the table" in shop.sh(CHECK)  # which finds nothing wrong


def test_old_job_doubles_an_unfinished_batch_too(stream, shop):
    stream.forget_commit()
    shop.python(DRAIN)
    assert shop.ids() == [1, 2, 2]


@pytest.mark.parametrize("has_more", [False, True])
@pytest.mark.parametrize("way", ["delete", "finish"])
def test_unfinished_batch_is_settled(stream, shop, way, has_more):
    stream.forget_commit()
    if has_more:
        stream.feed([3])
    if way == "delete":
        shop.execute("delete from orders where id = 2")
    elif has_more:
        with pytest.raises(StreamingQueryException, match="batch 2 is not the one to be finished"):
            shop.python(FINISH)
    else:
        shop.python(FINISH)
        assert shop.sh(LOOK).split() == ["1", "1"]
    shop.python(ADOPT)
    assert shop.ids() == ([1, 2, 3] if has_more else [1, 2])


def test_new_checkpoint_repeats_what_the_old_job_wrote(stream, shop):
    stream.lose_checkpoint()
    shop.python(ADOPT)
    assert shop.ids() == [1, 1, 2, 2]


@pytest.mark.parametrize(
    ("heal", "again", "ids"),
    [(False, False, [1, 2, 3, 4]), (True, False, [1, 2, 3, 4, 4, 5]), (True, True, [1, 2, 3, 4, 5])],
)
def test_way_back_and_forward_again(stream, shop, heal, again, ids):
    stream.feed([3])
    shop.python(ADOPT)
    stream.forget_commit()
    shop.python(ADOPT)  # it skips the batch, which the old function would write
    stream.feed([4])
    shop.python(BACK)
    assert shop.ids() == [1, 2, 3, 4]
    stream.feed([5])
    if heal:
        shop.python(AGAIN if again else ADOPT)
    else:
        with refused("Mismatch", "ahead"):
            stream.run(JdbcSink(shop.url, table="orders", stream="orders"))
    assert shop.ids() == ids


def test_job_that_reads_kafka_needs_no_copy_of_its_checkpoint(spark, kafka_server, tmp_path, sqlite_url):
    stream = KafkaStream(kafka_server, tmp_path, spark=spark)
    sink = JdbcSink(sqlite_url, table="orders", stream="orders", heal=True)
    old: list[int] = []
    stream.feed([1], [2])
    stream.run(lambda frame, batch_id: old.extend(row.id for row in frame.collect()))
    stream.feed([3])
    start(stream, sink)
    stream.lose_checkpoint()
    stream.feed([4])
    start(stream, sink)
    with sa.create_engine(sqlite_url, poolclass=sa.NullPool).connect() as connection:
        new = list(connection.execute(sa.text("select id from orders order by id")).scalars())
    assert (sorted(old), new) == ([1, 2], [3, 4])
