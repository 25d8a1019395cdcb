"""A batch's rows into a Delta table, in one guarded commit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from foreachonce.delta import merge
from foreachonce.delta.commit import Own
from foreachonce.delta.guard import options, settings
from foreachonce.delta.place import is_path
from foreachonce.delta.table import Target, check_columns
from foreachonce.delta.transaction import Load
from foreachonce.errors import FrameError
from foreachonce.spark.delta import append, append_nothing, make_table, translated
from foreachonce.spark.delta_merge import best_of_each_key, materialized, refuse_merge_on_connect, wrong_key
from foreachonce.spark.delta_merge import merge as merge_into

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def write(load: Load, own: Own, root: str | None) -> None:
    """Make the commit of a batch; ``root`` is the table's path, None where there is no table."""
    frame, target = load
    if frame is None:
        return append_nothing(target.place if root is None else root, options(own))
    if root is None and not is_path(target.place):
        make_table(frame, target.place, target.partition_by)
    if target.mode == "merge":
        return _merge(frame, target, own, root)
    try:
        _append(frame, target, own)
    except FrameError:
        # Delta's words name neither the column nor the keyword.
        check_columns(target, frame.columns, _columns(frame, root))
        raise
    return None


def _append(frame: DataFrame, target: Target, own: Own) -> None:
    given = options(own) | ({"mergeSchema": "true"} if target.merge_schema else {})
    append(frame, target.place, is_path=is_path(target.place), options=given, partition_by=target.partition_by)


def _merge(frame: DataFrame, target: Target, own: Own, root: str | None) -> None:
    refuse_merge_on_connect(frame)
    existing = _columns(frame, root)
    check_columns(target, frame.columns, existing)
    if target.order_by:
        frame = best_of_each_key(frame, target.key, target.order_by)
    with translated(target.place), materialized(frame) as source:
        if wrong := wrong_key(source, target.key):
            raise merge.refused_key(target, *wrong)
        if root is None:
            stays = merge.stays(target)
            return _append(source if stays is None else source.alias("source").where(stays), target, own)
        clauses = merge.clauses(target, frame.columns, existing)
        merge_into(source, root, merge.on(target), clauses, settings(own), merge_schema=target.merge_schema)
    return None


def _columns(frame: DataFrame, root: str | None) -> list[str]:
    """The table's columns; none where there is no table."""
    return [] if root is None else frame.sparkSession.read.format("delta").load(root).columns
