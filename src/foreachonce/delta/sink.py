"""The Delta sink: rows and ledger entry in one commit of a Delta table."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, get_args

from foreachonce.base import BaseSink, SinkGroup, TransactionSink
from foreachonce.delta.ledger import DeltaLedger
from foreachonce.delta.target import UPDATE, DeltaTarget, Mode, check_target, shown
from foreachonce.delta.transaction import DeltaTransaction
from foreachonce.delta.write import TableWrite, write
from foreachonce.entry import Entry
from foreachonce.errors import ConfigurationError
from foreachonce.faults import Point
from foreachonce.keywords import flags, names, one_of, texts
from foreachonce.sink import OnMismatch
from foreachonce.spark.resolve import refuse_streaming

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

# The fault points that a commit passes, in order.
DELTA_POINTS: tuple[Point, ...] = ("commit-begun", "committed", "entry-copied")


class DeltaSink(BaseSink[TableWrite]):
    """A foreachBatch function that writes each batch into a Delta table exactly once.

    The rows and a ledger entry with the source's offsets are one commit of the table. So a replay of a batch is a no-op, no
    reader sees half a batch, and a lost or rolled-back checkpoint is noticed before it repeats or loses rows. A RESTORE of
    the table takes entries back with their rows, and the batches that it undid can be written again.

    The session must have Delta Lake. Spark Connect appends only. Making the sink touches no table. Another writer's commit
    can fail a batch with `Conflict`, as it can for any writer of Delta; nothing was written, and the next start writes it.

    Args:
        path_or_table: the table's path, which has a slash in it, or its name in the catalog, such as ``shop.orders``. The
            first batch makes a missing table; the catalog's schema must exist.
        stream: the pipeline's own name for its output here; it outlives checkpoints. None takes the query's name; without
            either, the first batch is refused.
        mode: ``"append"`` adds rows; ``"merge"`` inserts rows or updates those of the same key. A frame whose column would
            lose values in the table's type is refused.
        key: merge: the column or columns that identify a row. A batch that holds NULL in one of them is refused.
        order_by: merge: if a batch holds a key more than once, the row with the greatest values here wins; NULL is least.
            Without it, and where it leaves a tie, such a batch is refused with `DuplicateKeys`. It compares rows of one
            batch, never with the table; ``when_matched`` does that.
        partition_by: the columns that a new table is partitioned by. An existing table keeps its own; an append that names
            others is refused.
        merge_schema: add columns to the table that only the frame has; otherwise such a frame is refused. A merge may then
            also lack columns of the table, and leaves them as they are. An append may always lack columns: their default is
            written, or NULL.
        when_matched: merge: what happens to an existing row: ``"update"`` replaces it, ``"keep"`` leaves it, and a SQL
            condition over ``source``, the batch, and ``target``, the table, replaces it where the condition holds. With
            ``"source.changed_at > target.changed_at"`` an older change never replaces a newer row, also in a later batch.
        delete_when: merge: a SQL condition over ``source`` and ``target``; an existing row is deleted where it holds for the
            batch's row of the same key. If it names ``source`` alone, a new row for which it holds is not inserted. Columns
            that it names, such as ``source.op``, are columns of the table like all others. A deleted row leaves nothing
            behind, so a late change in a later batch can resurrect it.
        skip_unchanged: merge: do not rewrite a row that the update would not change.
        on_mismatch: what happens to a batch that is not the one the ledger expects: ``"raise"`` refuses it; ``"write"``
            writes it all the same, and its entry records it. The batches that follow line up with it. ``"write"`` also
            goes on after the newest known entry, where log clean-up has removed the commits that would show the head.
        heal: let ``start()`` bring the query's checkpoint to where the ledger says that it has to go on.
        checkpoint: the query's ``checkpointLocation``; needed on Spark Connect only.

    Attributes:
        ledger: the sink's ledger, a [`DeltaLedger`][foreachonce.DeltaLedger].

    Raises:
        ConfigurationError: a keyword is missing, unknown or contradicts another; raised at once, not at the first batch.
    """

    ledger: DeltaLedger

    def __init__(
        self,
        path_or_table: str,
        *,
        stream: str | None = None,
        mode: Mode = "append",
        key: str | Sequence[str] | None = None,
        order_by: str | Sequence[str] | None = None,
        partition_by: str | Sequence[str] | None = None,
        merge_schema: bool = False,
        when_matched: str = UPDATE,
        delete_when: str | None = None,
        skip_unchanged: bool = False,
        on_mismatch: OnMismatch = "raise",
        heal: bool = False,
        checkpoint: str | None = None,
    ) -> None:
        one_of("mode", mode, get_args(Mode))
        super().__init__(stream=stream, on_mismatch=on_mismatch, heal=heal, checkpoint=checkpoint)
        texts(when_matched=when_matched, delete_when=delete_when)
        flags(merge_schema=merge_schema, skip_unchanged=skip_unchanged)
        self.ledger = DeltaLedger(path_or_table, trust=on_mismatch == "write")
        self._target = DeltaTarget(
            place=self.ledger.place,
            mode=mode,
            key=names("key", key),
            order_by=names("order_by", order_by),
            partition_by=names("partition_by", partition_by),
            merge_schema=merge_schema,
            when_matched=when_matched,
            delete_when=delete_when,
            skip_unchanged=skip_unchanged,
        )
        check_target(self._target)

    @property
    def guarantee(self) -> str:
        """What the sink guarantees, in words that a user can check."""
        return "exactly once, rows and entry in one Delta commit; after a RESTORE the entries that it undid are gone too"

    def __str__(self) -> str:
        return f"{self._target}: {self.guarantee}"

    def __repr__(self) -> str:
        return f"DeltaSink({shown(self._target.place)!r}, mode={self._target.mode!r}, stream={self.stream!r})"

    def check(self, frame: DataFrame) -> TableWrite:
        """Refuse a stream. Delta refuses a frame that does not fit before it commits."""
        refuse_streaming(frame)
        return TableWrite(frame, self._target)

    def commit(self, work: TableWrite, entry: Entry) -> int | None:
        """Commit the rows and the entry together; return the number of rows that Delta counted."""
        return self.ledger.commit(entry, partial(write, work), makes_table=work.frame is not None)


class DeltaTables(SinkGroup):
    """Several Delta tables that a function of three parameters writes; see [`exactly_once`][foreachonce.exactly_once].

    Delta has no transaction over several tables. So each table has an entry of its own, in the commit of its rows. The
    tables are written in the order in which they are named here. After a crash between two of them the next run writes only
    the tables that lack the batch. Until then a reader sees the batch in some of the tables.

    Args:
        *tables: each table's path, or its name in the catalog. Name a table in one way only, and pass the same text to
            ``tx``.
        stream: as for [`DeltaSink`][foreachonce.DeltaSink].
        on_mismatch: as for `DeltaSink`.
        heal: as for `DeltaSink`.
        checkpoint: as for `DeltaSink`.

    Raises:
        ConfigurationError: a keyword is wrong, no table is named, or the same text names two.
    """

    sinks: Sequence[_OneOfMany]

    def __init__(
        self,
        *tables: str,
        stream: str | None = None,
        on_mismatch: OnMismatch = "raise",
        heal: bool = False,
        checkpoint: str | None = None,
    ) -> None:
        if not tables:
            raise ConfigurationError("DeltaTables() names no table; name each that the function writes.")
        self.sinks = tuple(
            _OneOfMany(table, stream=stream, on_mismatch=on_mismatch, heal=heal, checkpoint=checkpoint) for table in tables
        )
        _refuse_twice([sink.ledger.place for sink in self.sinks])

    def __repr__(self) -> str:
        tables = ", ".join(repr(shown(sink.ledger.place)) for sink in self.sinks)
        return f"DeltaTables({tables}, stream={self.sinks[0].stream!r})"

    def __str__(self) -> str:
        return f"Delta tables {', '.join(shown(sink.ledger.place) for sink in self.sinks)}: {self.sinks[0].guarantee}"

    def transaction(self) -> DeltaTransaction:
        """What a function of three parameters gets as ``tx``.

        Raises:
            ConfigurationError: a path and a name are the same table.
        """
        _refuse_twice([place for sink in self.sinks if (place := sink.ledger.root()) is not None])
        return DeltaTransaction([sink.ledger.place for sink in self.sinks])


def _refuse_twice(places: Sequence[str]) -> None:
    """Refuse a table that is named twice: its second commit of a batch would be taken for a replay."""
    bare = [place.removeprefix("file:").replace("///", "/") for place in places]
    for place in bare:
        if bare.count(place) > 1:
            raise ConfigurationError(f"DeltaTables(...) names {shown(place)!r} twice. Nothing was written.")


class _OneOfMany(DeltaSink, TransactionSink[TableWrite]):
    """One of several tables; the function decides for each batch how to write it."""

    def transaction(self) -> DeltaTransaction:
        """What a function of three parameters gets as ``tx``, for this table alone."""
        return DeltaTransaction([self.ledger.place])

    def work_of(self, tx: DeltaTransaction) -> TableWrite:
        """What a function has collected in ``tx`` for this table."""
        return tx.write_of(self.ledger.place)

    @property
    def guarantee(self) -> str:
        """What the sink guarantees, in words that a user can check."""
        return "exactly once in each table, rows and entry in one Delta commit; made visible table by table"

    def __str__(self) -> str:
        return f"Delta table {shown(self.ledger.place)}, as a function asks: {self.guarantee}"
