"""Any database that SQLAlchemy knows, by portable statements; Spark's JDBC writer brings the rows.

Nothing here names a dialect. Where databases differ, this refuses, or leaves it to the user: see
``docs/sinks/other-databases.md``.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, NotSupportedError, ProgrammingError
from sqlalchemy.sql.dml import Update, UpdateBase
from sqlalchemy.sql.expression import Select, TableClause, TextClause

from foreachonce.errors import CommitInDoubt, ConfigurationError, ForeachOnceError, SinkUnavailable, WriteFailed
from foreachonce.sql.databases.base import Database, Parameters, SqlType, StreamLock, pooled
from foreachonce.sql.schema import META, tables
from foreachonce.sql.types import INTEGER_BYTES, NESTED, decimal_holds, integer_bytes, name_of, nested_as_json
from foreachonce.sql.url import scrub, shown

if TYPE_CHECKING:
    from pyspark.sql import Column
    from pyspark.sql.types import DataType, StructField

# No timestamp without a time zone: JDBC's writer converts it by the JVM's zone, where an hour of spring is missing.
_TYPES: dict[str, SqlType] = {
    "tinyint": sa.SmallInteger(),
    "smallint": sa.SmallInteger(),
    "int": sa.Integer(),
    "bigint": sa.BigInteger(),
    "float": sa.Double(),
    "double": sa.Double(),
    "boolean": sa.Boolean(),
    "string": sa.Text(),
    "binary": sa.LargeBinary(),
    "date": sa.Date(),
    "timestamp": sa.DateTime(timezone=True),
    "array": sa.Text(),
    "struct": sa.Text(),
    "map": sa.Text(),
    "variant": sa.Text(),
}
# How long a run waits for another one's transaction on its stream, where the driver can cancel a statement.
WAIT_SECONDS = 30.0
# The errors by which a database refuses a statement; any other may be a lost connection.
_REFUSALS = (IntegrityError, DataError, ProgrammingError, NotSupportedError)


@dataclass(frozen=True)
class Generic(Database):
    """A database through SQLAlchemy's dialect for it.

    Args:
        ledger_schema: the ledger's schema; its rows are what is locked.
    """

    ledger_schema: str | None
    unordered: ClassVar[tuple[str, ...]] = ("string", "binary")
    guarantee: ClassVar[str] = "exactly once and atomic: rows and ledger entry are one transaction, by portable statements"

    def make_engine(self, url: URL, *, executor: bool) -> Engine:
        """With READ COMMITTED where there is that: a statement after a lock must see what was committed meanwhile."""
        made = pooled(url)
        levels: Sequence[str] = ()
        with suppress(NotImplementedError, AttributeError):
            levels = made.dialect.get_isolation_level_values(None)  # type: ignore[arg-type]
        return made.execution_options(isolation_level="READ COMMITTED") if "READ COMMITTED" in levels else made

    def _words(self, error: BaseException, url: URL) -> str:
        """The first line: what follows quotes rows."""
        cause = error.orig if isinstance(error, DBAPIError) else error
        lines = str(cause).strip().splitlines() or [type(cause).__name__]
        return re.sub(r"(?i)\b(password|pwd)=[^;&\s]*", r"\1=***", scrub(lines[0], url))

    def _translate(self, error: Exception, url: URL, *, is_writing: bool) -> ForeachOnceError:
        text = f"{shown(url)}: {self._words(error, url)}"
        if isinstance(error, _REFUSALS) and not error.connection_invalidated:
            return WriteFailed(f"the database refused it, nothing was written: {text}")
        lost = CommitInDoubt if is_writing else SinkUnavailable
        return lost(f"the connection was lost, or the transaction was ended: {text}")

    def lock_schema(self, connection: Connection) -> None:
        """By a row of the ledger. A new ledger has none yet; there whoever comes second is refused the table."""
        if sa.inspect(connection).has_table(META, schema=self.ledger_schema):
            meta = tables(self.ledger_schema).meta
            _lock(connection, sa.update(meta).where(meta.c.name == "identity").values(value=meta.c.value))

    def share_lock(self, connection: Connection, lock: StreamLock) -> None:
        """By a row's lock, which is not shared: two transactions of one stream wait for each other."""
        _lock(connection, lock.anchor)

    def seize_lock(self, connection: Connection, lock: StreamLock) -> None:
        """Wait for whoever holds it: no portable statement ends another session."""
        _lock(connection, lock.anchor)

    def execute(self, connection: Connection, statement: TextClause, parameters: Parameters) -> None:
        """Refuse semicolons: a driver may run what follows as another statement, a COMMIT too."""
        if ";" in statement.text.rstrip().rstrip(";"):
            raise ConfigurationError(
                "tx.execute() with spark_jdbc= takes one statement, and no semicolon in it: hand over a text with "
                "semicolons as a parameter."
            )
        connection.execute(statement, dict(parameters))

    def column_type(self, data_type: DataType) -> SqlType | None:
        """SQLAlchemy's generic types; nested values are JSON text."""
        if name_of(data_type) == "decimal":
            return sa.Numeric(data_type.precision, data_type.scale)  # type: ignore[attr-defined]
        return _TYPES.get(name_of(data_type))

    def key_type(self, connection: Connection, column: SqlType) -> SqlType:
        """Most databases must know how long a key's text may be."""
        return sa.String(255) if isinstance(column, sa.Text) else column

    def holds(self, column: SqlType, data_type: DataType) -> bool:
        """Only types that no known database changes values of; CHAR pads a text, and REAL rounds a number."""
        name = name_of(data_type)
        if name in INTEGER_BYTES:
            return _holds_integer(column, data_type)
        if name == "decimal":
            return decimal_holds(column, data_type)
        if name in ("float", "double"):
            is_wide = getattr(column, "precision", None) in (None, 53)
            return isinstance(column, sa.Float) and not isinstance(column, sa.REAL) and is_wide
        if name == "timestamp":
            is_exact = getattr(column, "precision", None) in (None, 6)
            return isinstance(column, sa.DateTime) and column.timezone and is_exact
        if name == "string" or name in NESTED:
            return isinstance(column, sa.String) and not isinstance(column, sa.Enum | sa.CHAR | sa.NCHAR)
        own = {"boolean": sa.Boolean, "binary": sa.LargeBinary, "date": sa.Date}.get(name)
        return own is not None and isinstance(column, own)

    def prepare_column(self, column: Column, field: StructField, target: SqlType) -> Column:
        """JDBC carries scalars; nested values become JSON."""
        return nested_as_json(column, field)

    def upsert(self, table: TableClause, key: Sequence[str], rows: Select[Any], *, skip_unchanged: bool) -> list[UpdateBase]:
        """UPDATE by correlated subqueries, then INSERT … WHERE NOT EXISTS."""
        incoming = rows.order_by(None).subquery("incoming")
        is_same = sa.and_(*(incoming.c[name] == table.c[name] for name in key))
        is_there = sa.select(sa.literal_column("1")).select_from(table).where(is_same).correlate(incoming).exists()
        names = [column.name for column in table.c]
        insert = sa.insert(table).from_select(names, sa.select(*(incoming.c[name] for name in names)).where(~is_there))
        others = [name for name in names if name not in key]
        if not others:
            return [insert]
        changed = [sa.true()] if not skip_unchanged else [_differs(table.c[name], incoming.c[name]) for name in others]
        comes: Select[Any] = (
            sa.select(sa.literal_column("1")).select_from(incoming).where(is_same, sa.or_(*changed)).correlate(table)
        )
        values = {name: sa.select(incoming.c[name]).where(is_same).correlate(table).scalar_subquery() for name in others}
        return [sa.update(table).values(values).where(comes.exists()), insert]


