"""SQLite: a local file, written by one task in one transaction.

Values that SQLite has no type for are kept exactly, as text: decimals, dates, timestamps (an instant in UTC, with a Z), NaN,
which SQLite itself would turn into NULL, and nested values as JSON.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.expression import ColumnElement, Select, TableClause, TextClause

from foreachonce.errors import ConfigurationError, ForeachOnceError, FrameError, SinkUnavailable, WriteFailed
from foreachonce.sql.databases.base import (
    LoadingDatabase,
    Parameters,
    SqlType,
    StreamLock,
    on_conflict,
)
from foreachonce.sql.guard import refuse_fewer
from foreachonce.sql.types import (
    INTEGER_BYTES,
    NESTED,
    digits,
    exact_as_text,
    is_decimal,
    name_of,
    refuse_unnumbered,
    refuse_unwritable,
)

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import Column
    from pyspark.sql.types import DataType, StructField, StructType

_TYPES: dict[str, SqlType] = {
    "tinyint": sa.SmallInteger(),
    "smallint": sa.SmallInteger(),
    "int": sa.Integer(),
    "bigint": sa.BigInteger(),
    "float": sa.REAL(),
    "double": sa.DOUBLE(),
    "boolean": sa.Boolean(),
    "string": sa.Text(),
    "decimal": sa.Text(),
    "binary": sa.BLOB(),
    "date": sa.Date(),
    "timestamp": sa.TIMESTAMP(),
    "timestamp_ntz": sa.TIMESTAMP(),
    "array": sa.Text(),
    "struct": sa.Text(),
    "map": sa.Text(),
    "variant": sa.Text(),
}
_COLLATIONS = sa.text("""
    select parts.name, parts.coll from pragma_index_list(:name) as each, pragma_index_xinfo(each.name) as parts
    where each."unique" and parts.key
""")
# The column that is another name of the row's number: where NULL goes in, the next number is put in its place.
_NUMBERED = sa.text("""
    select max(name) from pragma_table_info(:name) where pk having count(*) = 1 and upper(max(type)) = 'INTEGER'
