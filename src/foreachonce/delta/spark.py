"""What the sink asks of Delta through Spark, by public commands.

MERGE takes its guard only from the session's settings. They are set on a clone of the batch's session, so no other writer
and no other query of the session sees them, and nothing has to be taken back.
Source: DeltaCommand.getTxnVersionAndAppId and DeltaMergeBuilder.execute of delta-io/delta.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

import pyspark

from foreachonce.delta.errors import translated
from foreachonce.delta.fit import DECLARED, padded
from foreachonce.delta.log import LOG
from foreachonce.delta.target import is_path, shown
from foreachonce.errors import ConfigurationError
from foreachonce.spark.files import java_class
from foreachonce.spark.frames import backticked, excerpt, refusal
from foreachonce.spark.resolve import is_connect

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.types import StructType

    from foreachonce.delta.folder import TableFolder

# Delta's package for the installed Spark; PySpark 3.5 ships with Scala 2.12.
PACKAGE = (
    "io.delta:delta-spark_2.12:3.3.3"
    if pyspark.__version__.startswith("3.5")
    else f"io.delta:delta-spark_{'.'.join(pyspark.__version__.split('.')[:2])}_2.13:4.4.0"
)
NEEDED = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
}
# What was asked once; the newest so many answers.
_answers: dict[tuple[str, ...], Any] = {}
KEPT = 64
T = TypeVar("T")
MATERIALIZE = "spark.databricks.delta.merge.materializeSource"


class Clause(NamedTuple):
    """One WHEN … THEN of a MERGE."""

    action: Literal["delete", "update", "insert"]
    condition: str | None


def require_delta(spark: SparkSession) -> None:
    """Refuse a session that cannot write Delta tables.

    Raises:
        ConfigurationError: naming the package and the settings.
    """
    for setting, value in NEEDED.items():
        if value not in (spark.conf.get(setting, "") or ""):
            raise ConfigurationError(
                "the session lacks Delta Lake. Before you create the session, set spark.jars.packages to Delta's package "
                f'for this Spark, "{PACKAGE}" (pip install delta-spark brings no jar), and '
                + " and ".join(f"{name}={wanted}" for name, wanted in NEEDED.items())
                + "."
            )


def location(spark: SparkSession, name: str) -> str | None:
    """The path of a catalog's table; None if there is no such table.

    Raises:
        ConfigurationError: the table is not a Delta table.
    """
    if not spark.catalog.tableExists(name):
        return None
    details = {row[0]: row[1] for row in spark.sql(f"DESCRIBE TABLE EXTENDED {name}").collect()}
    if str(details.get("Provider")).lower() != "delta":
        raise ConfigurationError(f"path_or_table={name!r} is a table of {details.get('Provider')}, not of Delta.")
    return str(details["Location"])


def make_table(frame: DataFrame, name: str, partition_by: tuple[str, ...]) -> None:
    """Make an empty table in the catalog. Delta's CREATE TABLE AS SELECT keeps no ``userMetadata``, so rows come later."""
    writer = frame.where("false").write.format("delta").mode("ignore")
    with translated(name):
        (writer.partitionBy(*partition_by) if partition_by else writer).saveAsTable(name)


def schema(frame: DataFrame, root: str | None) -> StructType:
    """The table's columns, read by the frame's session; none if there is no table."""
    from pyspark.sql.types import StructType

    return StructType() if root is None else frame.sparkSession.read.format("delta").load(root).schema


def partition_columns(frame: DataFrame, root: str, run_id: str) -> tuple[str, ...]:
    """The columns that a table is partitioned by; asked once a run, since no write of a run changes them.

    Not by DESCRIBE DETAIL, which reads the table's list of files: 600 ms instead of 150.
    """

    def ask() -> tuple[str, ...]:
        columns = frame.sparkSession.catalog.listColumns(f"delta.{backticked(root)}")
        return tuple(column.name for column in columns if column.isPartition)

    return once(("partitions", root, run_id), ask)


