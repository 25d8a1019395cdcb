"""What the JDBC sink needs of a database; one module for each kind of database implements it."""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any, ClassVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import QueuePool
from sqlalchemy.sql.dml import Update, UpdateBase
from sqlalchemy.sql.expression import ColumnElement, Executable, Select, TableClause, TextClause
from sqlalchemy.types import TypeEngine

from foreachonce.errors import ForeachOnceError, SinkUnavailable, WriteFailed
from foreachonce.sql.url import shown

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import Column
    from pyspark.sql.types import DataType, StructField, StructType

SqlType = TypeEngine[Any]
Parameters = Mapping[str, object]

_COMMENT = re.compile(r"\s+|--[^\n]*(\n|$)|/\*.*?\*/", re.DOTALL)
# A transaction that is about to end may do so first; a commit takes less.
GRACE_SECONDS = 1.0
# How long a take-over waits for a session that it has ended.
SEIZE_SECONDS = 30


@dataclass(frozen=True, slots=True)
class StreamLock:
    """What stands for one stream of one ledger where a database locks it.

    Args:
        identity: the ledger's.
        stream: the stream's name.
        runs: the ledger's table of runs.
    """

    identity: str
    stream: str
    runs: sa.Table

    @property
    def key(self) -> int:
        """A number of 63 bits, for databases that name locks by number."""
        return int.from_bytes(sha256(f"{self.identity}/{self.stream}".encode()).digest()[:8], "big") >> 1

    @property
    def anchor(self) -> Update:
        """A statement that locks the row of the stream's first run, for databases that lock rows only.

        An UPDATE that changes nothing: SQLAlchemy omits FOR UPDATE where a database does not have it.
        """
        columns = self.runs.c
        wanted = sa.update(self.runs).where(columns.stream == self.stream, columns.token == 0)
        return wanted.values(run_id=columns.run_id)


