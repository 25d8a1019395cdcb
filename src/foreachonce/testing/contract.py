"""The promises that every sink keeps, as tests. A sink joins with a subclass that names four things:

    class TestMySink(SinkContract):
        points = (*POINTS_BEFORE, "rows-half", "committed", *POINTS_AFTER)  # the fault points that it passes, in order
        def sink(self, stream, **keywords): ...   # a sink of the table "events" (id bigint, value string)
        def read(self): ...                       # the ids in "events", each as often as it is there
        @pytest.fixture(autouse=True)
        def place(self, ...): ...                 # whatever these need

and two session fixtures: ``spark``, such as :func:`foreachonce.testing.spark.session`, and ``other_driver``, a
:class:`foreachonce.testing.driver.Driver` without a job. What is no sink of frames joins :class:`StreamContract`.
"""

from __future__ import annotations

import os
import signal
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from pyspark.errors import StreamingQueryException

from foreachonce import exactly_once
from foreachonce.chain import breaks
from foreachonce.faults import VARIABLE, Action, Point
from foreachonce.sink import Sink
from foreachonce.spark.resolve import is_connect
from foreachonce.testing.driver import Driver, Job
from foreachonce.testing.faults import Faults
from foreachonce.testing.stream import FileStream

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


class StreamContract:
    """First write, replay, mismatch, reset, races, faults at every step and restarts, on a real Spark and a real sink."""

    points: ClassVar[tuple[Point, ...]]
    """Every fault point that the sink passes, in order."""
    worker_points: ClassVar[tuple[Point, ...]] = ()
    """Those of them that a worker of Spark's passes and not the driver."""
    unbreakable: ClassVar[tuple[Point, ...]] = ()
    """Those at which a paused writer holds a lock that nobody can take from it."""
    counts_rows: ClassVar[bool] = True
    """Whether entries tell how many rows a batch has."""

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

    def assert_exactly_once(self, sink: Sink[Any], stream: FileStream, name: str = "s") -> None:
        """Every row of the source is in the sink, once, and the chain has neither gap nor overlap."""
        assert self.read() == stream.ids()
        entries = list(sink.ledger.entries(name))
        assert list(breaks(entries)) == []
        if self.counts_rows:
            assert sum(entry.rows or 0 for entry in entries) == len(stream.ids())

    def counted(self, *rows: int) -> list[int | None]:
        """What the entries of batches of so many rows say."""
        return [number if self.counts_rows else None for number in rows]

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

    def test_source_log_compaction_leaves_the_chain_whole(self, stream: FileStream) -> None:
        sink = self.sink("s")
        stream.feed(*([number] for number in range(12)))
        stream.run(sink)
        self.assert_exactly_once(sink, stream)
        assert [len(entry.position.sources["0"].files) for entry in sink.ledger.entries("s")] == [1] * 12

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

    # --- replay ------------------------------------------------------------------------------------------------------

    def test_replay_is_skipped_without_a_spark_job(self, stream: FileStream, spark: SparkSession) -> None:
        sink = self.sink("s")
        stream.feed([1], [2])
        stream.run(sink)
        stream.forget_commit()
        run_id = stream.run(sink)
        self.assert_exactly_once(sink, stream)
        if not is_connect(spark):  # a Connect session does not tell its jobs
            assert list(spark.sparkContext.statusTracker().getJobIdsForGroup(run_id)) == []
        stream.feed([3])
        stream.run(sink)
        self.assert_exactly_once(sink, stream)

    @pytest.mark.parametrize("provider", ["HDFSBackedStateStoreProvider", "RocksDBStateStoreProvider"])
    def test_replay_of_a_stateful_query_feeds_its_state(
        self, stream: FileStream, spark: SparkSession, provider: str
    ) -> None:
        prefix = "org.apache.spark.sql.execution.streaming.state"
        spark.conf.set("spark.sql.streaming.stateStore.providerClass", f"{prefix}.{provider}")
        if provider.startswith("Rocks"):
            spark.conf.set("spark.sql.streaming.stateStore.checkpointFormatVersion", "2")
        try:
            self._replay_deduplication(stream)
        finally:
            spark.conf.unset("spark.sql.streaming.stateStore.providerClass")
            spark.conf.unset("spark.sql.streaming.stateStore.checkpointFormatVersion")

    def _replay_deduplication(self, stream: FileStream) -> None:
        sink = self.sink("s")
        stream.feed([1, 2], [2, 3])
        stream.run(sink, change=lambda frame: frame.dropDuplicates(["id"]))
        stream.forget_commit()
        stream.feed([3, 4])
        stream.run(sink, change=lambda frame: frame.dropDuplicates(["id"]))
        # Had the replay not fed the state, 3 would come again, or the query would not start.
        assert self.read() == [1, 2, 3, 4]

    # --- mismatch and reset ------------------------------------------------------------------------------------------

    def test_lost_checkpoint_is_refused(self, stream: FileStream) -> None:
        sink = self.sink("s")
        stream.feed([1], [2])
        stream.run(sink)
        old = sink.ledger.head("s").query_id
        stream.lose_checkpoint()
        stream.feed([3])
        with refused(
            "Mismatch", "'s'", "written again", old, '0:{"logOffset":1}', '0:{"logOffset":0}', "put back the checkpoint"
        ):
            stream.run(sink)
        assert self.read() == [1, 2]
        assert len(list(sink.ledger.entries("s"))) == 2

    def test_lost_checkpoint_is_written_where_the_user_says_so(self, stream: FileStream) -> None:
        stream.feed([1])
        stream.run(self.sink("s"))
        stream.lose_checkpoint()
        sink = self.sink("s", on_mismatch="write")
        stream.run(sink)
        assert self.read() == [1, 1]
        assert [entry.decision for entry in sink.ledger.entries("s")] == ["write", "on_mismatch=write: behind"]

    def _roll_back_to_batch_0(self, stream: FileStream) -> Any:
        """Write batches 0 to 2, a file each, and put back the checkpoint as it was after batch 0."""
        sink = self.sink("s")
        stream.feed([1])
        stream.run(sink)
        copy = stream.copy_checkpoint("older")
        stream.feed([2], [3])
        stream.run(sink)
        stream.restore_checkpoint(copy)
        return sink

    def test_older_checkpoint_replays_the_same_batches(self, stream: FileStream) -> None:
        sink = self._roll_back_to_batch_0(stream)
        stream.feed([4])
        stream.run(sink)
        self.assert_exactly_once(sink, stream)

    def test_older_checkpoint_with_another_limit_is_refused(self, stream: FileStream) -> None:
        sink = self._roll_back_to_batch_0(stream)
        # The offset is {"logOffset":1} both times: only the source log tells that the batch now holds two files.
        with refused("Mismatch", "other rows than those that were written"):
            stream.run(sink, limit=2)
        assert self.read() == [1, 2, 3]

    def test_same_offsets_with_other_files_do_not_line_up(self, stream: FileStream) -> None:
        """A checkpoint that another sink moved on: the numbers meet the head's, the files do not."""
        sink = self._roll_back_to_batch_0(stream)
        stream.run(lambda frame, batch_id: frame.collect(), limit=2)  # batch 1 holds files 2 and 3 here
        stream.feed([4])
        stream.run(lambda frame, batch_id: frame.collect())  # batch 2: file 4, {"logOffset":2} as in the ledger
        stream.feed([5])
        with refused("Mismatch", "cannot be compared"):
            stream.run(sink)
        assert self.read() == [1, 2, 3]

    def test_checkpoint_ahead_of_the_ledger_is_refused(self, stream: FileStream) -> None:
        sink = self.sink("s")
        stream.feed([1])
        stream.run(sink)
        stream.feed([2])
        stream.run(lambda frame, batch_id: frame.collect())  # as if the sink had come back from a backup
        stream.feed([3])
        with refused("Mismatch", "lost"):
            stream.run(sink)
        assert self.read() == [1]

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

    def test_stream_without_a_name_is_refused(self, stream: FileStream) -> None:
        stream.feed([1])
        with refused("EpochError", "stream=", "queryName"):
            stream.run(self.sink(None))
        assert self.read() == []

    # --- a fault at every step --------------------------------------------------------------------------------------

    def test_error_at_any_step_writes_once(self, stream: FileStream, faults: Faults) -> None:
        self._hurt(stream, faults, self.points, "raise")

    def test_connection_lost_at_any_step_writes_once(self, stream: FileStream, faults: Faults) -> None:
        self._hurt(stream, faults, self.points, "lose")

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
            assert written == stream.ids()[: len(written)], f"{action} at {point}"
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
            assert "foreachonce.errors.Fenced" in error or point in ("committed", "function-done"), error
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

    def test_task_that_is_repeated_half_way_writes_once(self, stream: FileStream) -> None:
        """A worker is killed amid its rows, or with its part staged; Spark repeats the task: the first attempt stays out."""
        points = [point for point in self.worker_points if point in ("rows-half", "part-staged")]
        if not points:
            pytest.skip("no worker writes rows")
        sink = self.sink("s")
        for number, point in enumerate(points):
            stream.feed(range(300 * number, 300 * (number + 1)))
            job = Job(sink, stream.source, stream.checkpoint, master="local[2,4]")
            with Driver(job, fault=point) as driver:
                os.kill(driver.wait_at_point(), signal.SIGKILL)
                assert driver.wait() == 0, driver.log()
            self.assert_exactly_once(sink, stream)

    def test_task_that_is_repeated_after_its_commit_writes_once(self, stream: FileStream) -> None:
        """The process that has committed is killed before Spark hears of it, and Spark repeats its task."""
        sink = self.sink("s")
        stream.feed([1, 2, 3])
        job = Job(sink, stream.source, stream.checkpoint, master="local[2,4]")
        with Driver(job, fault="committed") as driver:
            process = driver.wait_at_point()
            assert self.read() == [1, 2, 3]
            os.kill(process, signal.SIGKILL)
            code = driver.wait()
        if code != 0:  # the driver itself has committed, and was killed: the next one finds the entry
            stream.run(sink)
        self.assert_exactly_once(sink, stream)


