"""What the foreachBatch functions of this library share: the keywords of every sink, and what runs before a query starts."""

from __future__ import annotations

import logging
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, cast, get_args

from foreachonce.checkpoint import COMPACT_INTERVAL, COMPACT_INTERVAL_SETTING
from foreachonce.entry import Entry, Epoch
from foreachonce.errors import ConfigurationError
from foreachonce.events import BEFORE_ANY_BATCH, Stopwatch
from foreachonce.keywords import flags, one_of, texts
from foreachonce.ledger import Ledger
from foreachonce.observe import Report
from foreachonce.recovery.diagnosis import Earliest
from foreachonce.recovery.repair import LedgerStream, Repair, begin_after, repair
from foreachonce.runner import run
from foreachonce.sink import OnMismatch, Sink, Work
from foreachonce.spark.files import HadoopFiles
from foreachonce.spark.resolve import Resolved, is_connect

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.streaming.query import StreamingQuery
    from pyspark.sql.streaming.readwriter import DataStreamWriter

log = logging.getLogger("foreachonce")

_ForeachBatch: TypeAlias = "Callable[[DataFrame, int], None]"
Setting = str | int | float | bool


class BatchFunction(ABC):
    """A foreachBatch function whose query's checkpoint can be compared with its ledgers, and repaired.

    Attributes:
        heal: whether ``start()`` repairs the checkpoint.
    """

    heal: bool
    _explained = False

    @property
    @abstractmethod
    def sinks(self) -> Sequence[Sink[Any]]:
        """Where its rows go."""

    def prepare(
        self,
        spark: SparkSession,
        checkpoint: str,
        *,
        dry_run: bool = False,
        accept_state_loss: bool = False,
        accept_data_loss: bool = False,
        kafka: str | Mapping[str, Setting] | None = None,
    ) -> Repair:
        """Bring a checkpoint to where the ledger says that the query has to go on; call it before ``start()``.

        A checkpoint that is missing or damaged is rebuilt from the ledger; one that is older than the ledger is put
        forward; one that is newer (the sink came back from a backup) is put back, so that Spark reads again just what the
        sink lacks. The old one is moved aside, never deleted, and the repair is an entry of the ledger. Where they agree
        nothing is written. Several sinks of one function, as of ``@exactly_once([a, b])`` and ``DeltaTables``, are looked at
        together. The query must not run, and every sink needs ``stream=``. Where it raises, the checkpoint is as it was.

        On Spark Connect, which cannot write a checkpoint's files, run ``foreachonce restore`` where they are.

        Args:
            spark: the session that the query will run in; it reads and writes the checkpoint.
            checkpoint: the query's ``checkpointLocation``.
            dry_run: report the repair without making it.
            accept_state_loss: where the query keeps state and it is gone, let the query read its whole source again for it,
                without writing what the ledger has. What the source no longer holds is then missing from the state.
            accept_data_loss: repair also where the source has lost rows that the sink lacks.
            kafka: the servers of the Kafka that the query reads, ``host:port`` with commas between, or settings with
                ``bootstrap_servers`` as for [`KafkaSink`][foreachonce.KafkaSink]: expired offsets are then reported, and
                refused, before anything starts. It needs the extra ``kafka``.

        Returns:
            What the checkpoint was and what was done; ``print()`` shows it in words.

        Raises:
            StateLost: the query keeps state, and the checkpoint does not hold that of the ledger's newest batch.
            Expired: the source no longer holds rows that the sink lacks.
            Mismatch: the checkpoint is another query's, the path holds something else, the sinks are more than a batch
                apart, or nothing shows which files were read.
            Conflict: another run goes on with the stream.
            Fenced: another run has taken the stream over meanwhile.
            ConfigurationError: the sink has no ``stream=``, the query runs, or the session is Spark Connect's.
        """
        texts(checkpoint=checkpoint or "")
        flags(dry_run=dry_run, accept_state_loss=accept_state_loss, accept_data_loss=accept_data_loss)
        if is_connect(spark):
            raise ConfigurationError(
                "prepare() writes a checkpoint's files, which a Spark Connect session cannot: call it in a classic "
                "session, or run `foreachonce restore` where the checkpoint is."
            )
        with ExitStack() as reports:
            # A start that is refused must be seen by whoever watches the events: no batch will come to tell.
            for sink in () if dry_run else self.sinks:
                reports.enter_context(Report(sink.stream, str(sink), BEFORE_ANY_BATCH, Stopwatch()))
            return repair(
                [_stream_of(sink) for sink in self.sinks],
                HadoopFiles.of(spark, checkpoint),
                dry_run=dry_run,
                accept_state_loss=accept_state_loss,
                accept_data_loss=accept_data_loss,
                earliest=None if kafka is None else partial(_earliest, kafka),
                running={str(query.id) for query in spark.streams.active},
                interval=int(spark.conf.get(COMPACT_INTERVAL_SETTING) or COMPACT_INTERVAL),
            )

    def start(self, writer: DataStreamWriter, checkpoint: str) -> StreamingQuery:
        """Start a query that this function writes; with ``heal=True`` its checkpoint is prepared first.

        It calls ``writer.foreachBatch(self).option("checkpointLocation", checkpoint).start()``. With ``heal=True``, of one
        sink if there are several, it first calls ``prepare()`` in the writer's session and raises what that raises; nothing
        was started then.

        Args:
            writer: ``frame.writeStream``, with its trigger, output mode and options.
            checkpoint: the query's ``checkpointLocation``.

        Returns:
            The query that was started.
        """
        if self.heal:
            self.prepare(_session_of(writer), checkpoint)
        self._explained = True
        return writer.foreachBatch(cast("_ForeachBatch", self)).option("checkpointLocation", checkpoint).start()

    def _explain_heal(self) -> None:
        """Say once that ``foreachBatch(sink)`` repairs nothing: its query has started before the sink is called."""
        if self.heal and not self._explained:
            log.warning(
                "%s: heal=True has no effect with foreachBatch(sink), whose query has started already; start it by "
                "sink.start(frame.writeStream, checkpoint), or call sink.prepare(spark, checkpoint) before.",
                self,
            )
        self._explained = True

    def begin_after(self, ledger: Ledger, stream: str, seq: int) -> Entry:
        """Begin this sink's stream, which is new, where another one ended with an entry: to write again, on purpose.

        The stream gets a first entry that brings no rows and ends where entry ``seq`` of the other stream ends.
        ``prepare()``, or ``start()`` with ``heal=True``, builds the checkpoint in a new folder, and the query writes
        what came after. Its sources must be those of the other stream's query. The other stream is only read.

        Args:
            ledger: the ledger of the other stream.
            stream: the other stream's name.
            seq: the place of its entry in the chain. With a source of files the ledger must have all entries up to it, and
                the new entry names all their files.

        Returns:
            The stream's first entry.

        Raises:
            ConfigurationError: the other stream has no such entry; this one is not new, or its sink can hold no entry yet (a
                Delta table that does not exist).
            Mismatch: entries are gone that tell which files the other stream had read.
            Conflict: another run has begun the stream meanwhile.
        """
        texts(stream=stream)
        return begin_after([_stream_of(sink) for sink in self.sinks], ledger, stream, seq)