""")
_TRIGGERS = sa.text("select 1 from sqlite_master where type = 'trigger' and lower(tbl_name) = lower(:name)")
# The collation that compares texts of decimals as numbers.
_BY_NUMBER = "foreachonce_by_number"
# How long a writer waits for another one's transaction, where the address has no timeout=.
_BUSY_SECONDS = 120


@dataclass(frozen=True)
class Sqlite(LoadingDatabase):
    """SQLite 3.24 or later, as Python brings it."""

    guarantee: ClassVar[str] = "exactly once and atomic: rows and ledger entry are one SQLite transaction"
    is_parallel: ClassVar[bool] = False
    tells_case_apart: ClassVar[bool] = False
    most_columns: ClassVar[int | None] = 1998

    def make_engine(self, url: URL, *, executor: bool) -> Engine:
        """One whose transactions are begun by SQLAlchemy's events, and not by Python."""
        # An executor must never create a new, empty file: it would be on another machine than the driver's.
        mode = "rw" if executor else "rwc"
        address = f"file:{quote(str(url.database))}?mode={mode}"

        def connect() -> sqlite3.Connection:
            connection = sqlite3.connect(address, uri=True, timeout=_timeout(url), isolation_level=None)
            connection.create_collation(_BY_NUMBER, _compare_numbers)
            return connection

        engine = sa.create_engine("sqlite://", creator=connect, poolclass=NullPool, hide_parameters=True)
        sa.event.listen(engine, "begin", _on_begin)
        return engine

    def _begin(self, connection: Connection, *, executor: bool) -> AbstractContextManager[object]:
        """The transaction holds the file's write lock from its first statement on; one that only reads takes no lock."""
        return connection.execution_options(foreachonce_writes=True).begin()

    def _words(self, error: BaseException, url: URL) -> str:
        return str(error.orig if isinstance(error, DBAPIError) else error)

    def _no_connection(self, error: DBAPIError, url: URL, *, executor: bool) -> SinkUnavailable:
        words = self._words(error, url)
        return SinkUnavailable(f"cannot open the SQLite file {url.database}: {words}. {_advice(url, executor)}")

    def _translate(self, error: Exception, url: URL, *, is_writing: bool) -> ForeachOnceError:
        words = self._words(error, url)
        if not is_writing:
            return SinkUnavailable(f"cannot read {url.database}: {words}")
        if "database is locked" in words:
            return SinkUnavailable(
                f"{url.database}: database is locked: another process has been writing for more than {_timeout(url):g} "
                "seconds (?timeout= of the address). Nothing was written. A driver that hangs keeps the lock until it is "
                "ended."
            )
        return WriteFailed(f"SQLite refused it, nothing was written: {url.database}: {words}")

    def check_schema(self, keyword: str, schema: str) -> None:
        """A file has no schemas."""
        raise ConfigurationError(f"{keyword}={schema!r}: SQLite has no schemas; leave it out.")

    def lock_schema(self, connection: Connection) -> None:
        """The transaction holds the file's write lock already."""

    def share_lock(self, connection: Connection, lock: StreamLock) -> None:
        """The transaction holds the file's write lock already."""

    def seize_lock(self, connection: Connection, lock: StreamLock) -> None:
        """As above. No process can be made to release the file's lock, so a take-over waits for it."""

    def execute(self, connection: Connection, statement: TextClause, parameters: Parameters) -> None:
        """Python's sqlite3 takes one statement at a time."""
        connection.execute(statement, dict(parameters))

    def column_type(self, data_type: DataType) -> SqlType | None:
        """The declared type; its affinity changes no value."""
        return _TYPES.get(name_of(data_type))

    def check_table(
        self, connection: Connection, table: str, schema: str | None, frame: StructType, key: Sequence[str]
    ) -> None:
        """Refuse a key that is compared otherwise than Spark does: by NOCASE, or decimals as texts of two scales."""
        for column, collation in connection.execute(_COLLATIONS, {"name": table}):
            if column in key and collation.upper() != "BINARY":
                raise FrameError(
                    f"table {table}: key column {column!r} has the collation {collation.upper()}, which takes texts for "
                    "equal that Spark tells apart, such as 'a' and 'A'; give its unique index the collation BINARY."
                )
        for field in frame.fields:
            if field.name in key and name_of(field.dataType) == "decimal":
                _check_scale(connection, table, field)

    def may_lose_rows(self, connection: Connection, table: str, schema: str | None) -> bool:
        """A trigger may RAISE(IGNORE)."""
        return connection.execute(_TRIGGERS, {"name": table}).first() is not None

    def sortable(self, column: ColumnElement[Any], kind: str) -> ColumnElement[Any]:
        """Decimals are text, which a collation compares as numbers; a column of numbers has no use for it."""
        return column.collate(_BY_NUMBER) if kind == "decimal" else column

    def holds(self, column: SqlType, data_type: DataType) -> bool:
        """Whether the column's affinity keeps every value as it is."""
        name = name_of(data_type)
        if name not in _TYPES:
            return False
        if isinstance(column, sa.types.NullType):
            return True
        if name in INTEGER_BYTES or name == "boolean":
            # REAL affinity turns 2**53 + 1 into 2**53.
            is_exact = isinstance(column, sa.Integer | sa.Boolean) or not isinstance(column, sa.Float)
            return isinstance(column, sa.Integer | sa.Numeric | sa.Float | sa.Boolean) and (is_exact or name != "bigint")
        if name in ("float", "double"):
            return isinstance(column, sa.Numeric | sa.Float)
        if name == "decimal" and is_decimal(column):
            return sum(digits(data_type)) <= 15
        if name in ("date", "timestamp", "timestamp_ntz") and isinstance(column, sa.Date | sa.DateTime):
            return isinstance(column, sa.Date) == (name == "date")
        if name == "binary":
            return isinstance(column, sa.LargeBinary)
        return isinstance(column, sa.String) or _is_json(column, name)

    def prepare_column(self, column: Column, field: StructField, target: SqlType) -> Column:
        """SQLite has no decimals, and nothing nested."""
        return exact_as_text(column, field)

    def load(
        self, connection: Connection, table: TableClause, columns: Sequence[str], batches: Iterable[pa.RecordBatch]
    ) -> int:
        """Insert the batches' rows with one prepared statement."""
        quoted = connection.dialect.identifier_preparer
        names = ", ".join(quoted.quote_identifier(name) for name in columns)
        marks = ", ".join("?" * len(columns))
        # OR ABORT takes the place of a constraint's own ON CONFLICT, which may drop rows or change values in silence.
        statement = f"INSERT OR ABORT INTO {quoted.format_table(table)} ({names}) VALUES ({marks})"  # noqa: S608 - quoted names
        driver: Any = connection.connection.driver_connection
        count, numbered = 0, connection.execute(_NUMBERED, {"name": table.name}).scalars().all()
        for batch in batches:
            refuse_unwritable(table.name, columns, batch)
            refuse_unnumbered(table.name, numbered, columns, batch)
            try:
                done = driver.executemany(statement, zip(*map(_values, batch.columns), strict=True))
            except sqlite3.Error as error:
                raise WriteFailed(f"SQLite refused a row of table {table.name!r}, nothing was written: {error}") from None
            refuse_fewer(table.name, done.rowcount, batch.num_rows)
            count += batch.num_rows
        return count

    def create_temporary(self, connection: Connection, name: str, query: str) -> None:
        """The table ends with its connection, which is not kept."""
        connection.exec_driver_sql(f"CREATE TEMPORARY TABLE IF NOT EXISTS {name} AS {query}")

    def upsert(self, table: TableClause, key: Sequence[str], rows: Select[Any], *, skip_unchanged: bool) -> list[UpdateBase]:
        """INSERT … SELECT … ON CONFLICT; the WHERE keeps SQLite from reading ON as a join's."""
        insert = sqlite.insert(table).prefix_with("OR ABORT")
        return on_conflict(insert, table, key, rows.where(sa.true()), skip_unchanged=skip_unchanged)


