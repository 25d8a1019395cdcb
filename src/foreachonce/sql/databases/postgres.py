"""PostgreSQL: COPY, its types, and advisory locks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.dialects.postgresql.ranges import AbstractRange
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.expression import ColumnElement, Executable, Select, TableClause, TextClause

from foreachonce.errors import CommitInDoubt, Conflict, ForeachOnceError, FrameError, SinkUnavailable, WriteFailed
from foreachonce.polling import wait_until
from foreachonce.sql.databases import copy, optimistic
from foreachonce.sql.databases.base import (
    GRACE_SECONDS,
    SEIZE_SECONDS,
    LoadingDatabase,
    Parameters,
    SqlType,
    StreamLock,
    on_conflict,
    pooled,
)
from foreachonce.sql.types import INTEGER_BYTES, NESTED, decimal_holds, integer_bytes, name_of, nested_as_json
from foreachonce.sql.url import scrub, shown

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import Column
    from pyspark.sql.types import DataType, StructField, StructType

_VERSION = sa.text("""
    select attname, format_type(atttypid, atttypmod) from pg_catalog.pg_attribute
    where attrelid = cast(:place as regclass) and attnum > 0 and not attisdropped and attname = any(:columns)
""")
# citext ignores case, char(n) trailing blanks, and a nondeterministic collation what it likes.
_KEYS = sa.text("""
    select a.attname, format_type(a.atttypid, a.atttypmod),
        t.typname not in ('citext', 'bpchar') and coalesce(c.collisdeterministic, true)
    from pg_catalog.pg_attribute a join pg_catalog.pg_type t on t.oid = a.atttypid
    left join pg_catalog.pg_collation c on c.oid = a.attcollation
    where a.attrelid = cast(:place as regclass) and a.attname = any(:key)
""")
# A trigger before or instead of a row can drop it, also one of a partition's; a rule can turn a statement into nothing.
_MAY_LOSE = sa.text("""
    with places as (
        select cast(:place as regclass) as oid
        union select relid from pg_partition_tree(cast(:place as regclass))
    )
    select exists (select from pg_catalog.pg_class c join places on c.oid = places.oid where relhasrules)
        or exists (
            select from pg_catalog.pg_trigger t join places on t.tgrelid = places.oid
            where not tgisinternal and tgtype & 1 <> 0 and tgtype & (2 | 64) <> 0
        )
""")
_DEFERRED = sa.text("""
    select c.relname, array(
        select cast(attname as text) from pg_catalog.pg_attribute a
        where a.attrelid = i.indrelid and a.attnum = any(i.indkey)
    )
    from pg_catalog.pg_index i join pg_catalog.pg_class c on c.oid = i.indexrelid
    where i.indrelid = cast(:place as regclass) and i.indisunique and not i.indimmediate
""")
# Among the context of an error in a binary COPY; this line has no value.
_COPIED_COLUMN = re.compile(r"^COPY .*, line \d+, column (.+?)$", re.MULTILINE)
_LONGEST_NAME = 63
_SYSTEM_COLUMNS = ("ctid", "xmin", "xmax", "cmin", "cmax", "tableoid")
_SCALARS: dict[str, SqlType] = {
    "tinyint": sa.SmallInteger(),
    "smallint": sa.SmallInteger(),
    "int": sa.Integer(),
    "bigint": sa.BigInteger(),
    "float": sa.REAL(),
    "double": sa.DOUBLE_PRECISION(),
    "boolean": sa.Boolean(),
    "string": sa.Text(),
    "binary": pg.BYTEA(),
    "date": sa.Date(),
    "timestamp": pg.TIMESTAMP(timezone=True),
    "timestamp_ntz": pg.TIMESTAMP(timezone=False),
}
# The types that keep a text as it is, or as the same value in one spelling. char(n) is none of them: it pads with blanks.
_FOR_TEXT = (
    sa.String,
    sa.Uuid,
    sa.JSON,
    pg.BIT,
    pg.CIDR,
    pg.INET,
    pg.MACADDR,
    pg.MACADDR8,
    pg.HSTORE,
    AbstractRange,
)
# Others, which SQLAlchemy does not know, by the server's names.
_FOR_TEXT_TOO = ("xml", "ltree", "pg_lsn")
# Those that it takes for texts, and that keep 63 bytes or one.
_CUT = ("name", '"char"')
# Any 64-bit number does; all foreachonce processes must use the same.
_SCHEMA_LOCK = 0x666F7265616368
# A 64-bit advisory lock is shown as two halves, with objsubid 1 (documentation of pg_locks).
_END_HOLDERS = sa.text("""
    select pg_terminate_backend(pid) from pg_locks
    where locktype = 'advisory' and granted and pid <> pg_backend_pid() and objsubid = 1
      and database = (select oid from pg_database where datname = current_database())
      and classid = :high and objid = :low