def once(key: tuple[str, ...], ask: Callable[[], T]) -> T:
    """What ``ask`` returns, which is asked once for a key; not remembered if it raises."""
    if key in _answers:
        known: T = _answers[key]
        return known
    answer = ask()
    while len(_answers) >= KEPT:
        _answers.pop(next(iter(_answers)), None)
    _answers[key] = answer
    return answer


def unpadded(frame: DataFrame) -> DataFrame:
    """The frame with its ``char(n)`` columns as plain texts: Delta would declare those of a new table as the frame's."""
    for field in frame.schema.fields:
        if padded(field) is not None:
            kept = {name: value for name, value in (field.metadata or {}).items() if name != DECLARED}
            frame = frame.withMetadata(field.name, kept)
    return frame


def without_empty(frame: DataFrame, columns: Collection[str], where: str) -> DataFrame:
    """The frame, whose job fails where one of these columns holds ``''``, which Delta would read back as NULL.

    Source: "Protocol: Partition Value Serialization" in PROTOCOL.md of delta-io/delta.
    """
    from pyspark.sql import functions as F
    from pyspark.sql.types import StringType

    by_lower = {name.lower() for name in columns}
    for field in frame.schema.fields:
        if field.name.lower() in by_lower and isinstance(field.dataType, StringType):
            column = F.col(backticked(field.name))
            refused = refusal(
                f"{where}: the partition column {field.name!r} holds '' in this batch, which Delta keeps as NULL; give such "
                "rows another value."
            )
            checked = F.when(column == "", refused.cast(field.dataType)).otherwise(column)
            frame = frame.withColumn(field.name, checked)
    return frame


def widens(frame: DataFrame, root: str) -> bool:
    """Whether Delta widens a column's type in a write that may change the table's schema."""
    spark = frame.sparkSession
    properties = spark.sql(f"DESCRIBE DETAIL delta.{backticked(root)}").select("properties").first()
    return properties is not None and properties[0].get("delta.enableTypeWidening") == "true"


def rows_of(place: str) -> int:
    """The number of rows in a table now. Where Delta's log has statistics, no data is read."""
    from pyspark.sql import SparkSession

    spark = SparkSession.active()
    with translated(place):
        frame = spark.read.format("delta").load(place) if is_path(place) else spark.table(place)
        return frame.count()


def append(frame: DataFrame, place: str, *, is_path: bool, options: dict[str, str], partition_by: tuple[str, ...]) -> None:
    """Append a frame's rows in one commit; a path without a table becomes one.

    Raises:
        ForeachOnceError: see :func:`~foreachonce.delta.errors.translated`.
    """
    writer = frame.write.format("delta").mode("append").options(**options)
    if partition_by:
        writer = writer.partitionBy(*partition_by)
    with translated(place):
        if is_path:
            writer.save(place)
        else:
            writer.saveAsTable(name=place)


def append_nothing(root: str, options: dict[str, str]) -> None:
    """Make a commit without rows.

    Raises:
        ForeachOnceError: see :func:`~foreachonce.delta.errors.translated`.
    """
    from pyspark.sql import SparkSession

    with translated(root):
        nothing = SparkSession.active().read.format("delta").load(root).where("false")
        nothing.write.format("delta").mode("append").options(**options).save(root)


def merge(
    source: DataFrame, root: str, on: str, clauses: Iterable[Clause], settings: dict[str, str], *, merge_schema: bool
) -> None:
    """MERGE a :func:`materialized` source into the table at ``root``, with settings that no other command sees."""
    session: Any = source.sparkSession._jsparkSession.cloneSession()  # type: ignore[attr-defined, unused-ignore]
    for name, value in (settings | {MATERIALIZE: "none"}).items():
        session.conf().set(name, value)
    jvm: Any = source.sparkSession.sparkContext._jvm
    table = java_class(jvm, "io.delta.tables.DeltaTable").forPath(session, root)
    rows: Any = source.alias("source")
    builder = table.alias("target").merge(rows._jdf, on)
    if merge_schema:
        builder = builder.withSchemaEvolution()
    # Delta's own list of all columns does not quote a backtick in a name.
    odd = source.columns if any("`" in name for name in source.columns) else None
    for clause in clauses:
        builder = _with(builder, clause, odd)
    builder.execute()


