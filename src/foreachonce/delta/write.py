"""A batch's rows into a Delta table, in one guarded commit: an append, or a MERGE by key.

In a MERGE's conditions ``source`` is the batch, with each key once, and ``target`` is the table.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, NamedTuple

from foreachonce.delta.commit import Own, session_settings, write_options
from foreachonce.delta.errors import COLLATIONS, missing_column, translated
from foreachonce.delta.fit import check_collations, check_columns, check_order, check_padding, check_types
from foreachonce.delta.spark import (
    Clause,
    append,
    append_nothing,
    condition_error,
    make_table,
    materialized,
    merge,
    once,
    partition_columns,
    refuse_merge_on_connect,
    schema,
    unpadded,
    widens,
    without_empty,
)
from foreachonce.delta.target import KEEP, UPDATE, DeltaTarget, is_path, shown
from foreachonce.errors import ConfigurationError, DuplicateKeys, ForeachOnceError, FrameError, WriteFailed
from foreachonce.spark.frames import backticked

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame


class TableWrite(NamedTuple):
    """What one commit writes: a frame's rows as the target says; a frame of None for a commit without rows."""

    frame: DataFrame | None
    target: DeltaTarget


def write(work: TableWrite, own: Own, root: str | None) -> None:
    """Make the commit of a batch.

    Args:
        work: the rows and the table.
        own: the commit to make.
        root: the table's path; None if there is no table yet, which only a commit with rows can make.

    Raises:
        FrameError, ConfigurationError: the frame or a condition does not fit the table; nothing was written.
        WriteFailed, Conflict, CommitInDoubt: see :func:`~foreachonce.delta.errors.translated`.
    """
    frame, target = work
    if frame is None:
        return append_nothing(target.place if root is None else root, write_options(own))
    parts = target.partition_by if root is None else partition_columns(frame, root, own.entry.run_id)
    frame = without_empty(unpadded(frame), parts, f"table {shown(target.place)}")
    if root is None and not is_path(target.place):
        make_table(frame, target.place, target.partition_by)
    try:
        return _merge(frame, target, own, root) if target.mode == "merge" else _append(frame, target, own, root)
    except (FrameError, WriteFailed) as error:
        failed = error
    # In the handler, what explains Delta's error would follow its text.
    raise _explained(failed, frame, target, root) from None


def _explained(failed: ForeachOnceError, frame: DataFrame, target: DeltaTarget, root: str | None) -> ForeachOnceError:
    """The error of a commit. Delta's names neither column nor keyword; checks that do raise their own."""
    if isinstance(failed, WriteFailed):
        return missing_column(failed, target.place, frame.columns) or failed
    _check_frame(frame, target, root)
    _check_conditions(frame, target, root)
    if any(word in str(failed) for word in COLLATIONS):
        check_collations(target, frame.schema, schema(frame, root))
    return failed


def _append(frame: DataFrame, target: DeltaTarget, own: Own, root: str | None) -> None:
    by_name = not is_path(target.place)
    if by_name and root is not None:
        # Spark casts rows for a table that is given by its name; for a path Delta refuses them.
        _check_frame(frame, target, root)
    elif root is not None:
        key = ("padding", root, own.entry.run_id, *frame.columns)
        once(key, lambda: check_padding(target, frame.columns, schema(frame, root)))
    options = write_options(own) | ({"mergeSchema": "true"} if target.merge_schema else {})
    append(frame, target.place, is_path=not by_name, options=options, partition_by=target.partition_by)


def _merge(frame: DataFrame, target: DeltaTarget, own: Own, root: str | None) -> None:
    refuse_merge_on_connect(frame)
    columns, existing = frame.columns, _check_frame(frame, target, root)
    if target.order_by:
        frame = best_of_each_key(frame, target.key, target.order_by)
    with translated(target.place), materialized(frame) as source:
        if wrong := wrong_key(source, target.key):
            raise key_error(target, *wrong)
        if root is None:
            condition = insert_condition(target)
            return _append(source if condition is None else source.alias("source").where(condition), target, own, root)
        clauses = merge_clauses(target, columns, existing)
        merge(source, root, match_condition(target), clauses, session_settings(own), merge_schema=target.merge_schema)
    return None


def _check_frame(frame: DataFrame, target: DeltaTarget, root: str | None) -> list[str]:
    """Refuse a frame that does not fit the table; return the table's columns."""
    existing = schema(frame, root)
    check_columns(target, frame.columns, existing.names)
    check_order(target, frame.schema)
    check_padding(target, frame.columns, existing)
    check_types(target, frame.schema, existing, lambda: target.merge_schema and root is not None and widens(frame, root))
    return existing.names


