"""Spark's and Delta's errors as this library's."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from foreachonce.delta.target import shown
from foreachonce.errors import ConfigurationError, Conflict, ForeachOnceError, FrameError, WriteFailed
from foreachonce.spark.frames import excerpt, job_error

# How Delta names the errors of a commit that lost to another; source: DeltaConcurrentExceptions.scala.
CONFLICTS = (
    "DELTA_CONCURRENT",
    "DELTA_METADATA_CHANGED",
    "DELTA_PROTOCOL_CHANGED",
    "io.delta.exceptions.",
    "FileAlreadyExists",
)
# How Spark and Delta name the errors that a row's value causes. They fail a task, and with it the job, before Delta commits.
# Source: error-conditions.json of apache/spark, delta-error-classes.json of delta-io/delta.
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
# How they name the errors of a collated text, and of other types too.
COLLATIONS = ("DELTA_UNSUPPORTED_DATA_TYPES", "DELTA_FAILED_TO_MERGE_FIELDS", "COLLATION")


@contextmanager
def translated(place: str) -> Iterator[None]:
    """Raise errors of Spark and Delta as this library's.

    Raises:
        Conflict: another commit came first; nothing was written.
        WriteFailed: a row's value or a constraint of the table failed the job; nothing was written.
        ConfigurationError: the table's schema is not in the catalog; nothing was written.
        FrameError: the frame does not fit the table; nothing was written.
        CommitInDoubt: the job was lost; the log shows the outcome.
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
    """The error from Java. PySpark fails to convert some of Delta's errors, and then raises its own failure."""
    from py4j.protocol import Py4JJavaError

    hidden = error.__context__
    return hidden if isinstance(error, Py4JJavaError) and isinstance(hidden, Py4JJavaError) else error


def _translate(error: Exception, place: str) -> ForeachOnceError:
    from py4j.protocol import Py4JJavaError
    from pyspark.errors import AnalysisException

    text = str(error.java_exception.toString()) if isinstance(error, Py4JJavaError) else str(error)
    if any(word in text for word in CONFLICTS):
        return Conflict(f"table {place}: another commit came first. Nothing was written. {excerpt(text)}")
    if value := _value_error(str(error)):
        return WriteFailed(f"table {place}: a row's value fails the batch; fix or filter it. Nothing was written. {value}")
    if error_of_table := _table_error(text, place):
        return error_of_table
    if isinstance(error, AnalysisException) or "AnalysisException" in text.split(":")[0]:
        return FrameError(f"table {place}: the rows do not fit it. Nothing was written. {excerpt(text)}")
    return job_error(error)


def _table_error(text: str, place: str) -> ForeachOnceError | None:
    """The error where the table, or its catalog, is not as the batch needs it; None for any other."""
    if "[SCHEMA_NOT_FOUND]" in text:
        missing = place.rpartition(".")[0]
        return ConfigurationError(
            f"table {place}: the catalog lacks the schema {missing}; make it first: CREATE SCHEMA {missing}. Nothing was "
            "written."
        )
    if "[DELTA_CANNOT_MODIFY_APPEND_ONLY]" in text:
        return FrameError(
            f"table {place}: its property delta.appendOnly is true, and this batch would change or remove rows; give the "
            "sink when_matched='keep' and no delete_when=, or set the property to false by ALTER TABLE. Nothing was written."
        )
    # A generated column may be NOT NULL and lacking, which the table's schema does not show. So Delta is asked.
    if missing_column := re.search(r"\[DELTA_MISSING_NOT_NULL_COLUMN_VALUE\] Column (.+?), which", text):
        return _missing(place, missing_column[1])
    return None


def missing_column(error: WriteFailed, place: str, columns: Collection[str]) -> FrameError | None:
    """The error of a merge whose new rows lack a column that is NOT NULL, which rows that are there keep; or None."""
    null = re.search(r"NOT NULL constraint violated for column: ([^\n.]+)", str(error))
    is_lacking = null is not None and null[1].lower() not in {name.lower() for name in columns}
    return _missing(shown(place), null[1]) if null is not None and is_lacking else None


def _missing(place: str, column: str) -> FrameError:
    return FrameError(
        f"table {place}: column {column!r} is NOT NULL there, without a default, and the frame lacks it; add it to the "
        "frame. Nothing was written."
    )


def _value_error(text: str) -> str | None:
    """Spark's error about a row's value, which may be the cause of another error; None if there is none."""
    match = re.search(rf"\[(?:{'|'.join(VALUES)})[.\w]*\].*?(?=\n\s+at |\Z)", text, re.DOTALL)
    return None if match is None else excerpt(match[0])
