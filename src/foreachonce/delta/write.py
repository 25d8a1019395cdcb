"""A batch's rows into a Delta table, in one guarded commit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from foreachonce.delta import merge
from foreachonce.delta.commit import Own
from foreachonce.delta.guard import options, settings
from foreachonce.delta.place import is_path, shown
from foreachonce.delta.spark import append, append_nothing, grows, make_table, schema, translated
from foreachonce.delta.spark_merge import best_of_each_key, materialized, misread, refuse_merge_on_connect, wrong_key
from foreachonce.delta.spark_merge import merge as merge_into
from foreachonce.delta.table import KEEP, UPDATE, Target, check_columns
from foreachonce.delta.transaction import Load
from foreachonce.delta.types import check_types
from foreachonce.errors import ConfigurationError, FrameError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def write(load: Load, own: Own, root: str | None) -> None:
    """Make the commit of a batch; ``root`` is the table's path, None where there is no table.

    Raises:
        FrameError, ConfigurationError: the frame or a condition does not go with the table; nothing was written.
        WriteFailed, Conflict, CommitInDoubt: as :func:`~foreachonce.delta.spark.translated` tells them apart.
    """
    frame, target = load
    if frame is None:
        return append_nothing(target.place if root is None else root, options(own))
    if root is None and not is_path(target.place):
        make_table(frame, target.place, target.partition_by)
    try:
        return _merge(frame, target, own, root) if target.mode == "merge" else _append(frame, target, own, root)
    except FrameError as error:
        failed = error
    # Delta's words name neither column nor keyword. Ours stand alone: Python would print the error of a handler first.
    _check(frame, target, root)
    _check_conditions(frame, target, root)
    raise failed from None


def _check(frame: DataFrame, target: Target, root: str | None) -> list[str]:
    """The table's columns; refuse a frame that has others, or that brings what they do not hold."""
    existing = schema(frame, root)
    check_columns(target, frame.columns, existing.names)
    check_types(target, frame.schema, existing, lambda: target.merge_schema and root is not None and grows(frame, root))
    return existing.names


def _check_conditions(frame: DataFrame, target: Target, root: str | None) -> None:
    for keyword, condition in (("when_matched", target.when_matched), ("delete_when", target.delete_when)):
        if condition in (None, UPDATE, KEEP):
            continue
        if wrong := misread(frame, root, str(condition)):
            raise ConfigurationError(
                f"table {shown(target.place)}: Spark does not take {keyword}={condition!r} for a condition over source, "
                f"the batch, and target, the table. Nothing was written. {wrong}"
            )


def _append(frame: DataFrame, target: Target, own: Own, root: str | None) -> None:
    named = not is_path(target.place)
    if named and root is not None:
        # Spark casts what goes into a table by its name; by a path Delta refuses it.
        _check(frame, target, root)
    given = options(own) | ({"mergeSchema": "true"} if target.merge_schema else {})
    append(frame, target.place, is_path=not named, options=given, partition_by=target.partition_by)


def _merge(frame: DataFrame, target: Target, own: Own, root: str | None) -> None:
    refuse_merge_on_connect(frame)
    columns, existing = frame.columns, _check(frame, target, root)
    if target.order_by:
        frame = best_of_each_key(frame, target.key, target.order_by)
    with translated(target.place), materialized(frame) as source:
        if wrong := wrong_key(source, target.key):
            raise merge.refused_key(target, *wrong)
        if root is None:
            stays = merge.stays(target)
            return _append(source if stays is None else source.alias("source").where(stays), target, own, root)
        clauses = merge.clauses(target, columns, existing)
        merge_into(source, root, merge.on(target), clauses, settings(own), merge_schema=target.merge_schema)
    return None