def _with(builder: Any, clause: Clause, columns: Sequence[str] | None) -> Any:
    condition = [] if clause.condition is None else [clause.condition]
    values = None if columns is None else {backticked(name): f"source.{backticked(name)}" for name in columns}
    if clause.action == "insert":
        inserted = builder.whenNotMatched(*condition)
        return inserted.insertAll() if values is None else inserted.insertExpr(values)
    matched = builder.whenMatched(*condition)
    if clause.action == "delete":
        return matched.delete()
    return matched.updateAll() if values is None else matched.updateExpr(values)


def condition_error(source: DataFrame, root: str | None, condition: str) -> str | None:
    """Spark's error about a condition over ``source`` and ``target``; None if it is valid. No job runs.

    Without a table, ``target`` has the source's columns, as the new table will.
    """
    from pyspark.errors import AnalysisException

    table = source if root is None else source.sparkSession.read.format("delta").load(root)
    try:
        source.alias("source").crossJoin(table.alias("target")).where(f"({condition}) IS NOT NULL")
    except AnalysisException as error:
        return excerpt(str(error))
    return None


def refuse_merge_on_connect(frame: DataFrame) -> None:
    """Refuse a frame of Spark Connect, whose session the user's other queries share.

    Raises:
        ConfigurationError: naming what works instead.
    """
    if is_connect(frame):
        raise ConfigurationError(
            "mode='merge' into a Delta table does not go on Spark Connect: Delta takes MERGE's guard from the session's "
            "settings, which other queries of the session would see. Append there, or merge in a classic session. Nothing "
            "was written."
        )


@contextmanager
def materialized(frame: DataFrame) -> Iterator[DataFrame]:
    """The frame's rows, computed once, by the first job that reads them; if some are lost, the job fails.

    MERGE reads its source twice, and must find the same rows. By default Delta materializes it for that reason, which would
    compute it once more; source: MergeIntoMaterializeSource of delta-io/delta.
    """
    copy = frame.localCheckpoint(eager=False)
    try:
        yield copy
    finally:
        plan: Any = copy._jdf
        plan.queryExecution().logical().rdd().unpersist(False)


class NewestState:
    """What a table's newest checkpoint and snapshot show; see :class:`~foreachonce.delta.log.Witness`.

    Source of the checkpoints' form: PROTOCOL.md of delta-io/delta, "Checkpoints".
    """

    def __init__(self, spark: SparkSession | None, folder: TableFolder, app_id: str) -> None:
        self._spark, self._folder, self._app_id = spark, folder, app_id

    def guard(self) -> int:
        """The ``txn`` version of the application id in the newest checkpoint; -1 if there is none."""
        from pyspark.sql import functions as F

        guard = -1
        for name in _newest_checkpoint(self._folder.names(LOG)):
            form = "json" if name.endswith(".json") else "parquet"
            actions = self._session().read.format(form).load(f"{self._folder.root}/{LOG}/{name}")
            if "txn" in actions.columns:
                row = actions.where(F.col("txn.appId") == self._app_id).agg(F.max("txn.version")).first()
                guard = max(guard, -1 if row is None or row[0] is None else int(row[0]))
        return guard

    def has_file(self, paths: tuple[str, ...]) -> bool:
        """Whether one of the data files belongs to the newest state."""
        files = self._session().read.format("delta").load(self._folder.root).inputFiles()
        return any(file.endswith(path) for file in files for path in paths)

    def _session(self) -> SparkSession:
        if self._spark is None:
            raise ConfigurationError(
                f"{shown(self._folder.root)}: Delta's log clean-up has removed commit files, and only a Spark session with "
                "Delta can read what they were; start one."
            )
        return self._spark


def _newest_checkpoint(names: Sequence[str]) -> list[str]:
    """The files of the newest checkpoint, in any of Delta's forms; none if there is no checkpoint."""
    checkpoints = sorted(name for name in names if re.fullmatch(r"\d{20}\.checkpoint\.(.+\.)?(parquet|json)", name))
    return [name for name in checkpoints if name[:20] == checkpoints[-1][:20]]