def _differs(one: sa.ColumnElement[Any], other: sa.ColumnElement[Any]) -> sa.ColumnElement[bool]:
    """IS DISTINCT FROM, for databases without it."""
    one_only = sa.and_(one.is_not(None), other.is_(None))
    return sa.or_(one != other, one_only, sa.and_(one.is_(None), other.is_not(None)))


def _holds_integer(column: SqlType, data_type: DataType) -> bool:
    if isinstance(column, sa.Integer):
        return INTEGER_BYTES[name_of(data_type)] <= integer_bytes(column)
    return decimal_holds(column, data_type)


def _lock(connection: Connection, statement: Update) -> None:
    with bounded(connection):
        connection.execute(statement)


@contextmanager
def bounded(connection: Connection) -> Iterator[None]:
    """Limit how long the block's statement waits for other transactions.

    Raises:
        SinkUnavailable: it waited that long.
    """
    late = threading.Event()

    def give_up() -> None:
        late.set()
        # PEP 249 has no cancel; psycopg, oracledb and others do. Without it the server's own limit decides.
        cancel = getattr(connection.connection.driver_connection, "cancel", None)
        if cancel is not None:
            cancel()

    timer = threading.Timer(WAIT_SECONDS, give_up)
    timer.start()
    try:
        yield
    except DBAPIError:
        if not late.is_set():
            raise
        raise SinkUnavailable(
            f"{shown(connection.engine.url)}: the stream is locked: another run's transaction on it has been open for more "
            f"than {WAIT_SECONDS:g} seconds. Nothing was written. A driver that stands still keeps the lock until it is "
            "ended, or the database ends its session."
        ) from None
    finally:
        timer.cancel()
        timer.join()
