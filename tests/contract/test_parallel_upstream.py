"""A batch is computed by as many tasks as Spark takes, whatever carries it into the sink."""

from __future__ import annotations

import pytest

from foreachonce import JdbcSink, KafkaSink, exactly_once, observe
from tests.servers.kafka import Reader, make_topic

# More than the driver fetches; the number of the task that computed each is in it.
ROWS = "explode(sequence(id * 20000, id * 20000 + 11000)) as n"


@pytest.fixture(autouse=True)
def observers(monkeypatch):
    """What a test adds is forgotten after it."""
    monkeypatch.setattr(observe, "_observers", ())


def bring(stream, sink, name: str) -> list[str | None]:
    """Bring three batches of two partitions; return each one's way."""
    events = []

    def note(event) -> None:
        if event.stream == name:
            events.append(event.path)

    @exactly_once(sink)
    def batch(frame, batch_id):
        both = frame.unionAll(frame.selectExpr("id + 100 as id", "value"))
        return both.selectExpr(ROWS).selectExpr("cast(n as string) as key", "cast(spark_partition_id() as string) as value")

    observe.add(note)
    for number in range(3):
        stream.feed([number])
    stream.run(batch)
    return events


@pytest.mark.parametrize("path", ["auto", "direct", "staged"])
def test_first_batch_of_a_table(url, stream, query, path):
    if url.startswith("sqlite") and path == "staged":
        pytest.skip("SQLite has one path")
    ways = bring(stream, JdbcSink(url, table="t", stream=f"way-{path}", path=path), f"way-{path}")
    assert query("select count(*) from t") == [(3 * 2 * 11_001,)]
    assert ways[0] == ("many tasks, by a stage" if path == "staged" else "one task, after a shuffle")
    assert {row[0] for row in query("select distinct value from t")} == {"0", "1"}


def test_first_batch_of_a_topic(kafka_server, stream):
    make_topic(kafka_server, "ways", partitions=1)
    ways = bring(stream, KafkaSink(kafka_server, topic="ways", stream="ways"), "ways")
    assert ways[0] == "one task, after a shuffle"
    first = list(Reader(kafka_server).messages("ways"))[: 2 * 11_001]
    of_task = {task: [int(each.key()) for each in first if each.value() == task] for task in (b"0", b"1")}
    assert [len(keys) for keys in of_task.values()] == [11_001, 11_001]
    # A key's records stay in the order in which its task had them.
    assert all(keys == sorted(keys) for keys in of_task.values())


def test_small_batches_come_by_the_driver(url, stream):
    events = []
    observe.add(lambda event: events.append((event.stream, event.path)))
    stream.feed([1], [2])
    stream.run(JdbcSink(url, table="t", stream="small"))
    assert [path for name, path in events if name == "small"] == ["driver", "driver"]
