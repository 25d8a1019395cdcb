"""``tx``: what a function of three parameters writes into several Delta tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from foreachonce.delta.place import check_place, shown
from foreachonce.delta.table import UPDATE, Target, check_target
from foreachonce.errors import ConfigurationError
from foreachonce.keywords import flags, names, texts
from foreachonce.spark.resolve import refuse_streaming

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


class Load(NamedTuple):
    """What one commit brings: a frame's rows as the target says; None where a batch has none for the table."""

    frame: DataFrame | None
    target: Target


class DeltaTransaction:
    """Collects the steps of one batch, one for each table at most. Nothing is written while the function runs.

    When the function has returned, the tables get their rows one after the other, each in one commit with a ledger entry of
    its own. A table without a step gets the entry alone, so that its chain has no gap; one that is not there is not made.

    After a crash between two tables the function is called again, and only the tables that lack the batch are written. So
    a step may depend on what its own table holds, and on no other table of the function.
    """

    def __init__(self, tables: Sequence[str]) -> None:
        self._tables = tuple(tables)
        self._loads: dict[str, Load] = {}

    def append(
        self,
        frame: DataFrame,
        table: str,
        *,
        partition_by: str | Sequence[str] | None = None,
        merge_schema: bool = False,
    ) -> None:
        """Add a frame's rows to a table; ``table`` as ``DeltaTables`` names it, keywords as for a sink that appends.

        Raises:
            ConfigurationError: at once: a keyword is wrong, the table is not named, or it has a step of this batch already.
            EpochError: at once: the frame is a stream.
        """
        flags(merge_schema=merge_schema)
        self._add(
            frame, Target(check_place(table), partition_by=names("partition_by", partition_by), merge_schema=merge_schema)
        )

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
        """Insert a frame's rows into a table, or replace those of the same key; keywords as for a sink that merges.

        A row is replaced, not added to: to keep sums, merge the sums of what the table holds and what the batch brings.

        Raises:
            ConfigurationError, EpochError: as for :meth:`append`.
        """
        flags(merge_schema=merge_schema, skip_unchanged=skip_unchanged)
        texts(when_matched=when_matched, delete_when=delete_when)
        target = Target(
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

    def load(self, table: str) -> Load:
        """What the batch brings to one of the tables."""
        return self._loads.get(table, Load(None, Target(table)))

    def _add(self, frame: DataFrame, target: Target) -> None:
        table = target.place
        if table not in self._tables:
            raise ConfigurationError(
                f"tx: {shown(str(table))!r} is none of the tables that DeltaTables(...) names: "
                f"{', '.join(repr(shown(name)) for name in self._tables)}. Name it there, so that its ledger is looked at "
                "before the function is called."
            )
        if table in self._loads:
            raise ConfigurationError(
                f"tx: {shown(table)!r} has a step of this batch already, and a batch is one commit in each table; unite "
                "the frames."
            )
        check_target(target)
        refuse_streaming(frame)
        self._loads[table] = Load(frame, target)
