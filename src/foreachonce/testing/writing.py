"""The part of a sink's contract that is about the way of its rows: one sink may have several ways."""

from __future__ import annotations

import os
import signal
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from pyspark.errors import StreamingQueryException

from foreachonce.chain import breaks
from foreachonce.checkpoint import COMPACT_INTERVAL_SETTING
from foreachonce.faults import VARIABLE, Action, Point
from foreachonce.polling import wait_until
from foreachonce.runner import POINTS_AFTER, POINTS_BEFORE
from foreachonce.sink import Sink
from foreachonce.testing.driver import Driver, Job
from foreachonce.testing.faults import PATIENCE, Faults
from foreachonce.testing.stream import FileStream, Stream

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


@contextmanager
def refused(error: str, *words: str) -> Iterator[pytest.ExceptionInfo[StreamingQueryException]]:
    """Expect the query to end with an error of the library that names all ``words``."""
    with pytest.raises(StreamingQueryException) as caught:
        yield caught
    text = str(caught.value)
    assert f"foreachonce.errors.{error}" in text, text
    for word in words:
        assert word in text, f"{word!r} is not named in: {text}"


class SinkPlace:
    """What a contract knows of a sink: how to make it, how to read what it wrote, and the points that it passes."""

    points: ClassVar[tuple[Point, ...]]
    """Every fault point that the sink passes, in order."""
    worker_points: ClassVar[tuple[Point, ...]] = ()
    """Those of them that a worker of Spark's passes and not the driver."""
    unbreakable: ClassVar[tuple[Point, ...]] = ()
    """Those at which a paused writer holds a lock that nobody can take from it."""
    counts_rows: ClassVar[bool] = True
    """Whether entries tell how many rows a batch has."""
    is_atomic: ClassVar[bool] = True
    """Whether a batch becomes visible at once; if not, a part of it may be seen until it is completed."""

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Run a test once for each point, where it asks for one."""
        if "point" in metafunc.fixturenames:
            metafunc.parametrize("point", self.points)

    @abstractmethod
    def sink(self, stream: str | None, **keywords: Any) -> Any:
        """A sink of the table ``events``."""

    @abstractmethod
    def read(self) -> list[int]:
        """The ids in the table, sorted, each as often as it is there; empty where there is no table."""

    @pytest.fixture
    def faults(self) -> Iterator[Faults]:
        """The fault points of this process and its workers."""
        faults = Faults(Path(os.environ[VARIABLE]))
        yield faults
        faults.clear()

    @pytest.fixture
    def stream(self, spark: SparkSession, tmp_path: Path) -> FileStream:
        """A new source and checkpoint."""
        return FileStream(spark, tmp_path)

    def assert_exactly_once(self, sink: Sink[Any], stream: Stream, name: str = "s") -> None:
        """Every row of the source is in the sink, once, and the chain has neither gap nor overlap."""
        assert self.read() == stream.ids()
        entries = list(sink.ledger.entries(name))
        assert list(breaks(entries)) == []
        if self.counts_rows:
            assert sum(entry.rows or 0 for entry in entries) == len(stream.ids())

    def assert_read_soon(self, ids: list[int]) -> None:
        """What was committed can be read; a broker of Kafka's tells each partition of it a moment later."""
        wait_until(lambda: self.read() == ids, PATIENCE)
        assert self.read() == ids

    def counted(self, *rows: int) -> list[int | None]:
        """What the entries of batches of so many rows say."""
        return [number if self.counts_rows else None for number in rows]


