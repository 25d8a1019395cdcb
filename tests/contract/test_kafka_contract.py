"""The Kafka sink keeps the contract, by each of its ways."""

from __future__ import annotations

import json
import time
from collections import Counter
from uuid import uuid4

import pytest
from pyspark.errors import StreamingQueryException

from foreachonce import KafkaSink
from foreachonce.chain import breaks
from foreachonce.kafka.batch import DRIVER_POINTS, TASK_POINTS
from foreachonce.runner import POINTS_AFTER, POINTS_BEFORE
from foreachonce.testing.contract import SinkContract
from foreachonce.testing.driver import Job
from foreachonce.testing.writing import WriteContract, refused
from tests.servers.kafka import Reader, make_topic


class Place:
    """A topic of its own for each test."""

    way: dict[str, object]

    @pytest.fixture(autouse=True)
    def place(self, spark, kafka_server):
        name = uuid4().hex[:12]
        self.servers, self.topic, self.prefix = kafka_server, f"events-{name}", f"ledger-{name}."
        make_topic(kafka_server, self.topic)

    def sink(self, stream, **keywords):
        given = {"topic": self.topic, "key": "value", "value": "to_json(struct(id))", "ledger_prefix": self.prefix}
        return KafkaSink(self.servers, stream=stream, **{**given, **self.way, **keywords})

    def read(self):
        return sorted(json.loads(value)["id"] for value in Reader(self.servers).values(self.topic))


class TestKafkaByTask(Place, SinkContract):
    way = {"path": "task"}  # noqa: RUF012 - pytest's way of a class's parameters
    worker_points = TASK_POINTS
    points = (*POINTS_BEFORE, *TASK_POINTS, *POINTS_AFTER)


class TestKafkaByDriver(Place, WriteContract):
    way = {"path": "driver"}  # noqa: RUF012
    points = (*POINTS_BEFORE, *DRIVER_POINTS, *POINTS_AFTER)


class TestKafkaInParts(Place, WriteContract):
    way = {"path": "task", "transactions": 2}  # noqa: RUF012
    is_atomic = False
    # What differs from one transaction: two tasks come to these.
    worker_points = points = ("fenced", "rows-half", "commit-begun", "committed")

    @pytest.fixture
    def half(self, stream, faults):
        """A batch of which one transaction is committed and the other is not."""
        sink = self.sink("s")
        stream.feed(range(20))
        stream.run(sink)
        self.copy = stream.copy_checkpoint("before")
        stream.feed(range(20, 40))
        # An error of the library's own: Spark does not kill the task beside it for it.
        faults.arm("commit-begun", "lose")
        with pytest.raises(StreamingQueryException):
            stream.run(sink)
        self.seen = self.read()
        assert 20 < len(self.seen) < 40
        assert sink.ledger.head("s").seq == 0
        assert [entry.seq for entry in sink.ledger.entries("s")] == [0]
        return sink

    def test_unfinished_batch_is_completed(self, stream, half):
        stream.run(half)
        self.assert_exactly_once(half, stream)
        assert half.ledger.history("s").newest.parts == 2

    def test_unfinished_batch_is_completed_with_as_many_transactions_as_it_was_begun_with(self, stream, half):
        self.way = {"path": "auto", "transactions": 5}
        stream.run(self.sink("s"))
        self.assert_exactly_once(half, stream)
        assert half.ledger.history("s").newest.parts == 2

    def test_other_rows_do_not_take_an_unfinished_batchs_place(self, stream, half):
        stream.restore_checkpoint(self.copy)
        stream.feed([40])
        with refused("Mismatch", "other rows than those that were written", "batch 1"):
            stream.run(half, limit=2)
        assert self.read() == self.seen

    def test_unfinished_batch_is_passed_where_the_user_says_so(self, stream, half):
        stream.lose_checkpoint()
        stream.run(self.sink("s", on_mismatch="write"))
        entries = list(half.ledger.entries("s"))
        assert [entry.seq for entry in entries] == [0, 1, 2, 3]
        assert [entry.parts for entry in entries] == [None, (1, 2), None, None]
        assert [entry.decision.kind for entry in entries][1:3] == ["write", "on_mismatch"]
        assert list(breaks(entries)) == []
        assert Counter(self.read()) == Counter(self.seen) + Counter(stream.ids())

    def test_ids_that_a_run_does_not_use_itself_are_fenced(self, spark, stream, other_driver):
        """A paused run has the second id's transaction open; who replaces it writes by the first id only."""
        in_second = "select max(k) from values ('a'), ('b'), ('c'), ('d') t(k) where pmod(hash(cast(k as binary)), 2) = 1"
        key = f"'{spark.sql(in_second).first()[0]}'"
        stream.feed([1, 2, 3])
        other_driver.faults.arm("commit-begun", "stop")
        other_driver.submit(Job(self.sink("s", key=key), stream.source, stream.checkpoint))
        other_driver.faults.wait("commit-begun", lambda: other_driver.is_busy)
        self.way = {"path": "task"}
        sink = self.sink("s")
        stream.run(sink)
        other_driver.faults.release("commit-begun")
        assert "foreachonce.errors" in other_driver.result()
        self.assert_exactly_once(sink, stream)

    def test_repeated_task_waits_for_the_transaction_beside_it(self, stream, other_driver):
        """An open transaction hides from readers what was committed behind it, the repeated task's own entry too."""
        sink = self.sink("s")
        stream.feed(range(40))
        faults = other_driver.faults
        faults.arm("transaction-begun", "stop")
        faults.arm("entry-written", "stop")
        faults.arm("committed", "kill")
        other_driver.submit(Job(sink, stream.source, stream.checkpoint))

        def wait(point):
            faults.wait(point, lambda: other_driver.is_busy)

        # One task has looked and stands still, the other is ahead of it: came it later, it would look, and wait.
        wait("transaction-begun")
        wait("entry-written")
        faults.arm("fenced", "stop")
        faults.release("transaction-begun")
        wait("committed")
        wait("fenced")  # the repeated task
        faults.release("fenced")
        time.sleep(1)
        faults.release("entry-written")
        assert other_driver.result() == ""
        self.assert_exactly_once(sink, stream)

    def test_more_transactions_and_fewer_again(self, stream):
        """What an earlier run used is fenced by the next, however many it uses itself."""
        for number, transactions in enumerate((2, 5, 1)):
            self.way = {"path": "task", "transactions": transactions}
            stream.feed(range(100 * number, 100 * number + 50))
            stream.run(self.sink("s"))
        sink = self.sink("s")
        self.assert_exactly_once(sink, stream)
        history = sink.ledger.history("s")
        assert [epoch.parts for epoch in history.epochs] == [2, 5, 1]
        assert history.ids == 5