""")


@dataclass(frozen=True)
class Postgres(LoadingDatabase):
    """PostgreSQL 12 or later, through psycopg 3."""

    guarantee: ClassVar[str] = "exactly once and atomic: rows and ledger entry are one PostgreSQL transaction"
    finds_duplicate_keys: ClassVar[bool] = True
    locks_in_order: ClassVar[bool] = True
    most_columns: ClassVar[int | None] = 1598

    def make_engine(self, url: URL, *, executor: bool) -> Engine:
        """With READ COMMITTED: a statement after a lock must see what was committed while it was waited for."""
        # The server reads binary text in the client's encoding, and Arrow's is UTF-8.
        # A pooler such as PgBouncer gives each transaction another session, which lacks what was prepared in one before.
        arguments = {"client_encoding": "utf8", "prepare_threshold": None}
        return pooled(url, isolation_level="READ COMMITTED", connect_args=arguments)

    @contextmanager
    def _begin(self, connection: Connection, *, executor: bool) -> Iterator[None]:
        """An executor's session may idle amid its transaction as long as Spark computes rows; the driver has them."""
        with connection.begin():
            if executor:
                connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
            yield

    def _for_reading(self, connection: Connection) -> Connection:
        return connection.execution_options(isolation_level="AUTOCOMMIT")

    def _errors(self) -> tuple[type[Exception], ...]:
        import psycopg

        return (DBAPIError, psycopg.Error)

    def _words(self, error: BaseException, url: URL) -> str:
        """The primary message, the column and the hint: details and context quote rows."""
        import psycopg

        cause = error.orig if isinstance(error, DBAPIError) else error
        if not isinstance(cause, psycopg.Error) or not cause.diag.message_primary:
            return scrub(str(cause), url)
        diag = cause.diag
        in_copy = _COPIED_COLUMN.search(diag.context or "")
        column = diag.column_name or (in_copy and in_copy[1])
        where = f"column {column!r}: " if column else ""
        hint = f" Hint: {diag.message_hint}" if diag.message_hint else ""
        return scrub(f"{where}{diag.message_primary}{hint}", url)

    def _missing_driver(self, error: ModuleNotFoundError, url: URL) -> str:
        return "PostgreSQL needs psycopg 3: pip install 'foreachonce[postgres]'"

    def _translate(self, error: Exception, url: URL, *, is_writing: bool) -> ForeachOnceError:
        """By SQLSTATE classes: 08 and 57P are a lost connection, 40 a lost race."""
        import psycopg

        cause = error.orig if isinstance(error, DBAPIError) else error
        state = cause.sqlstate if isinstance(cause, psycopg.Error) else None
        text = f"{shown(url)}: {self._words(error, url)}"
        if state is None or state.startswith(("08", "57P")):
            lost = CommitInDoubt if is_writing else SinkUnavailable
            return lost(f"the connection was lost: {text}")
        if state.startswith("40"):
            return Conflict(f"another transaction was in the way: {text}")
        return WriteFailed(f"PostgreSQL refused it ({state}), nothing was written: {text}")

    def lock_schema(self, connection: Connection) -> None:
        """CREATE TABLE IF NOT EXISTS alone fails where two processes run it at once."""
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_SCHEMA_LOCK)))

    def share_lock(self, connection: Connection, lock: StreamLock) -> None:
        """By an advisory lock that all transactions of the run share."""
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock_shared(lock.key)))

    def seize_lock(self, connection: Connection, lock: StreamLock) -> None:
        """Wait a moment, then end the sessions that hold the lock: a paused or disconnected driver would never let it go."""
        key = lock.key
        attempt = sa.select(sa.func.pg_try_advisory_xact_lock(key))
        if wait_until(lambda: bool(connection.execute(attempt).scalar()), GRACE_SECONDS):
            return
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{SEIZE_SECONDS}s'")
        connection.execute(_END_HOLDERS, {"high": key >> 32, "low": key & 0xFFFFFFFF})
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(key)))
        connection.exec_driver_sql("SET LOCAL lock_timeout TO DEFAULT")

    def execute(self, connection: Connection, statement: TextClause, parameters: Parameters) -> None:
        """By the extended protocol, in which the server takes one statement only."""
        compiled = statement.bindparams(**parameters).compile(dialect=connection.dialect)
        driver: Any = connection.connection.driver_connection
        with driver.cursor(binary=True) as cursor:
            cursor.execute(str(compiled), compiled.params)

    def check_table(
        self, connection: Connection, table: str, schema: str | None, frame: StructType, key: Sequence[str]
    ) -> None:
        """Refuse a key that takes several of Spark's texts for one, or that ON CONFLICT cannot use."""
        if not key:
            return
        place = _place(connection, table, schema)
        for column, kind, is_exact in connection.execute(_KEYS, {"place": place, "key": list(key)}):
            if not is_exact:
                raise FrameError(
                    f"table {table}: key column {column!r} is {kind}, which takes texts for equal that Spark tells apart, "
                    "such as 'a' and 'A', or 'a' and 'a '; alter it to text with a deterministic collation."
                )
        for name, parts in connection.execute(_DEFERRED, {"place": place}):
            if set(parts) == set(key):
                raise FrameError(
                    f"table {table}: the unique constraint {name!r} on key=({', '.join(key)}) is DEFERRABLE, which ON "
                    "CONFLICT cannot use; create a unique index beside it, or make it NOT DEFERRABLE."
                )

    def name_problem(self, name: str) -> str | None:
        """The server cuts what is longer, without an error."""
        if name in _SYSTEM_COLUMNS:
            return "is that of a column which PostgreSQL gives to every table"
        return "is longer than PostgreSQL's 63 bytes" if len(name.encode()) > _LONGEST_NAME else None

    def column_type(self, data_type: DataType) -> SqlType | None:
        """Scalars by name, arrays of scalars as arrays, whatever else is nested as jsonb."""
        name = name_of(data_type)
        if name == "decimal":
            return sa.Numeric(data_type.precision, data_type.scale)  # type: ignore[attr-defined]
        if _is_flat_array(data_type):
            element = self.column_type(data_type.elementType)  # type: ignore[attr-defined]
            return None if element is None else pg.ARRAY(element)
        return pg.JSONB() if name in NESTED else _SCALARS.get(name)

    def columns(self, connection: Connection, table: str, schema: str | None) -> dict[str, dict[str, Any]]:
        """With the names of types that SQLAlchemy does not know, or takes for texts though they cut them."""
        found = super().columns(connection, table, schema)
        place = _place(connection, table, schema)
        for name, kind in connection.execute(_VERSION, {"place": place, "columns": list(found)}):
            if kind in _FOR_TEXT_TOO:
                found[name]["type"] = _Text(kind)
            elif isinstance(found[name]["type"], sa.types.NullType) or kind.removesuffix("[]") in _CUT:
                found[name]["type"] = _Unknown(kind)
        return found

    def version(self, connection: Connection, table: str, schema: str | None, columns: Sequence[str]) -> str:
        """By one query to the catalog."""
        place = _place(connection, table, schema)
        types = {row[0]: row[1] for row in connection.execute(_VERSION, {"place": place, "columns": list(columns)})}
        return ", ".join(f"{name} {types.get(name, 'gone')}" for name in columns)

    def may_lose_rows(self, connection: Connection, table: str, schema: str | None) -> bool:
        """By one query to the catalog."""
        return bool(connection.execute(_MAY_LOSE, {"place": _place(connection, table, schema)}).scalar())

    def sortable(self, column: ColumnElement[Any], kind: str) -> ColumnElement[Any]:
        """Spark orders texts by their bytes, which is what the collation C does."""
        return sa.cast(column, sa.Text).collate("C") if kind == "string" else column

    def holds(self, column: SqlType, data_type: DataType) -> bool:
        """Whether every value fits; an instant does not fit a timestamp without time zone, nor the reverse."""
        name = name_of(data_type)
        if isinstance(column, pg.DOMAIN):
            return self.holds(column.data_type, data_type)
        if name in INTEGER_BYTES:
            return _holds_integer(column, data_type)
        if name == "string":
            return isinstance(column, _FOR_TEXT) and not isinstance(column, sa.CHAR)
        if isinstance(column, sa.ARRAY):
            return _is_flat_array(data_type) and self.holds(column.item_type, data_type.elementType)  # type: ignore[attr-defined]
        if name in NESTED:
            return isinstance(column, sa.JSON | sa.String) and not isinstance(column, sa.Enum | sa.CHAR)
        return _holds_scalar(column, data_type)

    def prepare_column(self, column: Column, field: StructField, target: SqlType) -> Column:
        """Arrays of scalars travel as they are, other nested values as JSON."""
        return column if isinstance(target, sa.ARRAY) else nested_as_json(column, field)

    def load(
        self, connection: Connection, table: TableClause, columns: Sequence[str], batches: Iterable[pa.RecordBatch]
    ) -> int:
        """COPY, or INSERT where COPY cannot."""
        return copy.load(connection, table, columns, batches)

    def create_stage(self, connection: Connection, name: str, query: str) -> None:
        """UNLOGGED: the rows of a stage need not outlive a crash of the server, which is noticed by their number."""
        connection.exec_driver_sql(f"CREATE UNLOGGED TABLE IF NOT EXISTS {name} AS {query}")

    def create_temporary(self, connection: Connection, name: str, query: str) -> None:
        """The session keeps the table, and its rows go with the transaction."""
        connection.exec_driver_sql(f"CREATE TEMPORARY TABLE IF NOT EXISTS {name} ON COMMIT DELETE ROWS AS {query}")

    def empty_table(self, connection: Connection, name: str) -> None:
        """TRUNCATE, which a transaction can roll back."""
        connection.exec_driver_sql(f"TRUNCATE TABLE {name}")

    def upsert(self, table: TableClause, key: Sequence[str], rows: Select[Any], *, skip_unchanged: bool) -> list[UpdateBase]:
        """INSERT … SELECT … ON CONFLICT."""
        return on_conflict(pg.insert(table), table, key, rows, skip_unchanged=skip_unchanged)

    def merge(
        self,
        connection: Connection,
        table: TableClause,
        key: Sequence[str],
        rows: Select[Any],
        *,
        skip_unchanged: bool,
        count: int,
    ) -> Executable | None:
        """MERGE, where it is faster and does the same."""
        place = _place(connection, table.name, table.schema)
        return optimistic.merge(connection, place, table, key, rows, skip=skip_unchanged, count=count)