class Database(ABC):
    """One kind of database. It has no state of its own; each process keeps its connections.

    Implementations must be hashable and travel to executors.
    """

    guarantee: ClassVar[str]
    finds_duplicate_keys: ClassVar[bool] = False
    """Whether a merge itself fails where the batch holds a key twice."""
    locks_in_order: ClassVar[bool] = False
    """Whether SELECT … FOR UPDATE may stand in a subquery, to lock rows in the order of their keys."""
    tells_case_apart: ClassVar[bool] = True
    """Whether names of columns that differ in case alone are two."""
    most_columns: ClassVar[int | None] = None
    """How many columns a frame may have, less those that the rows have beside them on their way; None: no limit is known."""
    unordered: ClassVar[tuple[str, ...]] = ()
    """Spark's types, by their short names, that the database orders in another way."""
    unkeyed: ClassVar[tuple[str, ...]] = ()
    """Spark's types, by their short names, that cannot be a key."""
    table_options: ClassVar[Mapping[str, str]] = {}
    """SQLAlchemy's options for a new table."""

    # --- transactions ------------------------------------------------------------------------------------------------

    @contextmanager
    def reading(self, url: URL) -> Iterator[Connection]:
        """A connection that reads what is committed.

        Raises:
            SinkUnavailable: no connection, or it was lost.
        """
        with self._connect(url, executor=False) as connection:
            try:
                yield self._for_reading(connection)
            except DBAPIError as error:
                raise self._translate(error, url, is_writing=False) from None

    @contextmanager
    def writing(self, url: URL, *, executor: bool = False) -> Iterator[Connection]:
        """A transaction: committed at the end of the block, rolled back where it raises.

        Args:
            url: the database's address.
            executor: whether an executor calls, and not the driver.

        Raises:
            SinkUnavailable: no connection could be made.
            WriteFailed: the database refused a statement; nothing was written.
            Conflict: another transaction was in the way; nothing was written.
            CommitInDoubt: the connection was lost; the ledger shows the outcome.
        """
        with self._connect(url, executor=executor) as connection:
            about: dict[str, str] = {}
            connection = connection.execution_options(foreachonce_about=about)
            try:
                with self._begin(connection, executor=executor):
                    yield connection
            except self._errors() as error:
                raise _about(self._translate(error, url, is_writing=True), about) from None
            finally:
                self._release(connection)

    def _connect(self, url: URL, *, executor: bool) -> Connection:
        try:
            return _engine(self, url, executor, os.getpid()).connect()
        except DBAPIError as error:
            raise self._no_connection(error, url, executor=executor) from None
        except ModuleNotFoundError as error:
            raise SinkUnavailable(self._missing_driver(error, url)) from None

    @abstractmethod
    def make_engine(self, url: URL, *, executor: bool) -> Engine:
        """An engine for an address; called once a process."""

    def _for_reading(self, connection: Connection) -> Connection:
        """The connection as it reads best."""
        return connection

    def _begin(self, connection: Connection, *, executor: bool) -> AbstractContextManager[object]:
        """Begin a transaction that writes."""
        return connection.begin()

    def _errors(self) -> tuple[type[Exception], ...]:
        """The errors that a block may raise: SQLAlchemy's, and the driver's own where it is called directly."""
        return (DBAPIError,)

    def _release(self, connection: Connection) -> None:  # noqa: B027 - most hold nothing
        """Release what the session still holds after a transaction."""

    @abstractmethod
    def _words(self, error: BaseException, url: URL) -> str:
        """What the driver said, without secrets and without the rows' values."""

    def _no_connection(self, error: DBAPIError, url: URL, *, executor: bool) -> SinkUnavailable:
        return SinkUnavailable(f"no connection to {shown(url)}: {self._words(error, url)}")

    def _missing_driver(self, error: ModuleNotFoundError, url: URL) -> str:
        """The message for a driver that is not installed."""
        return f"{shown(url)} needs a Python driver on the Spark driver: {error}"

    @abstractmethod
    def _translate(self, error: Exception, url: URL, *, is_writing: bool) -> ForeachOnceError:
        """The driver's error as one of this library's. A lost connection is CommitInDoubt where the block was writing."""

    # --- locks -------------------------------------------------------------------------------------------------------

    @abstractmethod
    def lock_schema(self, connection: Connection) -> None:
        """Until the transaction ends, hold off every other process that would create the same tables."""

    @abstractmethod
    def share_lock(self, connection: Connection, lock: StreamLock) -> None:
        """Until the transaction ends, hold off whoever would take the stream over."""

    @abstractmethod
    def seize_lock(self, connection: Connection, lock: StreamLock) -> None:
        """Lock the stream for this transaction alone; end other transactions that hold it.

        Raises:
            SinkUnavailable: a session holds it and cannot be ended.
        """

    # --- statements --------------------------------------------------------------------------------------------------

    @abstractmethod
    def execute(self, connection: Connection, statement: TextClause, parameters: Parameters) -> None:
        """Run one statement of the user's in the connection's transaction; never more than one, so no hidden COMMIT."""

    @abstractmethod
    def upsert(self, table: TableClause, key: Sequence[str], rows: Select[Any], *, skip_unchanged: bool) -> list[UpdateBase]:
        """Statements that insert ``rows``, or update the rows of the same key; with ``skip_unchanged`` only changed ones."""

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
        """A statement that does it faster for so many rows, and may fail beside other writers; None where there is none."""
        return None

    # --- types and tables --------------------------------------------------------------------------------------------

    def check_schema(self, keyword: str, schema: str) -> None:  # noqa: B027 - most take any
        """Refuse a schema= where the database has none."""

    def name_problem(self, name: str) -> str | None:
        """Why a table's or column's name cannot be kept as it is; None if it can."""
        return None

    @abstractmethod
    def column_type(self, data_type: DataType) -> SqlType | None:
        """The column type that holds a Spark type without loss; None where there is none."""

    def key_type(self, connection: Connection, column: SqlType) -> SqlType:
        """What ``column_type`` becomes in a key of a new table."""
        return column

    def check_table(  # noqa: B027 - for most only the columns matter
        self, connection: Connection, table: str, schema: str | None, frame: StructType, key: Sequence[str]
    ) -> None:
        """Refuse an existing table that cannot keep the promise, whatever its columns' types.

        Raises:
            FrameError: naming the table, what was found and what to do.
        """

    def columns(self, connection: Connection, table: str, schema: str | None) -> dict[str, dict[str, Any]]:
        """What SQLAlchemy reads of a table's columns, by name."""
        return {column["name"]: dict(column) for column in sa.inspect(connection).get_columns(table, schema=schema)}

    def version(self, connection: Connection, table: str, schema: str | None, columns: Sequence[str]) -> str:
        """The types of some of a table's columns, as a text that changes when one of them is altered."""
        known = self.columns(connection, table, schema)
        return ", ".join(f"{name} {known[name]['type']!r}" if name in known else f"no {name}" for name in columns)

    def may_lose_rows(self, connection: Connection, table: str, schema: str | None) -> bool:
        """Whether a trigger or a rule of the table can leave rows out without an error."""
        return False

    def sortable(self, column: ColumnElement[Any], kind: str) -> ColumnElement[Any]:
        """A column of a stage in a form that the database orders as Spark orders the type.

        Args:
            column: of the stage.
            kind: Spark's short name for its type, such as ``string``.
        """
        return column

    def blurs(self, column: ColumnElement[Any], kind: str) -> ColumnElement[bool] | None:
        """A condition that holds for texts of a key which the database takes for other texts too; None if there are none."""
        return None

    @abstractmethod
    def holds(self, column: SqlType, data_type: DataType) -> bool:
        """Whether a column of an existing table holds every value of a Spark type."""

    @abstractmethod
    def prepare_column(self, column: Column, field: StructField, target: SqlType) -> Column:
        """The Spark expression of a column's values in a form that the database's driver can carry."""