class BaseSink(BatchFunction, Generic[Work]):
    """A sink that is a foreachBatch function by itself, with the keywords that every sink has.

    A subclass has a ``ledger``, a ``guarantee``, ``check`` and ``commit``, and describes itself by ``__str__``; see
    :class:`~foreachonce.sink.Sink`.

    Args:
        stream: the pipeline's own name for its output here; it outlives checkpoints. None takes the query's name.
        on_mismatch: what happens to a batch that is not the one the ledger expects: ``"raise"`` refuses it; ``"write"``
            writes it all the same, and its entry records it.
        heal: let ``start()`` bring the query's checkpoint to where the ledger says that it has to go on.
        checkpoint: the query's ``checkpointLocation``; needed on Spark Connect only.

    Raises:
        ConfigurationError: a keyword is out of range; raised at once, not at the first batch.
    """

    ledger: Ledger

    def __init__(self, *, stream: str | None, on_mismatch: OnMismatch, heal: bool, checkpoint: str | None) -> None:
        one_of("on_mismatch", on_mismatch, get_args(OnMismatch))
        texts(stream=stream, checkpoint=checkpoint)
        flags(heal=heal)
        self.stream: str | None = stream
        self.on_mismatch: OnMismatch = on_mismatch
        self.heal = heal
        self.checkpoint: str | None = checkpoint

    def __call__(self, frame: DataFrame, batch_id: int) -> None:
        """Write one batch; this is what Spark calls."""
        self._explain_heal()
        run([self], frame, batch_id, accept=self.accept)

    @property
    def sinks(self) -> Sequence[BaseSink[Work]]:
        """The sink itself."""
        return (self,)

    @property
    @abstractmethod
    def guarantee(self) -> str:
        """What holds for the rows, in words that a user can check."""

    def accept(self, batch: Resolved) -> None:
        """Refuse a query whose batches the sink cannot keep its promise for. Called before any ledger is read."""

    def begin_run(self, epoch: Epoch) -> None:
        """The epoch's run has just taken the stream: drop what earlier runs left, and what was cached for them."""

    @abstractmethod
    def check(self, frame: DataFrame) -> Work:
        """Refuse a frame that the sink cannot hold; see :class:`~foreachonce.sink.Sink`."""

    @abstractmethod
    def commit(self, work: Work, entry: Entry) -> int | None:
        """Commit the work and the entry together; see :class:`~foreachonce.sink.Sink`."""


