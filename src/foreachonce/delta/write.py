"""A batch's rows into a Delta table, in one guarded commit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from foreachonce.delta.guard import Guarded
from foreachonce.delta.table import Target
from foreachonce.spark.delta import append

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def write(frame: DataFrame, target: Target, made: Guarded, *, is_path: bool) -> None:
    """Commit a frame's rows as the target says."""
    options = made.options | ({"mergeSchema": "true"} if target.merge_schema else {})
    append(frame, target.place, is_path=is_path, options=options, partition_by=target.partition_by)