class SinkContract(StreamContract):
    """The contract of a sink that writes frames."""

    def test_replay_does_not_call_the_users_function(self, stream: FileStream) -> None:
        called = []

        @exactly_once(self.sink("s"))
        def double(frame: DataFrame, batch_id: int) -> DataFrame:
            called.append(batch_id)
            return frame.withColumn("id", frame.id * 2)

        stream.feed([1], [2])
        stream.run(double)
        stream.forget_commit()
        stream.run(double)
        assert (self.read(), called) == ([2, 4], [0, 1])

    def test_failing_function_writes_nothing(self, stream: FileStream) -> None:
        sink = self.sink("s")

        @exactly_once(sink)
        def fail(frame: DataFrame, batch_id: int) -> DataFrame:
            raise RuntimeError("no such rate")

        stream.feed([1])
        with pytest.raises(StreamingQueryException, match="no such rate"):
            stream.run(fail)
        assert sink.ledger.head("s") is None
        stream.run(sink)
        self.assert_exactly_once(sink, stream)

    def test_streaming_frame_is_refused(self, stream: FileStream, spark: SparkSession) -> None:
        sink = self.sink("s")
        source = str(stream.source)

        @exactly_once(sink)
        def wrong(frame: DataFrame, batch_id: int) -> DataFrame:
            return frame.sparkSession.readStream.schema("id bigint, value string").json(source)

        stream.feed([1])
        with refused("EpochError", "is a stream, not a batch"):
            stream.run(wrong)
        assert self.read() == []

    def test_function_that_returns_no_frame_is_refused(self, stream: FileStream) -> None:
        @exactly_once(self.sink("s"))
        def forgetful(frame: DataFrame, batch_id: int) -> DataFrame:
            frame.where("id > 0")
            return None  # type: ignore[return-value]

        stream.feed([1])
        with refused("FrameError", "forgetful", "returned NoneType"):
            stream.run(forgetful)