def _compare_numbers(left: str, right: str) -> int:
    one, other = Decimal(left), Decimal(right)
    return (one > other) - (one < other)


def _check_scale(connection: Connection, table: str, field: StructField) -> None:
    """Decimals are kept as text, and text 1.5 is another key than text 1.50: all of a key have one scale."""
    scale = digits(field.dataType)[1]
    key: ColumnElement[Any] = sa.column(field.name)
    point = sa.func.instr(key, ".")
    found = sa.case((point == 0, 0), else_=sa.func.length(key) - point)
    other = sa.select(key).select_from(sa.table(table)).where(sa.func.typeof(key) == "text", found != scale).limit(1)
    value = connection.execute(other).scalar()
    if value is not None:
        raise FrameError(
            f"table {table}: key column {field.name!r} holds {value!r}, and the frame's decimals have {scale} digits after "
            "the point: SQLite would take equal numbers for two keys. Cast the frame's column to the scale that the table "
            "holds, or write the table's keys anew."
        )


def _is_json(column: SqlType, name: str) -> bool:
    """A column declared JSON has NUMERIC affinity: objects and arrays stay as they are, a variant's bare number may not."""
    return isinstance(column, sa.JSON) and name in NESTED and name != "variant"


def _on_begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("foreachonce_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _advice(url: URL, executor: bool) -> str:
    if executor:
        return (
            "SQLite is a local file, and this is an executor: executors must run on the driver's machine (master local[*]); "
            "for a cluster use PostgreSQL."
        )
    folder = Path(str(url.database)).parent
    if not folder.is_dir():
        return f"The folder {folder} does not exist; make it, or mend the path."
    return f"The folder {folder} must allow this user to make and write files."


def _timeout(url: URL) -> float:
    return float(str(url.query.get("timeout", _BUSY_SECONDS)))


def _values(column: pa.Array) -> list[Any]:
    """An Arrow column as what SQLite binds."""
    import pyarrow as pa

    if pa.types.is_timestamp(column.type) and column.type.tz is not None:
        # Spark sends instants in the session's time zone, whose texts neither sort nor stay the same for one instant.
        column = column.cast(pa.timestamp("us", "UTC"))
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        return list(column.cast(pa.string()).to_pylist())
    values = list(column.to_pylist())
    if pa.types.is_floating(column.type):
        return ["NaN" if value is not None and math.isnan(value) else value for value in values]
    return values
