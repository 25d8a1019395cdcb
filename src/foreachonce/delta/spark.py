"""What a sink asks of Delta, through the session's own public commands."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pyspark

from foreachonce.delta.log import LOG, Folder
from foreachonce.delta.place import is_path, shown
from foreachonce.errors import ConfigurationError, Conflict, ForeachOnceError, FrameError, WriteFailed
from foreachonce.spark.frames import backticked, job_error, told

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.types import StructType

# Delta's package for the Spark that is installed; PySpark 3.5 brings jars of Scala 2.12.
PACKAGE = (
    "io.delta:delta-spark_2.12:3.3.3"
    if pyspark.__version__.startswith("3.5")
    else f"io.delta:delta-spark_{'.'.join(pyspark.__version__.split('.')[:2])}_2.13:4.4.0"
)
NEEDED = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
}
# How Delta names what it raises where another commit came first; source: DeltaConcurrentExceptions.scala.
CONFLICTS = (
    "DELTA_CONCURRENT",
    "DELTA_METADATA_CHANGED",
    "DELTA_PROTOCOL_CHANGED",
    "io.delta.exceptions.",
    "FileAlreadyExists",
)

# How Spark and Delta name what a row's value does. It fails a task, and with it the job, before Delta commits. Source:
# error-conditions.json of apache/spark, delta-error-classes.json of delta-io/delta.
VALUES = (
    "CAST_INVALID_INPUT",
    "CAST_OVERFLOW",
    "NUMERIC_VALUE_OUT_OF_RANGE",
    "ARITHMETIC_OVERFLOW",
    "DIVIDE_BY_ZERO",
    "DELTA_CAST_OVERFLOW_IN_TABLE_WRITE",
    "DELTA_EXCEED_CHAR_VARCHAR_LIMIT",
    "DELTA_NOT_NULL_CONSTRAINT_VIOLATED",
    "DELTA_VIOLATE_CONSTRAINT_WITH_VALUES",
)


def require_delta(spark: SparkSession) -> None:
    """Refuse a session that cannot write Delta tables.

    Raises:
        ConfigurationError: naming the package and the settings.
    """
    for setting, value in NEEDED.items():
        if value not in (spark.conf.get(setting, "") or ""):
            raise ConfigurationError(
                "the session lacks Delta Lake. Before it is made, set spark.jars.packages to Delta's package for this "
                f'Spark, "{PACKAGE}" (pip install delta-spark brings no jar), and '
                + " and ".join(f"{name}={wanted}" for name, wanted in NEEDED.items())
                + "."
            )


def location(spark: SparkSession, name: str) -> str | None:
    """The path of a catalog's table; None where there is no such table.

    Raises:
        ConfigurationError: the table is not a Delta table.
    """
    if not spark.catalog.tableExists(name):
        return None
    found = {row[0]: row[1] for row in spark.sql(f"DESCRIBE TABLE EXTENDED {name}").collect()}
    if str(found.get("Provider")).lower() != "delta":
        raise ConfigurationError(f"path_or_table={name!r} is a table of {found.get('Provider')}, not of Delta.")
    return str(found["Location"])


def make_table(frame: DataFrame, name: str, partition_by: tuple[str, ...]) -> None:
    """Make a catalog's table, empty. Delta's CREATE TABLE AS SELECT keeps no ``userMetadata``, so rows must come later."""
    writer = frame.where("false").write.format("delta").mode("ignore")
    with translated(name):
        (writer.partitionBy(*partition_by) if partition_by else writer).saveAsTable(name)


def schema(frame: DataFrame, root: str | None) -> StructType:
    """The table's columns, asked by the frame's session; none where there is no table."""
    from pyspark.sql.types import StructType

    return StructType() if root is None else frame.sparkSession.read.format("delta").load(root).schema


def grows(frame: DataFrame, root: str) -> bool:
    """Whether Delta makes a column wider where a write may change the table's schema."""
    spark = frame.sparkSession
    properties = spark.sql(f"DESCRIBE DETAIL delta.{backticked(root)}").select("properties").first()
    return properties is not None and properties[0].get("delta.enableTypeWidening") == "true"