class WriteContract(SinkPlace):
    """First write, faults at every step, races and restarts, on a real Spark and a real sink: the way of the rows."""

    # --- first write -------------------------------------------------------------------------------------------------

    def test_first_write_brings_rows_and_entry(self, stream: FileStream) -> None:
        sink = self.sink("s")
        stream.feed([1, 2], [3])
        stream.run(sink)
        self.assert_exactly_once(sink, stream)
        first, second = sink.ledger.entries("s")
        assert (first.seq, first.batch_id, first.position.starts) == (0, 0, "0:-")
        assert (second.seq, second.batch_id) == (1, 1)
        assert [first.rows, second.rows] == self.counted(2, 1)
        assert second.position.ends == '0:{"logOffset":1}'
        assert "00001.json" in second.position.sources["0"].files[0]
        assert first.offset_log == (stream.checkpoint / "offsets/0").read_text()
        assert sink.ledger.head("s") == second

    def test_goes_on_after_a_restart_with_new_files_only(self, stream: FileStream) -> None:
        sink = self.sink("s")
        stream.feed([1])
        stream.run(sink)
        stream.feed([2], [3])
        stream.run(sink)
        self.assert_exactly_once(sink, stream)

    def test_source_log_compaction_leaves_the_chain_whole(self, stream: FileStream, spark: SparkSession) -> None:
        sink = self.sink("s")
        stream.feed(*([number] for number in range(4)))
        spark.conf.set(COMPACT_INTERVAL_SETTING, "3")
        try:
            stream.run(sink)
        finally:
            spark.conf.unset(COMPACT_INTERVAL_SETTING)
        assert (stream.checkpoint / "sources/0/2.compact").exists()
        self.assert_exactly_once(sink, stream)
        assert [len(entry.position.sources["0"].files) for entry in sink.ledger.entries("s")] == [1] * 4
        assert [entry.seq for entry in sink.ledger.entries("s", after=1)] == [2, 3]

    def test_batch_without_rows_has_an_entry(self, stream: FileStream) -> None:
        sink = self.sink("s")
        stream.feed([1], [2])
        stream.run(sink, change=lambda frame: frame.where("id > 1"))
        assert self.read() == [2]
        assert [entry.rows for entry in sink.ledger.entries("s")] == self.counted(0, 1)

    def test_two_streams_in_one_place_do_not_meet(self, stream: FileStream, spark: SparkSession, tmp_path: Path) -> None:
        other = FileStream(spark, tmp_path / "other")
        stream.feed([1], [2])
        other.feed([3])
        first, second = self.sink("first"), self.sink("second")
        stream.run(first)
        other.run(second)
        assert self.read() == [1, 2, 3]
        assert [len(list(first.ledger.entries(name))) for name in ("first", "second")] == [2, 1]
        assert {"first", "second"} <= set(first.ledger.streams())

    def test_queries_name_is_the_streams_name(self, stream: FileStream) -> None:
        sink = self.sink(None)
        stream.feed([1])
        stream.run(sink, name="named_by_query")
        assert sink.ledger.head("named_by_query") is not None

    def test_says_what_it_guarantees(self) -> None:
        assert "exactly once" in str(self.sink("s"))

    # --- failures ----------------------------------------------------------------------------------------------------

    def test_rows_that_fail_half_way_write_nothing(self, stream: FileStream) -> None:
        sink = self.sink("s")
        stream.feed(range(500))

        def tear(frame: DataFrame) -> DataFrame:
            return frame.selectExpr("if(id = 400, raise_error('torn'), id) as id", "value")

        with pytest.raises(StreamingQueryException, match="torn"):
            stream.run(sink, change=tear)
        assert self.read() == []
        assert sink.ledger.head("s") is None
        stream.run(sink)
        self.assert_exactly_once(sink, stream)

    # --- a fault at every step --------------------------------------------------------------------------------------

    def test_error_at_any_step_writes_once(self, stream: FileStream, faults: Faults) -> None:
        self._hurt(stream, faults, self.points, "raise")

    def test_connection_lost_at_any_step_writes_once(self, stream: FileStream, faults: Faults) -> None:
        connected = [point for point in self.points if point not in (*POINTS_BEFORE, *POINTS_AFTER)]
        self._hurt(stream, faults, connected, "lose")

    def test_worker_killed_at_any_step_writes_once(self, stream: FileStream, faults: Faults) -> None:
        self._hurt(stream, faults, self.worker_points, "kill")

    def _hurt(self, stream: FileStream, faults: Faults, points: Sequence[Point], action: Action) -> None:
        """Hurt one run after the other, each at the next point; what one leaves undone the next one does."""
        sink = self.sink("s")
        for number, point in enumerate(points):
            stream.feed([2 * number, 2 * number + 1])
            faults.arm(point, action)
            with suppress(StreamingQueryException):
                stream.run(sink)
            assert faults.met(point), f"nobody came to {point}"
            written = self.read()
            expected = stream.ids()[: len(written)] if self.is_atomic else sorted(set(written))
            assert written == expected, f"{action} at {point}"
        stream.run(sink)
        self.assert_exactly_once(sink, stream)

    def test_lost_reply_to_a_commit_is_settled_by_the_ledger(self, stream: FileStream, faults: Faults) -> None:
        sink = self.sink("s")
        stream.feed([1, 2], [3])
        faults.arm("committed", "lose")
        stream.run(sink)  # raises nothing
        assert faults.met("committed")
        self.assert_exactly_once(sink, stream)

    def test_paused_run_writes_nothing_after_it_was_replaced(
        self, stream: FileStream, other_driver: Driver, point: Point
    ) -> None:
        """A driver stands still at a step, another one takes its place and ends the work, and the first one wakes up."""
        sink = self.sink("s")
        stream.feed([0], [1], [2])
        faults = other_driver.faults
        first: Point = "stream-taken" if point == "stream-taken" else "function-done"
        faults.arm(first, "stop")
        other_driver.submit(Job(sink, stream.source, stream.checkpoint))
        faults.wait(first, lambda: other_driver.is_busy)
        if point != first:  # it holds the stream; let it come to the point in its second batch
            faults.arm(point, "stop")
            faults.release(first)
            faults.wait(point, lambda: other_driver.is_busy)
        if point in self.unbreakable:
            with pytest.raises(StreamingQueryException, match="locked"):
                stream.run(sink)
        else:
            stream.run(sink)
        written = list(sink.ledger.entries("s"))
        faults.release(point)
        error = other_driver.result()
        if point not in self.unbreakable:
            assert "foreachonce.errors.Fenced" in error or point in ("committed", "entry-copied", "function-done"), error
            assert list(sink.ledger.entries("s")) == written
        stream.run(sink)
        self.assert_exactly_once(sink, stream)

    # --- other processes ---------------------------------------------------------------------------------------------

    def test_restart_in_a_new_process(self, stream: FileStream, other_driver: Driver) -> None:
        sink = self.sink("s")
        stream.feed([1], [2])
        stream.run(sink)
        stream.forget_commit()
        stream.feed([3])
        other_driver.submit(Job(sink, stream.source, stream.checkpoint))
        assert other_driver.result() == ""
        self.assert_exactly_once(sink, stream)

    def _race(self, stream: FileStream, other_driver: Driver, sink: Any, checkpoint: Path) -> tuple[str, str]:
        """Start the same batches in two drivers at the same moment; return the errors that ended them."""
        gate = stream.checkpoint.parent / "gate"
        other_driver.submit(Job(sink, stream.source, checkpoint, gate=gate))
        other_driver.wait_until_ready()
        gate.touch()
        error = ""
        try:
            stream.run(sink)
        except StreamingQueryException as ended:
            error = str(ended)
        return error, other_driver.result()

    def test_two_drivers_racing_write_once(self, stream: FileStream, other_driver: Driver) -> None:
        """Two sessions on two copies of one checkpoint: whatever becomes of them, the next run ends the work."""
        sink = self.sink("s")
        stream.feed([0])
        stream.run(sink)
        stream.feed(*([number] for number in range(1, 6)))
        self._race(stream, other_driver, sink, stream.copy_checkpoint("copy"))
        stream.run(sink)
        self.assert_exactly_once(sink, stream)

    def test_two_queries_under_one_name_at_once(self, stream: FileStream, other_driver: Driver, tmp_path: Path) -> None:
        """Two new checkpoints under one stream's name: one is stopped, and hears whose the stream is; the other ends."""
        sink = self.sink("s")
        stream.feed([1], [2], [3])
        errors = self._race(stream, other_driver, sink, tmp_path / "other")
        assert sorted(error != "" for error in errors) == [False, True], errors
        assert "two queries share this stream's name" in "".join(errors), errors
        self.assert_exactly_once(sink, stream)

    def test_task_that_is_repeated_half_way_writes_once(self, stream: FileStream, other_driver: Driver) -> None:
        """A worker is killed amid its rows, or with its part staged; Spark repeats the task: the first attempt stays out."""
        points = [point for point in self.worker_points if point in ("rows-half", "part-staged")]
        if not points:
            pytest.skip("no worker writes rows")
        sink = self.sink("s")
        for number, point in enumerate(points):
            stream.feed(range(300 * number, 300 * (number + 1)))
            self._kill_worker_at(point, Job(sink, stream.source, stream.checkpoint), other_driver)
            self.assert_exactly_once(sink, stream)

    def test_task_that_is_repeated_after_its_commit_writes_once(self, stream: FileStream, other_driver: Driver) -> None:
        """The process that has committed is killed before Spark hears of it, and Spark repeats its task."""
        if "committed" not in self.worker_points:
            pytest.skip("no worker commits")
        sink = self.sink("s")
        stream.feed([1, 2, 3])
        job = Job(sink, stream.source, stream.checkpoint)
        self._kill_worker_at("committed", job, other_driver, lambda: self.assert_read_soon([1, 2, 3]))
        self.assert_exactly_once(sink, stream)

    @staticmethod
    def _kill_worker_at(point: Point, job: Job, driver: Driver, before: Callable[[], None] = lambda: None) -> None:
        """Kill the worker that comes to the point; Spark repeats its task, and the job goes through."""
        driver.faults.arm(point, "stop")
        driver.submit(job)
        worker = driver.faults.wait(point, lambda: driver.is_busy)
        before()
        os.kill(worker, signal.SIGKILL)
        assert driver.result() == ""