class _Unknown(sa.types.UserDefinedType[Any]):
    """A type that SQLAlchemy does not know."""

    cache_ok = True

    def __init__(self, name: str) -> None:
        self.name = name

    def get_col_spec(self, **_: object) -> str:
        """Its name."""
        return self.name


class _Text(_Unknown, sa.String):
    """A type of these that keeps a text as it is."""


def _place(connection: Connection, table: str, schema: str | None) -> str:
    """The table's quoted name, as a regclass."""
    return copy.plain(connection.dialect.identifier_preparer.format_table(sa.table(table, schema=schema)))


def _is_flat_array(data_type: DataType) -> bool:
    """An array of arrays may be ragged, which PostgreSQL's arrays cannot be: jsonb holds it."""
    return name_of(data_type) == "array" and name_of(data_type.elementType) not in NESTED  # type: ignore[attr-defined]


def _holds_integer(column: SqlType, data_type: DataType) -> bool:
    width = INTEGER_BYTES[name_of(data_type)]
    if isinstance(column, sa.Integer):
        return width <= integer_bytes(column)
    if isinstance(column, sa.REAL):
        return width <= 2
    if isinstance(column, sa.Float):
        return width <= 4
    return decimal_holds(column, data_type)


def _holds_scalar(column: SqlType, data_type: DataType) -> bool:
    name = name_of(data_type)
    if name in ("float", "double"):
        return isinstance(column, sa.Float) and (name == "float" or not isinstance(column, sa.REAL))
    if name == "decimal":
        return decimal_holds(column, data_type)
    if name in ("timestamp", "timestamp_ntz"):
        is_exact = getattr(column, "precision", None) in (None, 6)
        return isinstance(column, sa.DateTime) and is_exact and bool(column.timezone) == (name == "timestamp")
    own = {"boolean": sa.Boolean, "binary": sa.LargeBinary, "date": sa.Date}.get(name)
    return own is not None and isinstance(column, own)