def append(frame: DataFrame, place: str, *, is_path: bool, options: dict[str, str], partition_by: tuple[str, ...]) -> None:
    """Append a frame's rows in one commit; a path's table is made where there is none.

    Raises:
        ForeachOnceError: as :func:`translated` tells them apart.
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
    """Make a commit without rows."""
    from pyspark.sql import SparkSession

    with translated(root):
        nothing = SparkSession.active().read.format("delta").load(root).where("false")
        nothing.write.format("delta").mode("append").options(**options).save(root)


@contextmanager
def translated(place: str) -> Iterator[None]:
    """Errors of Spark and Delta in our words.

    Raises:
        Conflict: another commit came first; nothing was written.
        WriteFailed: a row's value or a constraint of the table failed the job; nothing was written.
        ConfigurationError: the table's schema is not in the catalog; nothing was written.
        FrameError: the frame does not fit the table; nothing was written.
        CommitInDoubt: the job was lost; the log tells.
    """
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    try:
        yield
    except (PySparkException, Py4JError) as error:
        failed = _translate(_thrown(error), shown(place))
    else:
        return
    raise failed


def _thrown(error: Exception) -> Exception:
    """What was thrown in Java. pyspark cannot put some of Delta's errors into words, and then raises its own failure."""
    from py4j.protocol import Py4JJavaError

    hidden = error.__context__
    return hidden if isinstance(error, Py4JJavaError) and isinstance(hidden, Py4JJavaError) else error


def _translate(error: Exception, place: str) -> ForeachOnceError:
    from py4j.protocol import Py4JJavaError
    from pyspark.errors import AnalysisException

    text = str(error.java_exception.toString()) if isinstance(error, Py4JJavaError) else str(error)
    if any(word in text for word in CONFLICTS):
        return Conflict(f"table {place}: another commit came first. Nothing was written. {told(text)}")
    if value := _value(str(error)):
        return WriteFailed(f"table {place}: a row's value fails the batch; mend or filter it. Nothing was written. {value}")
    if "[SCHEMA_NOT_FOUND]" in text:
        missing = place.rpartition(".")[0]
        return ConfigurationError(
            f"table {place}: the catalog lacks the schema {missing}; make it first: CREATE SCHEMA {missing}. Nothing was "
            "written."
        )
    if isinstance(error, AnalysisException) or "AnalysisException" in text.split(":")[0]:
        return FrameError(f"table {place}: the rows do not fit it. Nothing was written. {told(text)}")
    return job_error(error)


def _value(text: str) -> str | None:
    """What Spark says of a row's value, which may be the cause of what was thrown; None where it is no value's fault."""
    found = re.search(rf"\[(?:{'|'.join(VALUES)})[.\w]*\].*?(?=\n\s+at |\Z)", text, re.DOTALL)
    return None if found is None else told(found[0])


class NewestState:
    """What Delta's newest checkpoint and snapshot of a table tell; see :class:`~foreachonce.delta.log.Witness`.

    Source of the checkpoints' form: PROTOCOL.md of delta-io/delta, "Checkpoints".
    """

    def __init__(self, spark: SparkSession | None, folder: Folder, app_id: str) -> None:
        self._spark, self._folder, self._app_id = spark, folder, app_id

    def guard(self) -> int:
        """The ``txn`` version of the application id in the newest checkpoint; -1 where there is none."""
        from pyspark.sql import functions as F

        found = -1
        for name in _newest_checkpoint(self._folder.names(LOG)):
            form = "json" if name.endswith(".json") else "parquet"
            actions = self._session().read.format(form).load(f"{self._folder.root}/{LOG}/{name}")
            if "txn" in actions.columns:
                row = actions.where(F.col("txn.appId") == self._app_id).agg(F.max("txn.version")).first()
                found = max(found, -1 if row is None or row[0] is None else int(row[0]))
        return found

    def has_file(self, paths: tuple[str, ...]) -> bool:
        """Whether one of the data files belongs to the newest state."""
        files = self._session().read.format("delta").load(self._folder.root).inputFiles()
        return any(file.endswith(path) for file in files for path in paths)

    def _session(self) -> SparkSession:
        if self._spark is None:
            raise ConfigurationError(
                f"{shown(self._folder.root)}: Delta's log clean-up has removed commit files, and only a Spark session with "
                "Delta can tell what they were; start one."
            )
        return self._spark


def _newest_checkpoint(names: Sequence[str]) -> list[str]:
    """The files of the newest checkpoint, in whichever of Delta's forms; none where there is no checkpoint."""
    checkpoints = sorted(name for name in names if re.fullmatch(r"\d{20}\.checkpoint\.(.+\.)?(parquet|json)", name))
    return [name for name in checkpoints if name[:20] == checkpoints[-1][:20]]


def rows_of(place: str) -> int:
    """The rows of a table now; Delta's log tells them where it has statistics, without a look at the data."""
    from pyspark.sql import SparkSession

    spark = SparkSession.active()
    with translated(place):
        frame = spark.read.format("delta").load(place) if is_path(place) else spark.table(place)
        return frame.count()
