"""From a batch frame to its epoch, on classic Spark and on Spark Connect."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from foreachonce import checkpoint as cp
from foreachonce.epoch import Epoch
from foreachonce.errors import EpochError
from foreachonce.position import Position
from foreachonce.spark.files import ConnectFiles, HadoopFiles, java_class
from foreachonce.spark.lag import behind
from foreachonce.spark.shared import shared_sources

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

OUTSIDE = "a sink is called by Spark inside foreachBatch: pass it to writeStream.foreachBatch(sink), do not call it"


@dataclass(frozen=True, slots=True)
class Resolved:
    """A batch of a query: what an epoch is made of, and what only Spark can do with its frame."""

    frame: DataFrame
    batch_id: int
    query: _Query
    position: Position
    offset_log: str

    def epoch(self, stream: str | None) -> Epoch:
        """The batch as an epoch of a stream; None takes the query's name.

        Raises:
            EpochError: neither the stream nor the query has a name.
        """
        name = stream or self.query.name
        if not name:
            raise EpochError(
                "the stream has no name: give the sink stream=, or the query a queryName(). The name is the key of the "
                "ledger and outlives checkpoints."
            )
        return Epoch(
            stream=name,
            query_id=self.query.id,
            run_id=self.query.run_id,
            batch_id=self.batch_id,
            position=self.position,
            offset_log=self.offset_log,
            is_stateful=self.query.is_stateful,
        )

    @property
    def output_mode(self) -> str | None:
        """The query's output mode, as ``outputMode()`` takes it; None on Spark Connect, which does not tell."""
        return None if self.query.execution is None else str(self.query.execution.outputMode()).lower()

    def behind(self) -> dict[str, int | None]:
        """At most how many records each source had beyond the batch's end; None where Spark does not tell."""
        return behind(self.query.execution, self.position)

    def feed_state(self) -> None:
        """Compute a skipped batch where the query keeps state.

        Without it Spark's state store has nothing to commit, and the query fails with
        STATE_STORE_COMMIT_VALIDATION_FAILED or, with RocksDB's checkpoint format 2, at every later start.
        """
        if self.query.is_stateful:
            self.frame.write.format("noop").mode("overwrite").save()


def resolve(frame: DataFrame, batch_id: int, *, checkpoint: str | None) -> Resolved:
    """Tell which batch of which query ``frame`` is.

    Args:
        frame: the batch frame that Spark handed to foreachBatch.
        batch_id: the batch id that came with it.
        checkpoint: the checkpoint's path, on Spark Connect only; classic Spark knows it.

    Raises:
        EpochError: not inside foreachBatch, a streaming frame, or an unreadable checkpoint.
    """
    refuse_streaming(frame)
    query = _connect_query(frame, checkpoint) if is_connect(frame) else _classic_query(frame, batch_id)
    position, offset_log = cp.read_position(query.files, batch_id, query.shared)
    return Resolved(frame, batch_id, query, position, offset_log)


def refuse_streaming(frame: DataFrame) -> None:
    """Refuse a streaming frame where a batch is expected."""
    if frame.isStreaming:
        raise EpochError(f"the frame is a stream, not a batch: {OUTSIDE}.")


def is_connect(of_spark: DataFrame | SparkSession) -> bool:
    """Whether a frame or a session is Spark Connect's."""
    return type(of_spark).__module__.startswith("pyspark.sql.connect")


@dataclass(frozen=True, slots=True)
class _Query:
    id: str
    run_id: str
    name: str | None
    files: cp.CheckpointFiles
    execution: Any = None  # Spark's own view of the running query; py4j's view of it has no types

    @property
    def is_stateful(self) -> bool:
        """Whether the query keeps state; asked once a run, for Spark makes the folder before the first batch."""
        if self.run_id not in _stateful:
            _stateful[self.run_id] = cp.is_stateful(self.files)
        return _stateful[self.run_id]

    @property
    def shared(self) -> frozenset[str]:
        """The ids of sources that are other uses of one before; asked once a run. Spark Connect does not tell."""
        if self.execution is None:
            return frozenset()
        if self.run_id not in _shared:
            _shared[self.run_id] = shared_sources(self.execution)
        return _shared[self.run_id]


_stateful: dict[str, bool] = {}
_shared: dict[str, frozenset[str]] = {}


def _classic_query(frame: DataFrame, batch_id: int) -> _Query:
    context = frame.sparkSession.sparkContext
    query_id = context.getLocalProperty("sql.streaming.queryId")
    if query_id is None or context.getLocalProperty("streaming.sql.batchId") != str(batch_id):
        raise EpochError(f"no streaming batch {batch_id} is running on this thread: {OUTSIDE}.")
    jvm: Any = context._jvm  # py4j's view of the JVM has no types
    session: Any = frame.sparkSession._jsparkSession  # type: ignore[attr-defined, unused-ignore]
    # The frame's session is a clone whose own list of queries is empty; the shared state knows them all.
    running = session.sharedState().activeStreamingQueries().get(java_class(jvm, "java.util.UUID").fromString(query_id))
    if running is None:
        raise EpochError(f"the query {query_id} is not running any more; nothing was written.")
    files = HadoopFiles(jvm, session.sessionState().newHadoopConf(), running.resolvedCheckpointRoot())
    return _Query(query_id, running.runId().toString(), running.name(), files, running)


def _connect_query(frame: DataFrame, checkpoint: str | None) -> _Query:
    if checkpoint is None:
        raise EpochError("on Spark Connect give the sink checkpoint=, the same path as the query's checkpointLocation.")
    files = ConnectFiles(frame.sparkSession, checkpoint)
    query_id = cp.query_id(files)
    for query in frame.sparkSession.streams.active:
        if query.id == query_id:
            return _Query(query_id, str(query.runId), query.name, files)
    raise EpochError(
        f"no running query has the id {query_id} that {checkpoint}/metadata holds: checkpoint= is another query's."
    )
