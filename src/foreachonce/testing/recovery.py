"""The promises about lost, torn, older and newer checkpoints. A sink joins as it joins the contract, with
`RecoveryContract` beside; one that can be put back to an earlier moment names ``snapshot`` and ``put_back`` too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from pyspark.errors import StreamingQueryException

from foreachonce.errors import StateLost
from foreachonce.faults import InjectedFault, Point
from foreachonce.recovery.diagnosis import Kind
from foreachonce.recovery.repair import POINTS, Repair
from foreachonce.testing.driver import Driver, Job
from foreachonce.testing.faults import Faults
from foreachonce.testing.stream import FileStream, Stream, open_stream
from foreachonce.testing.writing import SinkPlace

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

Change = Callable[["DataFrame"], "DataFrame"]


def start(stream: Stream, sink: Any, *, limit: int = 1, change: Change = lambda frame: frame) -> None:
    """Let the sink start a query of its own, which mends its checkpoint first, and run every batch that is there."""
    assert stream.spark is not None
    frame = change(open_stream(stream.spark, stream.source, limit=limit))
    sink.start(frame.writeStream.trigger(availableNow=True), str(stream.checkpoint)).awaitTermination()


def _fail(frame: DataFrame, batch_id: int) -> None:
    raise RuntimeError("nothing is written")


def lose_it(stream: Stream) -> None:
    """Delete the checkpoint."""
    stream.lose_checkpoint()


def put_an_older_copy_back(stream: Stream) -> None:
    """Put back the checkpoint as it was a batch ago; others were cut anew since."""
    stream.restore_checkpoint(stream.checkpoint.parent / "older")


def lose_metadata(stream: Stream) -> None:
    """Delete ``metadata``."""
    stream.remove("metadata")


def empty_the_newest_offsets(stream: Stream) -> None:
    """Cut the newest ``offsets/N`` short, as a full disk does."""
    (stream.checkpoint / f"offsets/{stream.newest('offsets')}").write_text("")


def lose_offsets_before_the_newest(stream: Stream) -> None:
    """Leave a gap in ``offsets``."""
    stream.remove(f"offsets/{stream.newest('offsets') - 1}")


def tear_the_newest_commit(stream: Stream) -> None:
    """Leave half a commit."""
    stream.remove(f"commits/{stream.newest('commits')}")
    (stream.checkpoint / f"commits/{stream.newest('commits') + 1}").write_text("v")


def lose_a_source_log_entry(stream: Stream) -> None:
    """Delete the newest entry of the source's log, which tells its files."""
    numbers = [int(path.name) for path in (stream.checkpoint / "sources/0").iterdir() if path.name.isdigit()]
    stream.remove(f"sources/0/{max(numbers)}")


def begin_a_new_one(stream: Stream) -> None:
    """Lose the checkpoint, and start a query without a repair, which is refused and leaves a checkpoint of its own."""
    stream.lose_checkpoint()
    (stream.checkpoint / "offsets").mkdir(parents=True)
    (stream.checkpoint / "metadata").write_text('{"id":"another"}')


DAMAGES: dict[Callable[[Stream], None], Kind] = {
    lose_it: "missing",
    put_an_older_copy_back: "behind",
    lose_metadata: "damaged",
    empty_the_newest_offsets: "damaged",
    lose_offsets_before_the_newest: "damaged",
    tear_the_newest_commit: "damaged",
    lose_a_source_log_entry: "damaged",
    begin_a_new_one: "replaced",
}


class DamageContract(SinkPlace):
    """A checkpoint that is lost, torn, older or newer than the ledger is mended before the query starts."""

    damages: ClassVar[dict[Callable[[Stream], None], Kind]] = DAMAGES
    """What becomes of the checkpoint, and what a diagnosis calls it."""

    def prepared(self, stream: Stream, sink: Any, **keywords: Any) -> Repair:
        """Prepare the checkpoint."""
        repair: Repair = sink.prepare(stream.spark, str(stream.checkpoint), **keywords)
        return repair

    def test_every_damage_is_mended_and_every_row_there_once(self, stream: Stream) -> None:
        """One stream, one damage after the other, with other limits each time."""
        sink = self.sink("s", heal=True)
        stream.feed([0])
        start(stream, sink)
        for number, (damage, kind) in enumerate(self.damages.items(), 1):
            first = 10 * number
            stream.copy_checkpoint("older")
            stream.feed([first + 1], [first + 2])
            start(stream, sink, limit=1 + number % 2)
            damage(stream)
            assert self.prepared(stream, sink, dry_run=True).kind == kind, damage.__name__
            stream.feed([first + 3], [first + 4])
            start(stream, sink, limit=1 + (number + 1) % 3)
            self.assert_exactly_once(sink, stream)
            stream.forget_copy("older")
        repairs = [str(entry.decision) for entry in sink.ledger.entries("s") if entry.is_repair]
        assert [words.split(",")[0] for words in repairs] == [f"repair: checkpoint {kind}" for kind in self.damages.values()]

    def test_first_batch_that_was_never_written_begins_again(self, stream: Stream) -> None:
        """Neither ledger nor checkpoint has a batch; where Kafka's source began is told by its file alone."""
        sink, is_of_files = self.sink("s", heal=True), isinstance(stream, FileStream)
        stream.feed([1], [2])
        with pytest.raises(StreamingQueryException):
            stream.run(_fail)
        beginning = b"" if is_of_files else (stream.checkpoint / "sources/0/0").read_bytes()
        (lose_a_source_log_entry if is_of_files else empty_the_newest_offsets)(stream)
        assert self.prepared(stream, sink, dry_run=True).kind == "damaged"
        assert self.prepared(stream, sink).is_done
        assert is_of_files or (stream.checkpoint / "sources/0/0").read_bytes() == beginning
        start(stream, sink)
        self.assert_exactly_once(sink, stream)


