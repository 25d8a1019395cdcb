"""``prepare()``, ``start()``, ``begin_after()``: what every foreachBatch function here can do before its query starts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeAlias, cast

from foreachonce.checkpoint import COMPACT_INTERVAL, COMPACT_INTERVAL_SETTING
from foreachonce.entry import Entry
from foreachonce.errors import ConfigurationError
from foreachonce.keywords import flags, texts
from foreachonce.ledger import Ledger
from foreachonce.recovery.begin import begin_after
from foreachonce.recovery.lost import Earliest
from foreachonce.recovery.mend import Mendable, Repair, mend
from foreachonce.spark.files import HadoopFiles
from foreachonce.spark.resolve import is_connect

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.streaming.query import StreamingQuery
    from pyspark.sql.streaming.readwriter import DataStreamWriter

_BatchFunction: TypeAlias = "Callable[[DataFrame, int], None]"
Setting = str | int | float | bool


class Preparable:
    """A foreachBatch function whose query's checkpoint can be compared with its ledger, and mended.

    Attributes:
        heal: whether :meth:`start` mends the checkpoint.
    """

    heal: bool = False

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

        A checkpoint that is missing or damaged is written anew from the ledger; one that is older than the ledger is put
        forward; one that is newer (the sink came back from a backup) is put back, so that Spark reads again just what the
        sink lacks. The old one is moved aside, never deleted, and the repair is an entry of the ledger. Where they agree
        nothing is written.

        Args:
            spark: the session that the query will run in; it reads and writes the checkpoint.
            checkpoint: the query's ``checkpointLocation``.
            dry_run: say what would be done, and do nothing.
            accept_state_loss: where the query keeps state and it is gone, let the query read its whole source again for it,
                without writing what the ledger has. What the source no longer holds is then missing from the state.
            accept_data_loss: mend also where the source has lost rows that the sink lacks.
            kafka: the servers of the Kafka that the query reads, ``host:port`` with commas between, or settings with
                ``bootstrap_servers`` as for :class:`~foreachonce.KafkaSink`: expired offsets are then reported, and refused,
                before anything starts.

        Returns:
            What the checkpoint was and what was done; ``print()`` says it in words.

        Raises:
            StateLost: the query keeps state, and the checkpoint does not hold that of the ledger's newest batch.
            Expired: the source no longer holds rows that the sink lacks.
            Mismatch: the checkpoint is another query's, or another thing's path, or nothing tells which files were read.
            Conflict: another run goes on with the stream; the checkpoint is as it was.
            ConfigurationError: the sink has no ``stream=``, the query runs, or the session is Spark Connect's.
        """
        texts(checkpoint=checkpoint or "")
        flags(dry_run=dry_run, accept_state_loss=accept_state_loss, accept_data_loss=accept_data_loss)
        if is_connect(spark):
            raise ConfigurationError(
                "prepare() writes a checkpoint's files, which a Spark Connect session cannot: call it in a classic "
                "session, or run `foreachonce restore` where the checkpoint is."
            )
        return mend(
            self._mendable(),
            HadoopFiles.of(spark, checkpoint),
            dry_run=dry_run,
            accept_state_loss=accept_state_loss,
            accept_data_loss=accept_data_loss,
            earliest=None if kafka is None else partial(earliest_of, kafka),
            running={str(query.id) for query in spark.streams.active},
            interval=int(spark.conf.get(COMPACT_INTERVAL_SETTING) or COMPACT_INTERVAL),
        )

    def start(self, writer: DataStreamWriter, checkpoint: str) -> StreamingQuery:
        """Start a query that this function writes; with ``heal=True`` its checkpoint is prepared first.

        Args:
            writer: ``frame.writeStream``, with its trigger, output mode and options.
            checkpoint: the query's ``checkpointLocation``.

        Raises:
            What :meth:`prepare` raises; nothing was started.
        """
        if self.heal:
            self.prepare(_session_of(writer), checkpoint)
        return writer.foreachBatch(cast("_BatchFunction", self)).option("checkpointLocation", checkpoint).start()

    def begin_after(self, ledger: Ledger, stream: str, seq: int) -> Entry:
        """Begin this sink's stream, which is new, where another one stood after an entry: to write again, on purpose.

        The stream gets a first entry that brings no rows and ends where entry ``seq`` of the other stream ends.
        :meth:`prepare`, or :meth:`start` with ``heal=True``, builds the checkpoint in a new folder, and the query writes
        what came after. Its sources must be those of the other stream's query. The other stream is only read.

        Args:
            ledger: the ledger of the other stream.
            stream: the other stream's name.
            seq: the place of its entry in the chain. With a source of files the ledger must have all entries up to it, and
                the new entry names all their files.

        Returns:
            The entry.

        Raises:
            ConfigurationError: the other stream has no such entry; this one is not new, or its sink can hold no entry yet (a
                Delta table that is not there).
            Mismatch: entries are gone that tell which files the other stream had read.
            Conflict: another run has begun the stream meanwhile.
        """
        texts(stream=stream)
        return begin_after(self._mendable(), ledger, stream, seq)

    def _mendable(self) -> Sequence[Mendable]:
        return [cast("Mendable", self)]


def _session_of(writer: DataStreamWriter) -> SparkSession:
    """The session that the query will run in, which need not be the active one; PySpark has no public name for it."""
    from pyspark.sql import SparkSession

    own = getattr(writer, "_spark", None) or getattr(writer, "_session", None)
    return SparkSession.active() if own is None else own


def earliest_of(kafka: str | Mapping[str, Setting], heads: Sequence[Entry]) -> Earliest:
    """The first offsets that Kafka still holds of the topics that the newest entries name."""
    from foreachonce.kafka.source import earliest

    return earliest(heads, {"bootstrap_servers": kafka} if isinstance(kafka, str) else kafka)
