"""A frame's rows through Spark's own JDBC writer, each tagged with the task attempt that wrote it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from foreachonce.spark.frames import job_error

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame
    from pyspark.sql.types import StructType

PARTITION, ATTEMPT, ROWS = "foreachonce_partition", "foreachonce_attempt", "foreachonce_rows"
# The partition of a row that every job writes, with rows or without.
MARK = -1


def save(frame: DataFrame, options: Mapping[str, str], table: str) -> None:
    """Append a frame's rows to a table that has its columns and the three of the tags.

    Behind the rows of each attempt comes one more, a receipt: all NULL, and in ``foreachonce_rows``, which is NULL in the
    others, how many they are. One row more, of the partition ``MARK``, tells that the job has written to this very table:
    where there is none of its name, Spark makes one.

    Raises:
        ForeachOnceError: the job failed. The options stand in Spark's own error, which is not chained.
    """
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    try:
        schema = _tagged_schema(frame.schema)
        tagged = frame.mapInArrow(_tag, schema).union(_mark(frame, schema))
        tagged.write.format("jdbc").options(**options).option("dbtable", table).mode("append").save()
    except (PySparkException, Py4JError) as error:
        failed = job_error(error)
    else:
        return
    raise failed


def _tagged_schema(schema: StructType) -> StructType:
    from pyspark.sql.types import LongType, StructField, StructType

    rows = [StructField(field.name, field.dataType) for field in schema.fields]
    return StructType([*rows, *(StructField(name, LongType()) for name in (PARTITION, ATTEMPT, ROWS))])


def _mark(frame: DataFrame, schema: StructType) -> DataFrame:
    from pyspark.sql import functions as F

    tags = {PARTITION: MARK, ATTEMPT: MARK, ROWS: 0}
    values = [F.lit(tags.get(field.name)).cast(field.dataType).alias(field.name) for field in schema.fields]
    return frame.sparkSession.range(0, 1, 1, 1).select(*values)


def _tag(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa
    from pyspark import TaskContext

    task, count = TaskContext.get(), 0
    names: list[str] = []
    types: list[pa.DataType] = []
    assert task is not None, "Spark runs this in a task"
    number, attempt = task.partitionId(), task.taskAttemptId()

    def with_tags(columns: list[pa.Array], size: int, rows: int | None) -> pa.RecordBatch:
        tags = [pa.repeat(pa.scalar(value, pa.int64()), size) for value in (number, attempt, rows)]
        return pa.RecordBatch.from_arrays([*columns, *tags], names=[*names, PARTITION, ATTEMPT, ROWS])

    for batch in batches:
        if batch.num_rows:
            names, types = batch.schema.names, batch.schema.types
            count += batch.num_rows
            yield with_tags(batch.columns, batch.num_rows, None)
    if count:
        yield with_tags([pa.nulls(1, each) for each in types], 1, count)
