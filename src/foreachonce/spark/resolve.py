"""From a batch frame to its epoch, on classic Spark and on Spark Connect.

What belongs to a run of a query, such as its checkpoint's folder and whether it keeps state, is read once a run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from py4j.protocol import Py4JError

from foreachonce import checkpoint as cp
from foreachonce.entry import Epoch
from foreachonce.errors import EpochError
from foreachonce.position import Position, records_between
from foreachonce.spark.files import ConnectFiles, HadoopFiles, java_class

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

OUTSIDE = "a sink is called by Spark inside foreachBatch: pass it to writeStream.foreachBatch(sink), do not call it"


@dataclass(frozen=True, slots=True)
class Query:
    """A run of a query.

    Args:
        id, run_id, name: Spark's.
        files: its checkpoint.
        is_stateful: whether it keeps state in its checkpoint.
        shared: the ids of its sources that are other uses of one before; empty on Spark Connect, which does not tell.
        execution: Spark's own view of the running query, which has no types; None on Spark Connect.
    """

    id: str
    run_id: str
    name: str | None
    files: cp.CheckpointFiles
    is_stateful: bool
    shared: frozenset[str] = frozenset()
    execution: Any = None


@dataclass(frozen=True, slots=True)
class Resolved:
    """A batch of a query: what an epoch is made of, and what only Spark can do with its frame."""

    frame: DataFrame
    batch_id: int
    query: Query
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
        return records_behind(self.query.execution, self.position)

    def feed_state(self) -> None:
        """Compute a skipped batch where the query keeps state.

        Without it Spark's state store has nothing to commit, and the query fails with
        STATE_STORE_COMMIT_VALIDATION_FAILED or, with RocksDB's checkpoint format 2, at every later start.
        """
        if self.query.is_stateful:
            self.frame.write.format("noop").mode("overwrite").save()


def resolve(frame: DataFrame, batch_id: int, *, checkpoint: str | None) -> Resolved:
    """Find out which batch of which query ``frame`` is.

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


# The runs of this process, by query id. Runs that have ended are dropped when the next one starts.
_runs: dict[str, Query] = {}


def _classic_query(frame: DataFrame, batch_id: int) -> Query:
    context = frame.sparkSession.sparkContext
    query_id = context.getLocalProperty("sql.streaming.queryId")
    if query_id is None or context.getLocalProperty("streaming.sql.batchId") != str(batch_id):
        raise EpochError(
            f"no streaming batch {batch_id} is running on this thread: {OUTSIDE}. A thread of your own inside foreachBatch "
            "must inherit what Spark keeps for the batch's: wrap its function by pyspark.inheritable_thread_target(spark)."
        )
    # A query's job group is its run id, unless the user's function has set another.
    known = _runs.get(query_id)
    if known is not None and known.run_id == context.getLocalProperty("spark.jobGroup.id"):
        return known
    jvm: Any = context._jvm  # py4j's view of the JVM has no types
    session: Any = frame.sparkSession._jsparkSession  # type: ignore[attr-defined, unused-ignore]
    # The frame's session is a clone whose own list of queries is empty; the shared state knows them all.
    active = session.sharedState().activeStreamingQueries()
    running = active.get(java_class(jvm, "java.util.UUID").fromString(query_id))
    if running is None:
        raise EpochError(f"the query {query_id} is not running any more; nothing was written.")
    files = HadoopFiles(jvm, session.sessionState().newHadoopConf(), running.resolvedCheckpointRoot())
    run_id, name = running.runId().toString(), running.name()
    query = Query(query_id, run_id, name, files, cp.is_stateful(files), shared_sources(running), running)
    return _remember(query, {str(each) for each in active.keySet().toArray()})


def _connect_query(frame: DataFrame, checkpoint: str | None) -> Query:
    if checkpoint is None:
        raise EpochError("on Spark Connect give the sink checkpoint=, the same path as the query's checkpointLocation.")
    files = ConnectFiles(frame.sparkSession, checkpoint)
    query_id, active = cp.query_id(files), frame.sparkSession.streams.active
    for query in active:
        if query.id == query_id:
            run_id, known = str(query.runId), _runs.get(query_id)
            if known is not None and known.run_id == run_id:
                return known
            made = Query(query_id, run_id, query.name, files, cp.is_stateful(files))
            return _remember(made, {str(each.id) for each in active})
    raise EpochError(
        f"no running query has the id {query_id} that {checkpoint}/metadata holds: checkpoint= is another query's."
    )


def _remember(query: Query, active: set[str]) -> Query:
    """Keep what belongs to a run, and drop the runs of queries that have ended."""
    _runs[query.id] = query
    for ended in _runs.keys() - active - {query.id}:
        _runs.pop(ended, None)
    return query


def shared_sources(execution: Any) -> frozenset[str]:
    """The ids of a query's sources that are other uses of one before, as in ``frame.union(frame)``.

    Such a source is twice in the offset log, and has one folder in the checkpoint; the sources after it have smaller numbers
    there than in the offset log. Source: MicroBatchExecution.logicalPlan of Apache Spark.

    Args:
        execution: Spark's running query, as py4j shows it.
    """
    from pyspark.errors import PySparkException

    try:
        sources = execution.sources()
        count = sources.size()
        if sources.distinct().size() == count:
            return frozenset()
        return frozenset(str(number) for number in range(count) if sources.indexOf(sources.apply(number)) < number)
    except (Py4JError, PySparkException):
        # These methods are not Spark's public API: a version without them must not cost a batch.
        return frozenset()


def records_behind(execution: Any, position: Position) -> dict[str, int | None]:
    """At most how many records each source had beyond the batch's end, by source id; None where Spark does not tell.

    Spark asks each source for its newest offset (``SupportsAdmissionControl.reportLatestOffset``) when it plans a batch, and
    keeps the answers (``StreamExecution.latestOffsets``) until the next one: no broker is asked here. It plans no batch that
    was in the offset log when the query started, so nothing is known of that one. A file source reports nothing, and between
    other offsets than Kafka's nobody can count records.

    Args:
        execution: Spark's running query, as py4j shows it; None on Spark Connect.
        position: the batch's.
    """
    behind: dict[str, int | None] = dict.fromkeys(position.sources)
    counted = {
        source: span.end
        for source, span in position.sources.items()
        if span.end is not None and records_between(None, span.end) is not None
    }
    if execution is None or not counted:
        return behind
    from pyspark.errors import PySparkException

    try:
        latest = execution.latestOffsets()
        for source, end in counted.items():
            newest = latest.get(_source(execution, source))
            if newest.isDefined():
                behind[source] = records_between(end, newest.get().json())
    except (Py4JError, PySparkException):
        # As above.
        return dict.fromkeys(position.sources)
    return behind


def _source(execution: Any, name: str) -> Any:
    """A source by its id: its number, or from Spark 4.2 on the name that the user gave it."""
    return execution.sources().apply(int(name)) if name.isdigit() else execution.sourceIdMap().apply(name)
