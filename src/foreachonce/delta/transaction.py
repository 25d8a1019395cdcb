"""``tx``: what a function of three parameters writes into several Delta tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from foreachonce.delta.target import UPDATE, DeltaTarget, check_place, check_target, shown
from foreachonce.delta.write import TableWrite
from foreachonce.errors import ConfigurationError
from foreachonce.keywords import flags, names, texts
from foreachonce.spark.resolve import refuse_streaming

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


class DeltaTransaction:
    """Collects one batch's writes, at most one for each table. Nothing is written while the function runs.

    When the function has returned, the tables are written one after the other, each in one commit with a ledger entry of its
    own. A table without a write gets the entry alone, so that its chain has no gap; a missing table is not made for it.

    After a crash between two tables the function is called again, and only the tables that lack the batch are written. So a
    write may depend on what its own table holds, and on no other table of the function. The batch's frame is persisted
    meanwhile. There is no ``execute``.
    """

    def __init__(self, tables: Sequence[str]) -> None:
        self._tables = tuple(tables)
        self._writes: dict[str, TableWrite] = {}

    def append(
        self,
        frame: DataFrame,
        table: str,
        *,
        partition_by: str | Sequence[str] | None = None,
        merge_schema: bool = False,
    ) -> None:
        """Add a frame's rows to a table.

        Args:
            frame: the rows.
            table: the table, as ``DeltaTables`` names it.
            partition_by: as for [`DeltaSink`][foreachonce.DeltaSink].
            merge_schema: as for `DeltaSink`.

        Raises:
            ConfigurationError: at once: a keyword is wrong, the table is not named, or this batch already writes it.
            EpochError: at once: the frame is a stream.
        """
        flags(merge_schema=merge_schema)
        partitions = names("partition_by", partition_by)
        self._add(frame, DeltaTarget(check_place(table), partition_by=partitions, merge_schema=merge_schema))

    def merge(
        self,
        frame: DataFrame,
        table: str,
        *,
        key: str | Sequence[str],
        order_by: str | Sequence[str] | None = None,
        partition_by: str | Sequence[str] | None = None,
        merge_schema: bool = False,
        when_matched: str = UPDATE,
        delete_when: str | None = None,
        skip_unchanged: bool = False,
    ) -> None:
        """Insert a frame's rows into a table, or replace those of the same key.

        A row is replaced, not added to. To keep sums, merge the sums of what the table holds and what the batch brings.

        Args:
            frame: the rows.
            table: the table, as ``DeltaTables`` names it.
            key: as for [`DeltaSink`][foreachonce.DeltaSink].
            order_by: as for `DeltaSink`.
            partition_by: as for `DeltaSink`.
            merge_schema: as for `DeltaSink`.
            when_matched: as for `DeltaSink`.
            delete_when: as for `DeltaSink`.
            skip_unchanged: as for `DeltaSink`.

        Raises:
            ConfigurationError: at once, as for ``append()``.
            EpochError: at once: the frame is a stream.
        """
        flags(merge_schema=merge_schema, skip_unchanged=skip_unchanged)
        texts(when_matched=when_matched, delete_when=delete_when)
        target = DeltaTarget(
            check_place(table),
            "merge",
            names("key", key),
            names("order_by", order_by),
            names("partition_by", partition_by),
            merge_schema,
            when_matched,
            delete_when,
            skip_unchanged,
        )
        self._add(frame, target)

    def write_of(self, table: str) -> TableWrite:
        """The batch's write to one of the tables; without rows if the function wrote nothing there."""
        return self._writes.get(table, TableWrite(None, DeltaTarget(table)))

    def _add(self, frame: DataFrame, target: DeltaTarget) -> None:
        table = target.place
        if table not in self._tables:
            raise ConfigurationError(
                f"tx: {shown(str(table))!r} is none of the tables that DeltaTables(...) names: "
                f"{', '.join(repr(shown(name)) for name in self._tables)}. Name it there, so that its ledger is read "
                "before the function is called."
            )
        if table in self._writes:
            raise ConfigurationError(
                f"tx: {shown(table)!r} has a step of this batch already, and a batch is one commit in each table; unite "
                "the frames."
            )
        check_target(target)
        refuse_streaming(frame)
        self._writes[table] = TableWrite(frame, target)
