"""MERGE on a session of its own, through Delta's public DeltaTable.

MERGE takes its guard from the session's settings only. They are set on a clone of the batch's session, which nobody else
has: neither another writer nor another query of the session can see them, and nothing is left behind.
Source: DeltaCommand.getTxnVersionAndAppId and DeltaMergeBuilder.execute of delta-io/delta.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Any

from foreachonce.delta.merge import Clause
from foreachonce.errors import ConfigurationError
from foreachonce.spark.files import java_class
from foreachonce.spark.frames import backticked, told
from foreachonce.spark.resolve import is_connect

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

MATERIALIZE = "spark.databricks.delta.merge.materializeSource"


def merge(
    source: DataFrame, root: str, on: str, clauses: Iterable[Clause], settings: dict[str, str], *, merge_schema: bool
) -> None:
    """Run one MERGE of a :func:`materialized` source into the table at ``root``, with settings that only it sees."""
    session: Any = source.sparkSession._jsparkSession.cloneSession()  # type: ignore[attr-defined, unused-ignore]
    for name, value in (settings | {MATERIALIZE: "none"}).items():
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


def misread(source: DataFrame, root: str | None, condition: str) -> str | None:
    """What Spark has against a condition over ``source`` and ``target``; None for nothing. No job runs.

    Where there is no table, ``target`` has the source's columns, as the table will.
    """
    from pyspark.errors import AnalysisException

    table = source if root is None else source.sparkSession.read.format("delta").load(root)
    try:
        source.alias("source").crossJoin(table.alias("target")).where(f"({condition}) IS NOT NULL")
    except AnalysisException as error:
        return told(str(error))
    return None


def refuse_merge_on_connect(frame: DataFrame) -> None:
    """Refuse a frame of Spark Connect, whose session is also that of the user's other queries.

    Raises:
        ConfigurationError: naming what does go.
    """
    if is_connect(frame):
        raise ConfigurationError(
            "mode='merge' into a Delta table does not go on Spark Connect: Delta takes MERGE's guard from the session's "
            "settings, which other queries of the session would see. Append there, or merge in a classic session. Nothing "
            "was written."
        )


@contextmanager
def materialized(frame: DataFrame) -> Iterator[DataFrame]:
    """The frame's rows, computed by the first job that reads them, and never anew: where some are lost, the job fails.

    MERGE reads its source twice, and must find the same rows. Delta materializes it for that reason, and so would do it once
    more; source: MergeIntoMaterializeSource of delta-io/delta.
    """
    copy = frame.localCheckpoint(eager=False)
    try:
        yield copy
    finally:
        plan: Any = copy._jdf
        plan.queryExecution().logical().rdd().unpersist(False)


def best_of_each_key(frame: DataFrame, key: Sequence[str], order_by: Sequence[str]) -> DataFrame:
    """Of each key the rows with the greatest values of ``order_by``."""
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    by_key = Window.partitionBy(*_columns(key))
    best = by_key.orderBy(*(column.desc_nulls_last() for column in _columns(order_by)))
    ranked = frame.withColumn("foreachonce_rank", F.rank().over(best))
    return ranked.where("foreachonce_rank = 1").drop("foreachonce_rank")


def wrong_key(frame: DataFrame, key: Sequence[str]) -> tuple[str, int] | None:
    """A key that holds NULL or comes more than once, as JSON, and how often it comes."""
    from pyspark.sql import functions as F

    columns = _columns(key)
    is_null = reduce(or_, (column.isNull() for column in columns))
    keys = frame.groupBy(*columns).agg(F.count("*").alias("foreachonce_count"))
    told = F.to_json(F.struct(*columns), {"ignoreNullFields": "false"})
    wrong = keys.where(is_null | (F.col("foreachonce_count") > 1)).select(told, "foreachonce_count").first()
    return None if wrong is None else (str(wrong[0]), int(wrong[1]))


def _columns(names: Sequence[str]) -> list[Column]:
    from pyspark.sql import functions as F

    return [F.col(backticked(name)) for name in names]
