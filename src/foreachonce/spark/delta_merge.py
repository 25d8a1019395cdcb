"""MERGE on a session of its own, through Delta's public DeltaTable.

MERGE takes its guard from the session's settings only. They are set on a clone of the batch's session, which nobody else
has: neither another writer nor another query of the session can see them, and nothing is left behind.
Source: DeltaCommand.getTxnVersionAndAppId and DeltaMergeBuilder.execute of delta-io/delta.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from foreachonce.delta.merge import NULL, TWICE, Clause
from foreachonce.spark.files import java_class
from foreachonce.spark.frames import backticked

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def merge(
    source: DataFrame, root: str, on: str, clauses: Iterable[Clause], settings: Mapping[str, str], *, merge_schema: bool
) -> None:
    """Run one MERGE into the table at ``root``, with settings that only it sees."""
    session: Any = source.sparkSession._jsparkSession.cloneSession()  # type: ignore[attr-defined, unused-ignore]
    for name, value in settings.items():
        session.conf().set(name, value)
    jvm: Any = source.sparkSession.sparkContext._jvm
    table = java_class(jvm, "io.delta.tables.DeltaTable").forPath(session, root)
    rows: Any = source.alias("source")
    builder = table.alias("target").merge(rows._jdf, on)
    if merge_schema:
        builder = builder.withSchemaEvolution()
    for clause in clauses:
        builder = _with(builder, clause)
    builder.execute()


def _with(builder: Any, clause: Clause) -> Any:
    condition = [] if clause.condition is None else [clause.condition]
    if clause.action == "insert":
        return builder.whenNotMatched(*condition).insertAll()
    matched = builder.whenMatched(*condition)
    return matched.delete() if clause.action == "delete" else matched.updateAll()


def one_row_a_key(frame: DataFrame, key: Sequence[str], order_by: Sequence[str]) -> DataFrame:
    """Of each key the row with the greatest values of ``order_by``; a job over the frame fails where two are left.

    The check is a part of the plan, over the shuffle by key that MERGE's join needs all the same.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    columns = [F.col(backticked(name)) for name in key]
    by_key = Window.partitionBy(*columns)
    if order_by:
        best = by_key.orderBy(*(F.col(backticked(name)).desc_nulls_last() for name in order_by))
        frame = (
            frame.withColumn("foreachonce_rank", F.rank().over(best)).where("foreachonce_rank = 1").drop("foreachonce_rank")
        )
    told = F.to_json(F.struct(*columns), {"ignoreNullFields": "false"})
    is_null = F.greatest(*(column.isNull() for column in columns)) if len(columns) > 1 else columns[0].isNull()
    check = (
        F.when(is_null, F.raise_error(F.concat(F.lit(f"{NULL} "), told)))
        .when(F.col("foreachonce_count") > 1, F.raise_error(F.concat(F.lit(f"{TWICE} "), told)))
        .otherwise(F.lit(True))
    )
    return frame.withColumn("foreachonce_count", F.count("*").over(by_key)).where(check).drop("foreachonce_count")
