"""A batch by Spark's own JDBC writer into staging tables, and from there into its tables with the entry.

Why each row comes once, although Spark's writer may write a task's rows more than once:

- The writer sends each partition in one transaction, so an attempt of a task leaves all of its rows or none. (Source:
  ``JdbcUtils.savePartition`` of Spark: ``setAutoCommit(false)``, a ``commit`` behind the last row, else a ``rollback``. Its
  option ``isolationLevel`` NONE would change that and is refused; the default, READ_UNCOMMITTED, does no harm to a writer
  that reads nothing.) Each attempt's receipt says how many rows it had, so that one of which some are missing is not taken,
  on a database that has no transactions either.
- A task that is repeated after its commit, because the reply was lost or it was slow, writes again, under another attempt
  id. Of each partition one attempt is taken: the newest whole one. Spark gives the ids out in the order in which tasks
  start, and starts a stage anew, with newer ids, where an input that differs each time it is computed was lost; so the
  newest attempts are of one and the same input. When the job has succeeded, every partition with rows has a whole attempt.
- Each job writes a mark. Where it is missing, url= and the options mean two databases, and the rows went to the other one.
- Which attempts are taken is read once, in the transaction, and later statements name them. An attempt that commits
  meanwhile is not among them.
- Each batch has staging tables of its own, under names that were never used. What an abandoned task writes later goes
  nowhere: its table was dropped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import unquote

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection

from foreachonce.errors import BatchFailed, CommitInDoubt, ConfigurationError, ForeachOnceError, WriteFailed, scrub_texts
from foreachonce.faults import Point
from foreachonce.spark.frames import job_error
from foreachonce.sql.databases.base import SqlType
from foreachonce.sql.databases.generic import Generic, bounded
from foreachonce.sql.paths import Step, Work, WritePath, finish
from foreachonce.sql.stage import insert, names_of, new_name
from foreachonce.sql.statements import SqlBatch
from foreachonce.sql.table import ATTEMPT, OP, PARTITION, ROWS, TableLoad, quoted
from foreachonce.sql.transaction import Statement

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame
    from pyspark.sql.types import StructType

# The partition of a row that every job writes, with rows or without.
MARK = -1
GENERIC_POINTS: tuple[Point, ...] = ("rows-staged", "rows-written", "entry-written", "committed")
# What the library decides itself, and what would let a task leave half of its rows.
_TAKEN = ("dbtable", "query", "isolationlevel")
# The options whose values messages may show.
_OPEN = ("driver", "user", "batchsize", "numpartitions", "querytimeout")
# What is shorter is a flag or a number, unless its name says otherwise.
_LONG = 8
# How many values an IN may have where that is limited: Oracle's 1000 is the least.
_IN = 1000


@dataclass(frozen=True)
class SparkJdbc:
    """The options of Spark's JDBC writer. They are shown nowhere.

    Raises:
        ConfigurationError: no mapping of texts, no url, or an option that is not the user's to choose.
    """

    options: Mapping[str, str] = field(repr=False)

    def __post_init__(self) -> None:
        options: object = self.options
        if not isinstance(options, Mapping) or not all(isinstance(part, str) for pair in options.items() for part in pair):
            raise ConfigurationError(
                "spark_jdbc= must be a dict of texts: the options of Spark's JDBC writer, such as "
                '{"url": "jdbc:…", "driver": "…", "user": "…", "password": "…"}.'
            )
        known = {name.lower(): value for name, value in self.options.items()}
        if not known.get("url", "").startswith("jdbc:"):
            raise ConfigurationError('spark_jdbc= needs the option "url", the address as the JDBC driver takes it: jdbc:….')
        for name in _TAKEN:
            if name in known:
                raise ConfigurationError(f"spark_jdbc= has the option {name!r}, which is not free here; leave it out.")

    def scrub(self, text: str) -> str:
        """Take the options' values out of a text, and what pgjdbc tells of the rows."""
        text = re.sub(r"Batch entry \d+ .*? was aborted: ", "", text, flags=re.DOTALL)
        return scrub_texts(
            text, [secret for name, value in self.options.items() for secret in _secrets(name.lower(), value)]
        )


def _secrets(name: str, value: str) -> list[str]:
    if name in _OPEN:
        return []
    if name != "url":
        return [value] if len(value) >= _LONG or re.search("pass|pwd|secret|token", name) else []
    # name=value among the parameters, user:password@host, and Oracle's user/password@host.
    parts = [*re.findall(r"(?i)(?:pass|pwd|secret|token)\w*=([^;&]+)", value), *re.findall(r"[:/]([^:/@]+)@", value)]
    return [value, *parts, *map(unquote, parts)]


