"""A batch's rows into a Delta table, in one guarded commit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from foreachonce.delta import merge
from foreachonce.delta.guard import Guarded
from foreachonce.delta.place import is_path
from foreachonce.delta.table import Target
from foreachonce.errors import CommitInDoubt
from foreachonce.spark.delta import append, translated
from foreachonce.spark.delta_merge import merge as merge_into
from foreachonce.spark.delta_merge import one_row_a_key

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def write(frame: DataFrame, target: Target, made: Guarded, root: str | None) -> None:
    """Commit a frame's rows as the target says; ``root`` is the table's path, None where there is no table."""
    if target.mode == "append":
        _append(frame, target, made)
    else:
        try:
            _merge(frame, target, made, root)
        except CommitInDoubt as error:
            raise merge.refused_key(target, str(error)) or error from None


def _append(frame: DataFrame, target: Target, made: Guarded) -> None:
    options = made.options | ({"mergeSchema": "true"} if target.merge_schema else {})
    append(frame, target.place, is_path=is_path(target.place), options=options, partition_by=target.partition_by)


def _merge(frame: DataFrame, target: Target, made: Guarded, root: str | None) -> None:
    existing = [] if root is None else frame.sparkSession.read.format("delta").load(root).columns
    merge.check_columns(target, frame.columns, existing)
    source = one_row_a_key(frame, target.key, target.order_by)
    if root is None:
        stays = merge.stays(target)
        return _append(source if stays is None else source.alias("source").where(stays), target, made)
    with translated(target.place):
        merge_into(
            source,
            root,
            merge.on(target),
            merge.clauses(target, frame.columns, existing),
            made.settings,
            merge_schema=target.merge_schema,
        )
    return None