class RecoveryContract(DamageContract):
    """And a repair that breaks off, and one amid a run, do no harm."""

    def test_healthy_checkpoint_is_left_alone(self, stream: Stream) -> None:
        sink = self.sink("s", heal=True)
        assert self.prepared(stream, sink).kind == "new"
        stream.feed([1], [2])
        start(stream, sink)
        before = sorted(path.name for path in stream.checkpoint.parent.iterdir())
        assert self.prepared(stream, sink).kind == "agrees"
        stream.forget_commit()
        assert self.prepared(stream, sink).kind == "agrees"
        assert sorted(path.name for path in stream.checkpoint.parent.iterdir()) == before
        assert not any(entry.is_repair for entry in sink.ledger.entries("s"))

    @pytest.mark.parametrize("step", POINTS)
    def test_repair_that_breaks_off_is_done_by_the_next(self, stream: Stream, faults: Faults, step: Point) -> None:
        sink = self.sink("s", heal=True)
        stream.feed([1], [2])
        start(stream, sink)
        stream.remove("metadata")
        faults.arm(step, "raise")
        with pytest.raises(InjectedFault):
            self.prepared(stream, sink)
        stream.feed([3])
        start(stream, sink)
        self.assert_exactly_once(sink, stream)

    def test_repair_fences_a_run_that_still_goes_on(self, stream: Stream, other_driver: Driver) -> None:
        sink = self.sink("s", heal=True)
        stream.feed([1])
        start(stream, sink)
        stream.feed([2])
        other_driver.faults.arm("stream-taken", "stop")
        other_driver.submit(Job(sink, stream.source, stream.checkpoint))
        other_driver.faults.wait("stream-taken", lambda: other_driver.is_busy)
        copy = stream.copy_checkpoint("left")
        stream.lose_checkpoint()
        start(stream, sink)
        other_driver.faults.release("stream-taken")
        assert "foreachonce.errors" in other_driver.result()
        self.assert_exactly_once(sink, stream)
        assert copy.exists()


class StatefulRecoveryContract(RecoveryContract):
    """What keeps state: it follows a checkpoint back, and where it is gone nothing is done without the user's word."""

    @staticmethod
    def distinct(frame: DataFrame) -> DataFrame:
        """Rows whose id has not come before."""
        return frame.dropDuplicates(["id"])

    def test_state_that_is_gone_is_refused_and_read_again_where_the_user_says_so(self, stream: Stream) -> None:
        sink = self.sink("s", heal=True)
        stream.feed([1, 2], [2, 3])
        start(stream, sink, change=self.distinct)
        stream.lose_checkpoint()
        stream.feed([3, 4])
        with pytest.raises(StateLost, match=r"(?s)checkpoint is gone.*keeps state.*accept_state_loss=True"):
            start(stream, sink, change=self.distinct)
        assert self.prepared(stream, sink, accept_state_loss=True).is_done
        start(stream, sink, change=self.distinct)
        assert self.read() == [1, 2, 3, 4]
        start(stream, sink, change=self.distinct)
        assert self.read() == [1, 2, 3, 4]

    def test_state_follows_a_checkpoint_that_is_put_back(self, stream: Stream, faults: Faults) -> None:
        """Batches that the sink never had, as after a restored database; the repair breaks off where no folder is there."""
        sink = self.sink("s", heal=True)
        stream.feed([1, 2], [2, 3])
        start(stream, sink, change=self.distinct)
        stream.feed([3, 4], [4, 5])
        stream.run(lambda frame, batch_id: frame.collect(), change=self.distinct)
        assert self.prepared(stream, sink, dry_run=True).kind == "ahead"
        faults.arm("checkpoint-aside", "raise")
        with pytest.raises(InjectedFault):
            self.prepared(stream, sink)
        assert not stream.checkpoint.exists()
        stream.feed([5, 6])
        start(stream, sink, change=self.distinct)
        assert self.read() == [1, 2, 3, 4, 5, 6]

    def test_batch_that_spark_has_not_finished_feeds_its_state_again(self, stream: Stream) -> None:
        sink = self.sink("s", heal=True)
        stream.feed([1, 2], [2, 3])
        start(stream, sink, change=self.distinct)
        stream.forget_commit()
        for state in stream.checkpoint.glob("state/*/*/2.*"):
            state.unlink()
            state.with_name(f".{state.name}.crc").unlink(missing_ok=True)
        stream.remove("metadata")
        stream.feed([3, 4])
        start(stream, sink, change=self.distinct)
        assert self.read() == [1, 2, 3, 4]