@dataclass(frozen=True)
class _Stage:
    """The staging table of one load. Its columns go by number: no database folds such names or reserves them."""

    load: TableLoad
    table: sa.Table

    def promote(self, connection: Connection, database: Generic) -> int:
        """Bring the rows of one attempt of each partition into place; return their number.

        Raises:
            WriteFailed: a partition has no attempt whose rows are all there.
            ConfigurationError: Spark has written to another table.
        """
        attempts = self._attempts(connection)
        columns = self.table.c
        # Rendered into the statement: some databases limit the number of parameters, and these are numbers.
        wanted = [
            columns[ATTEMPT].in_(sa.bindparam(None, some, expanding=True, literal_execute=True))
            for some in _parts([attempt for attempt, _ in attempts])
        ]
        is_taken = sa.and_(columns[ROWS].is_(None), sa.or_(sa.false(), *wanted))
        names = self.load.rows.staged
        named = sa.select(*(columns[f"c{place}"].label(name) for place, name in enumerate(names))).where(is_taken)
        staged = named.subquery("staged")
        insert(connection, database, self.load.rows, sa.select(*(staged.c[name] for name in names)))
        return sum(rows for _, rows in attempts)

    def _attempts(self, connection: Connection) -> list[tuple[int, int]]:
        """The newest whole attempt of each partition, with the number of its rows."""
        partition, attempt, rows = (self.table.c[name] for name in (PARTITION, ATTEMPT, ROWS))
        there = (sa.func.count() - sa.func.count(rows)).label("there")
        grouped = sa.select(partition, attempt, there, sa.func.sum(rows).label("said")).group_by(partition, attempt)
        newest: dict[int, tuple[int, int]] = {}
        torn = set()
        for row in connection.execute(grouped.order_by(partition, attempt)):
            torn.add(row[0])
            if row.there == row.said:
                newest[row[0]] = (int(row[1]), int(row.there))
        if torn - newest.keys():
            raise WriteFailed(
                f"the staging table {self.table.name} lacks rows of this batch: of partition {min(torn - newest.keys())} no "
                "attempt is whole. Has the server restarted, or does the database have no transactions? Nothing was written."
            )
        if newest.pop(MARK, None) is None:
            raise ConfigurationError(
                f"Spark's JDBC writer has not written to {self.table.name} of url=: url= and spark_jdbc= must mean "
                "the same database, with the same default schema. Nothing was written."
            )
        return list(newest.values())


@dataclass(frozen=True)
class SparkJdbcPath(WritePath):
    """Spark's JDBC writer stages every load; the driver then moves the rows by portable statements."""

    database: Generic
    writer: SparkJdbc

    def write(self, batch: SqlBatch, work: Work) -> int:
        """See :class:`~foreachonce.sql.paths.WritePath`."""
        with self._stages(batch, work) as stages:
            steps: list[Step] = []
            for place, item in enumerate(work):
                if isinstance(item, Statement):
                    steps.append(partial(item.run, database=self.database))
                else:
                    self._stage(batch, stages[place])
                    steps.append(partial(stages[place].promote, database=self.database))
            return finish(batch, steps)

    def clear(self, url: URL, schema: str | None, stream: str) -> None:
        """See :class:`~foreachonce.sql.paths.WritePath`."""
        with self.database.reading(url) as connection:
            names = names_of(connection, schema, stream)
        for name in names:
            self._drop(url, sa.Table(name, sa.MetaData(), schema=schema))

    @contextmanager
    def _stages(self, batch: SqlBatch, work: Work) -> Iterator[dict[int, _Stage]]:
        """New staging tables, dropped at the end. Their DDL has its own transactions: in many databases it commits."""
        stages = {place: _Stage(item, _table(batch, item)) for place, item in enumerate(work) if isinstance(item, TableLoad)}
        with batch.writing() as connection:
            for stage in stages.values():
                stage.table.create(connection)
        try:
            yield stages
        finally:
            for stage in stages.values():
                self._drop(batch.url, stage.table)

    def _drop(self, url: URL, table: sa.Table) -> None:
        # An abandoned task may still have a transaction open on it. Nobody reads it any more, so the next run may drop it.
        with suppress(ForeachOnceError), self.database.writing(url) as connection, bounded(connection):
            table.drop(connection, checkfirst=True)

    def _stage(self, batch: SqlBatch, stage: _Stage) -> None:
        with self.database.reading(batch.url) as connection:
            table = quoted(connection, stage.table)
        try:
            save(stage.load.frame, self.writer.options, table)
        except (BatchFailed, CommitInDoubt) as error:
            # Only the staging table has had rows so far.
            failed = WriteFailed(f"nothing was written: {self.writer.scrub(str(error))}")
        else:
            return
        raise failed


def _table(batch: SqlBatch, load: TableLoad) -> sa.Table:
    names, types = load.rows.staged, list(load.types)
    columns = [sa.Column(f"c{place}", each) for place, each in enumerate(_with_op(names, types))]
    tags = [sa.Column(name, sa.BigInteger) for name in (PARTITION, ATTEMPT, ROWS)]
    name = new_name(batch.entry.stream)
    key = [columns[names.index(each)] for each in load.rows.target.key]
    indexes = [sa.Index(f"{name}_key", *key)] if key else []
    return sa.Table(name, sa.MetaData(), *columns, *tags, *indexes, schema=batch.ledger_schema)


def _with_op(names: Sequence[str], types: list[SqlType]) -> list[SqlType]:
    return [*types, sa.String(255)] if OP in names else types


def _parts(values: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(values), _IN):
        yield values[start : start + _IN]


# --- Spark's side ------------------------------------------------------------------------------------------------------


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