def _check_conditions(frame: DataFrame, target: DeltaTarget, root: str | None) -> None:
    for keyword, condition in (("when_matched", target.when_matched), ("delete_when", target.delete_when)):
        if condition in (None, UPDATE, KEEP):
            continue
        if wrong := condition_error(frame, root, str(condition)):
            raise ConfigurationError(
                f"table {shown(target.place)}: {keyword}={condition!r} is no condition over source, the batch, and target, "
                f"the table. Nothing was written. Spark says: {wrong}"
            )


def match_condition(target: DeltaTarget) -> str:
    """When a row of the batch and a row of the table have the same key."""
    return " AND ".join(f"target.{name} = source.{name}" for name in map(backticked, target.key))


def merge_clauses(target: DeltaTarget, columns: Sequence[str], existing: Sequence[str]) -> Iterator[Clause]:
    """Yield the clauses in order; the delete comes first, so that a row to delete is not updated.

    Args:
        target: the table and how it is written.
        columns: the frame's columns.
        existing: the table's columns.
    """
    if target.delete_when is not None:
        yield Clause("delete", target.delete_when)
    if target.when_matched != KEEP:
        conditions = [] if target.when_matched == UPDATE else [f"({target.when_matched})"]
        if target.skip_unchanged:
            conditions.append(change_condition(target, columns, existing))
        yield Clause("update", " AND ".join(conditions) or None)
    yield Clause("insert", insert_condition(target))


def insert_condition(target: DeltaTarget) -> str | None:
    """When a row of the batch is inserted that the table does not have; None for always."""
    if target.delete_when is None or _names_target(target.delete_when):
        return None
    return f"({target.delete_when}) IS NOT TRUE"


def _names_target(condition: str) -> bool:
    """Whether a condition names the target's columns, which a new row does not have."""
    return re.search(r"(?i)(?<![\w.`'])`?target`?\s*\.", condition) is not None


def change_condition(target: DeltaTarget, columns: Sequence[str], existing: Sequence[str]) -> str:
    """When an update would change a row; a column that this batch adds to the table is NULL in its rows so far."""
    there = {name.lower() for name in existing}
    values = [name for name in columns if name.lower() not in {key.lower() for key in target.key}]
    parts = [
        f"NOT (source.{backticked(name)} <=> target.{backticked(name)})"
        if name.lower() in there
        else f"source.{backticked(name)} IS NOT NULL"
        for name in values
    ]
    return f"({' OR '.join(parts)})" if parts else "false"


def key_error(target: DeltaTarget, key: str, count: int) -> ForeachOnceError:
    """The error for a key, given as JSON, that occurs ``count`` times in a batch or holds NULL."""
    where, name = f"table {shown(target.place)}", f"key=({', '.join(target.key)})"
    if None in json.loads(key).values():
        return WriteFailed(
            f"{where}: {name} holds NULL in this batch, in {key}, and NULL equals no other NULL; filter such rows out, or "
            "choose another key=. Nothing was written."
        )
    why = "order_by= leaves ties" if target.order_by else "order_by= can say which row wins"
    return DuplicateKeys(
        f"{where}: this batch holds the same {name} more than once, among them {key} ({count} times); {why}. Nothing was "
        "written."
    )


def best_of_each_key(frame: DataFrame, key: Sequence[str], order_by: Sequence[str]) -> DataFrame:
    """Of each key the rows with the greatest values of ``order_by``."""
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    by_key = Window.partitionBy(*_columns(key))
    best = by_key.orderBy(*(column.desc_nulls_last() for column in _columns(order_by)))
    rank = _free("foreachonce_rank", frame)
    return frame.withColumn(rank, F.rank().over(best)).where(F.col(rank) == 1).drop(rank)


def wrong_key(frame: DataFrame, key: Sequence[str]) -> tuple[str, int] | None:
    """A key that holds NULL or occurs more than once, as JSON, and how often it occurs; None if there is none."""
    from pyspark.sql import functions as F

    columns = _columns(key)
    is_null = reduce(or_, (column.isNull() for column in columns))
    count = _free("foreachonce_count", frame)
    keys = frame.groupBy(*columns).agg(F.count("*").alias(count))
    as_json = F.to_json(F.struct(*columns), {"ignoreNullFields": "false"})
    wrong = keys.where(is_null | (F.col(count) > 1)).select(as_json, count).first()
    return None if wrong is None else (str(wrong[0]), int(wrong[1]))


def _free(name: str, frame: DataFrame) -> str:
    """The name, made longer until no column of the frame has it."""
    taken = {each.lower() for each in frame.columns}
    while name in taken:
        name += "_"
    return name


def _columns(names: Sequence[str]) -> list[Column]:
    from pyspark.sql import functions as F

    return [F.col(backticked(name)) for name in names]
