"""Any database that SQLAlchemy knows, by statements that all of them have; Spark's JDBC writer brings the rows.

Nothing here names a dialect. What databases differ in is refused, or left to the user: see ``docs/guarantees.md``.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, NotSupportedError, ProgrammingError
from sqlalchemy.sql.dml import Update, UpdateBase
from sqlalchemy.sql.expression import Select, TableClause, TextClause

from foreachonce.errors import CommitInDoubt, ConfigurationError, ForeachOnceError, SinkUnavailable, WriteFailed
from foreachonce.sql.databases.base import Parameters, SqlType
from foreachonce.sql.databases.connections import connect, engine, once_a_process
from foreachonce.sql.schema import META, tables
from foreachonce.sql.ship import nested_as_json
from foreachonce.sql.types import INTEGER_BYTES, NESTED, decimal_holds, integer_bytes, name_of
from foreachonce.sql.url import scrub, shown

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import Column
    from pyspark.sql.types import DataType

# No timestamp without a time zone: JDBC's writer takes it through the JVM's zone, where an hour of spring is missing.
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
# The errors by which a database refuses a statement; every other one may be a lost connection.
_REFUSALS = (IntegrityError, DataError, ProgrammingError, NotSupportedError)


@dataclass(frozen=True)
class Generic:
    """A database through SQLAlchemy's dialect for it.

    Args:
        ledger_schema: where the ledger is: its rows are what is locked.
    """

    ledger_schema: str | None
    guarantee: ClassVar[str] = "exactly once and atomic: rows and ledger entry are one transaction, by portable statements"
    is_parallel: ClassVar[bool] = True
    stage_kind: ClassVar[str] = ""
    temporary: ClassVar[str] = ""
    empties_temporary: ClassVar[bool] = True
    empty: ClassVar[str] = "DELETE FROM"
    finds_duplicate_keys: ClassVar[bool] = False
    locks_in_order: ClassVar[bool] = False
    table_options: ClassVar[Mapping[str, str]] = {}

    def check_schema(self, keyword: str, schema: str) -> None:
        """The database will tell."""

    @contextmanager
    def reading(self, url: URL) -> Iterator[Connection]:
        """A connection that reads what is committed."""
        with _open(url) as connection:
            try:
                yield connection
            except DBAPIError as error:
                raise _translate(error, url, lost=SinkUnavailable) from None

    @contextmanager
    def writing(self, url: URL, *, executor: bool = False) -> Iterator[Connection]:
        """A transaction that is committed when the block ends."""
        with _open(url) as connection:
            try:
                with connection.begin():
                    yield connection
            except DBAPIError as error:
                raise _translate(error, url, lost=CommitInDoubt) from None

    def lock_schema(self, connection: Connection) -> None:
        """By a row of the ledger; a ledger that is not there yet has none, and who comes second is refused a table."""
        if sa.inspect(connection).has_table(META, schema=self.ledger_schema):
            meta = tables(self.ledger_schema).meta
            _lock(connection, sa.update(meta).where(meta.c.name == "identity").values(value=meta.c.value))

    def share_lock(self, connection: Connection, key: int, anchor: Update) -> None:
        """The row's lock is not shared: two transactions of one stream wait for each other."""
        _lock(connection, anchor)

    def seize_lock(self, connection: Connection, key: int, anchor: Update) -> None:
        """Wait for whoever holds it. No statement that all databases have ends another session."""
        _lock(connection, anchor)

    def execute(self, connection: Connection, statement: TextClause, parameters: Parameters) -> None:
        """A driver may run what stands behind a semicolon as a statement of its own, a COMMIT too: so none is taken."""
        if ";" in statement.text.rstrip().rstrip(";"):
            raise ConfigurationError(
                "tx.execute() with spark_jdbc= takes one statement, and no semicolon in it: hand over a text with "
                "semicolons as a parameter."
            )
        connection.execute(statement, dict(parameters))

    def column_type(self, data_type: DataType) -> SqlType | None:
        """SQLAlchemy's generic types; what is nested goes as JSON text."""
        if name_of(data_type) == "decimal":
            return sa.Numeric(data_type.precision, data_type.scale)  # type: ignore[attr-defined]
        return _TYPES.get(name_of(data_type))

    def key_type(self, connection: Connection, column: SqlType) -> SqlType:
        """Most databases must know how long a key's text may be."""
        return sa.String(255) if isinstance(column, sa.Text) else column

    def check_table(
        self, connection: Connection, table: str, schema: str | None, columns: Sequence[str], key: Sequence[str]
    ) -> None:
        """Nothing is known of its tables."""

    def holds(self, column: SqlType, data_type: DataType) -> bool:
        """Only what no database is known to change on the way; CHAR pads a text, and REAL cuts a number."""
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

    def ship(self, column: Column, data_type: DataType, target: SqlType) -> Column:
        """JDBC carries scalars; what is nested becomes JSON."""
        return nested_as_json(column, data_type)

    def load(
        self, connection: Connection, table: TableClause, columns: Sequence[str], batches: Iterable[pa.RecordBatch]
    ) -> int:
        """Rows do not come this way: :mod:`foreachonce.sql.spark_jdbc` has them written by Spark."""
        raise NotImplementedError("rows go by Spark's JDBC writer")

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


@once_a_process
def _engine(url: URL) -> Engine:
    made = engine(url)
    levels: Sequence[str] = ()
    with suppress(NotImplementedError, AttributeError):
        levels = made.dialect.get_isolation_level_values(None)  # type: ignore[arg-type]
    # A statement after a lock must see what was committed while the lock was waited for.
    return made.execution_options(isolation_level="READ COMMITTED") if "READ COMMITTED" in levels else made


def _open(url: URL) -> Connection:
    return connect(
        _engine,
        url,
        words=lambda error: _words(error, url),
        missing=lambda error: f"{shown(url)} needs a Python driver on the Spark driver: {error}",
    )


def _lock(connection: Connection, statement: Update) -> None:
    with bounded(connection):
        connection.execute(statement)


@contextmanager
def bounded(connection: Connection) -> Iterator[None]:
    """Let the block's statement wait for other transactions so long and no longer.

    Raises:
        SinkUnavailable: another transaction was in its way all the time.
    """
    late = threading.Event()

    def give_up() -> None:
        late.set()
        # PEP 249 knows no cancel; psycopg, oracledb and others have it. Without it the server's own limit decides.
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


def _translate(error: DBAPIError, url: URL, *, lost: type[CommitInDoubt | SinkUnavailable]) -> ForeachOnceError:
    text = f"{shown(url)}: {_words(error, url)}"
    if isinstance(error, _REFUSALS) and not error.connection_invalidated:
        return WriteFailed(f"the database refused it, nothing was written: {text}")
    return lost(f"the connection was lost, or the transaction was ended: {text}")


def _words(error: DBAPIError, url: URL) -> str:
    """The first line of the driver's text, without secrets: what follows quotes rows."""
    lines = str(error.orig).strip().splitlines() or [type(error.orig).__name__]
    return re.sub(r"(?i)\b(password|pwd)=[^;&\s]*", r"\1=***", scrub(lines[0], url))