class LoadingDatabase(Database):
    """A database with a bulk load of its own, and with staging tables to load into."""

    is_parallel: ClassVar[bool] = True
    """Whether several tasks can write side by side."""

    @abstractmethod
    def load(
        self, connection: Connection, table: TableClause, columns: Sequence[str], batches: Iterable[pa.RecordBatch]
    ) -> int:
        """Write Arrow batches into ``columns`` of a table in the connection's transaction; return the number of rows."""

    def create_stage(self, connection: Connection, name: str, query: str) -> None:
        """Create a staging table with the columns of a query, unless it is there.

        Args:
            connection: in whose transaction.
            name: the table's name, quoted.
            query: a SELECT without rows.
        """
        connection.exec_driver_sql(f"CREATE TABLE IF NOT EXISTS {name} AS {query}")

    @abstractmethod
    def create_temporary(self, connection: Connection, name: str, query: str) -> None:
        """Create a temporary table, unless the connection has it; arguments as for :meth:`create_stage`."""

    def empty_table(self, connection: Connection, name: str) -> None:
        """Delete all rows of a staging table, in the transaction; MariaDB's TRUNCATE TABLE would commit it."""
        connection.exec_driver_sql(f"DELETE FROM {name}")  # noqa: S608 - a quoted name


def note_table(connection: Connection, table: object) -> None:
    """Note which table the connection writes from now on, for the errors of its transaction."""
    about = connection.get_execution_options().get("foreachonce_about")
    if about is not None:
        about["table"] = str(table)


def _about(error: ForeachOnceError, about: Mapping[str, str]) -> ForeachOnceError:
    table = about.get("table")
    if table is None or not isinstance(error, WriteFailed) or f"table {table}" in str(error):
        return error
    return WriteFailed(f"table {table}: {error}")


# How many idle connections a process keeps to a database. All streams of a driver may write at once, and none waits for the
# connection of another: how many there may be is the server's to say.
KEPT = 16


@cache
def _engine(database: Database, url: URL, executor: bool, process: int) -> Engine:
    """One engine for each process: a forked one must not use its parent's connections."""
    return database.make_engine(url, executor=executor)


def pooled(url: URL, **options: Any) -> Engine:
    """An engine that keeps its connections open: for a small batch, opening another would take longer than the batch.

    A connection that was lost meanwhile is replaced.
    """
    # hide_parameters: a failed statement's values are rows or offsets, and belong in no log.
    bounds = {"pool_size": KEPT, "max_overflow": -1}
    return sa.create_engine(url, poolclass=QueuePool, pool_pre_ping=True, hide_parameters=True, **bounds, **options)


def on_conflict(
    insert: postgresql.Insert | sqlite.Insert,
    table: TableClause,
    key: Sequence[str],
    rows: Select[Any],
    *,
    skip_unchanged: bool,
) -> list[UpdateBase]:
    """INSERT … SELECT … ON CONFLICT, as PostgreSQL and SQLite have it; other arguments as for :meth:`Database.upsert`.

    Args:
        insert: the dialect's INSERT into ``table``.
    """
    names = [column.name for column in table.c]
    insert = insert.from_select(names, rows)
    changed = {name: insert.excluded[name] for name in names if name not in key}
    if not changed:
        return [insert.on_conflict_do_nothing(index_elements=list(key))]
    differs = sa.or_(*(table.c[name].is_distinct_from(value) for name, value in changed.items()))
    where = differs if skip_unchanged else None
    return [insert.on_conflict_do_update(index_elements=list(key), set_=changed, where=where)]


def first_word(text: str) -> str:
    """A statement's first word in lower case, past blanks and comments; empty where it begins with none."""
    start = 0
    while blank := _COMMENT.match(text, start):
        start = blank.end()
    word = re.match(r"[a-z]+", text[start:].lower())
    return word.group() if word else ""