class TransactionSink(BaseSink[Work]):
    """A sink that a function of three parameters can write through a ``tx``."""

    @abstractmethod
    def transaction(self) -> Any:
        """What the function gets as ``tx``."""

    @abstractmethod
    def work_of(self, tx: Any) -> Work:
        """What the function has collected in ``tx`` for this sink."""


class SinkGroup(ABC):
    """Several sinks that one function of three parameters writes through one ``tx``."""

    sinks: Sequence[TransactionSink[Any]]

    @abstractmethod
    def transaction(self) -> Any:
        """What the function gets as ``tx``."""


def _stream_of(sink: Sink[Any]) -> LedgerStream:
    if sink.stream is None:
        raise ConfigurationError(f"{sink!r} has no stream=, and without one nothing tells which ledger entries are its own.")
    return LedgerStream(sink.ledger, sink.stream, str(sink))


def _session_of(writer: DataStreamWriter) -> SparkSession:
    """The session that the query will run in, which need not be the active one; PySpark has no public name for it."""
    from pyspark.sql import SparkSession

    own = getattr(writer, "_spark", None) or getattr(writer, "_session", None)
    return SparkSession.active() if own is None else own


def _earliest(kafka: str | Mapping[str, Setting], heads: Sequence[Entry]) -> Earliest:
    """Kafka's probe, which recovery is given: its client is an extra."""
    from foreachonce.kafka.source import earliest

    return earliest(heads, {"bootstrap_servers": kafka} if isinstance(kafka, str) else kafka)


def name_of_function(function: object) -> str:
    """The name by which its author knows a function."""
    return str(getattr(function, "__qualname__", None) or type(function).__qualname__)


def reference(decorated: object) -> str | None:
    """The name to pickle a decorated function by, as pickle does it for a plain one; None where it must go by value.

    A function of the main program goes by value: in the process that unpickles it the main program is another.
    """
    module, name = getattr(decorated, "__module__", None), getattr(decorated, "__qualname__", None)
    if module is None or name is None or module == "__main__":
        return None
    value: object = sys.modules.get(module)
    for part in name.split("."):
        value = getattr(value, part, None)
    return name if value is decorated else None
