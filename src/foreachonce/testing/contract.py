"""The promises that every sink keeps, as tests. A sink joins with a subclass that names four things:

    class TestMySink(SinkContract):
        points = (*POINTS_BEFORE, "rows-half", "committed", *POINTS_AFTER)  # the fault points that it passes, in order
        def sink(self, stream, **keywords): ...   # a sink of the table "events" (id bigint, value string)
        def read(self): ...                       # the ids in "events", each as often as it is there
        @pytest.fixture(autouse=True)
        def place(self, ...): ...                 # whatever these need

and two session fixtures: ``spark``, such as ``foreachonce.testing.spark.session``, and ``other_driver``, a
``foreachonce.testing.driver.Driver`` without a job. What is no sink of frames joins `StreamContract`; a second path of a
sink's rows joins ``foreachonce.testing.writing.WriteContract``, which leaves out what does not depend on it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from pyspark.errors import StreamingQueryException

from foreachonce import exactly_once
from foreachonce.spark.resolve import is_connect
from foreachonce.testing.spark import state_store
from foreachonce.testing.stream import FileStream
from foreachonce.testing.writing import WriteContract, refused

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


class StreamContract(WriteContract):
    """First write, replay, mismatch, reset, races, faults at every step and restarts, on a real Spark and a real sink."""

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
        with state_store(spark, provider):
            self._replay_deduplication(stream)

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
            "Mismatch", "'s'", "written again", old, '0:{"logOffset":1}', '0:{"logOffset":0}', "foreachonce restore s"
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
        assert [str(entry.decision) for entry in sink.ledger.entries("s")] == ["write", "on_mismatch=write: behind"]

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

    def test_stream_without_a_name_is_refused(self, stream: FileStream) -> None:
        stream.feed([1])
        with refused("EpochError", "stream=", "queryName"):
            stream.run(self.sink(None))
        assert self.read() == []


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
