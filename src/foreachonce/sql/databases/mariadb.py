"""MariaDB and MySQL, by PyMySQL: rows go by LOAD DATA LOCAL INFILE, out of memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import sqlalchemy as sa
from sqlalchemy.dialects import mysql
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.dml import Update, UpdateBase
from sqlalchemy.sql.expression import Select, TableClause, TextClause

from foreachonce.errors import CommitInDoubt, ConfigurationError, SinkUnavailable
from foreachonce.sql.databases import load_data, mariadb_table, mariadb_types, named_locks
from foreachonce.sql.databases.base import Parameters, SqlType
from foreachonce.sql.databases.connections import connect, engine, once_a_process
from foreachonce.sql.databases.mariadb_errors import translate, words_of
from foreachonce.sql.ship import exact_as_text
from foreachonce.sql.statement import first_word
from foreachonce.sql.url import scrub, shown

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import Column
    from pyspark.sql.types import DataType

# Any other may commit by itself, or hold what does: CREATE, TRUNCATE, LOCK, CALL, SET, …
_IN_TRANSACTION = ("insert", "update", "delete", "replace", "select", "with", "do", "values")
_SCHEMA_LOCK = "foreachonce-schema"
_SCHEMA_SECONDS = 120
_MODES = (
    "STRICT_ALL_TABLES",
    "NO_ZERO_DATE",
    "NO_ZERO_IN_DATE",
    "ERROR_FOR_DIVISION_BY_ZERO",
    "NO_ENGINE_SUBSTITUTION",
    # Without it a 0 in an AUTO_INCREMENT column becomes the next number.
    "NO_AUTO_VALUE_ON_ZERO",
)
_SESSION = {
    "sql_mode": f"'{','.join(_MODES)}'",
    # The server writes and reads a TIMESTAMP in this zone.
    "time_zone": "'+00:00'",
    # While LOAD DATA waits for rows the server waits for the net: as long as Spark needs to compute them.
    "net_read_timeout": "28800",
    # For DDL the server would wait a day.
    "lock_wait_timeout": "120",
    "default_storage_engine": "InnoDB",
    "default_tmp_storage_engine": "InnoDB",
}


@dataclass(frozen=True)
class MariaDb:
    """MariaDB 10.11 or later and MySQL 8.0.13 or later, through PyMySQL."""

    guarantee: ClassVar[str] = "exactly once and atomic: rows and ledger entry are one MariaDB or MySQL transaction"
    is_parallel: ClassVar[bool] = True
    stage_kind: ClassVar[str] = ""
    temporary: ClassVar[str] = "ENGINE=InnoDB"
    # The session keeps them until it ends.
    empties_temporary: ClassVar[bool] = False
    # TRUNCATE TABLE would commit.
    empty: ClassVar[str] = "DELETE FROM"
    finds_duplicate_keys: ClassVar[bool] = False
    locks_in_order: ClassVar[bool] = True
    # Other collations take texts for equal that Spark tells apart.
    table_options: ClassVar[Mapping[str, str]] = {
        "mysql_engine": "InnoDB",
        "mysql_default_charset": "utf8mb4",
        "mysql_collate": "utf8mb4_bin",
    }

    def check_schema(self, keyword: str, schema: str) -> None:
        """A schema is another database of the same server."""

    @contextmanager
    def reading(self, url: URL) -> Iterator[Connection]:
        """A connection that reads what is committed, each statement for itself."""
        with _open(url) as connection:
            try:
                yield connection.execution_options(isolation_level="AUTOCOMMIT")
            except DBAPIError as error:
                raise translate(error, url, lost=SinkUnavailable) from None

    @contextmanager
    def writing(self, url: URL, *, executor: bool = False) -> Iterator[Connection]:
        """A transaction that is committed when the block ends; then its named locks are let go."""
        with _open(url) as connection:
            import pymysql

            try:
                with connection.begin():
                    yield connection
            except (DBAPIError, pymysql.Error) as error:
                raise translate(error, url, lost=CommitInDoubt) from None
            finally:
                named_locks.release(connection)

    def lock_schema(self, connection: Connection) -> None:
        """DDL commits by itself, so a lock of the session is needed; it is held until the block ends all the same."""
        if connection.execute(sa.select(sa.func.get_lock(_SCHEMA_LOCK, _SCHEMA_SECONDS))).scalar() != 1:
            raise SinkUnavailable(f"another process has been making tables for {_SCHEMA_SECONDS} seconds.")

    def share_lock(self, connection: Connection, key: int, anchor: Update) -> None:
        """A slot of the stream's."""
        named_locks.share(connection, key)

    def seize_lock(self, connection: Connection, key: int, anchor: Update) -> None:
        """The stream's gate; sessions that hold slots are ended."""
        named_locks.seize(connection, key)

    def execute(self, connection: Connection, statement: TextClause, parameters: Parameters) -> None:
        """One statement: PyMySQL asks the server to take no more. Whatever commits by itself is refused before it does."""
        word = first_word(statement.text)
        if word not in _IN_TRANSACTION:
            allowed = ", ".join(_IN_TRANSACTION).upper()
            raise ConfigurationError(
                f"tx.execute(): a statement that begins with {word.upper() or 'no word'!r} may commit by itself on MariaDB "
                f"and MySQL, and half a batch with it; allowed are {allowed}. Nothing was written."
            )
        connection.execute(statement, dict(parameters))

    def column_type(self, data_type: DataType) -> SqlType | None:
        """See mariadb_types."""
        return mariadb_types.column_type(data_type)

    def key_type(self, connection: Connection, column: SqlType) -> SqlType:
        """Texts of limited length, in the collation that also tells blanks at the end apart, where the server has it."""
        found = mariadb_types.key_type(column)
        if not isinstance(found, mysql.VARCHAR):
            return found
        dialect: Any = connection.dialect
        if dialect.is_mariadb:
            return mysql.VARCHAR(found.length, collation="utf8mb4_nopad_bin")
        is_new = dialect.server_version_info >= (8, 0, 17)
        return mysql.VARCHAR(found.length, collation="utf8mb4_0900_bin") if is_new else found

    def check_table(
        self, connection: Connection, table: str, schema: str | None, columns: Sequence[str], key: Sequence[str]
    ) -> None:
        """See mariadb_table."""
        mariadb_table.check_table(connection, table, schema, columns, key)

    def holds(self, column: SqlType, data_type: DataType) -> bool:
        """See mariadb_types."""
        return mariadb_types.holds(column, data_type)

    def ship(self, column: Column, data_type: DataType, target: SqlType) -> Column:
        """LOAD DATA reads texts."""
        return exact_as_text(column, data_type)

    def load(
        self, connection: Connection, table: TableClause, columns: Sequence[str], batches: Iterable[pa.RecordBatch]
    ) -> int:
        """See load_data."""
        return load_data.load(connection, table, columns, batches)

    def upsert(self, table: TableClause, key: Sequence[str], rows: Select[Any], *, skip_unchanged: bool) -> list[UpdateBase]:
        """INSERT … SELECT … ON DUPLICATE KEY UPDATE. The server itself leaves a row alone that is set to what it is."""
        names = [column.name for column in table.c]
        insert = mysql.insert(table).from_select(names, rows)
        changed: dict[str, Any] = {name: insert.inserted[name] for name in names if name not in key}
        # There must be something to set.
        return [insert.on_duplicate_key_update(changed or {key[0]: table.c[key[0]]})]


@once_a_process
def _engine(url: URL) -> Engine:
    session = ", ".join(f"{name} = {value}" for name, value in _SESSION.items())
    arguments = {"charset": "utf8mb4", "init_command": f"SET SESSION {session}"}
    if "local_infile" not in url.query:
        arguments["local_infile"] = True  # type: ignore[assignment]
    return engine(url, isolation_level="READ COMMITTED", connect_args=arguments)


def _open(url: URL) -> Connection:
    try:
        return connect(
            _engine,
            url,
            words=lambda error: words_of(error.orig, url),
            missing=lambda _: "MariaDB and MySQL need PyMySQL: pip install 'foreachonce[mariadb]'",
        )
    except RuntimeError as error:
        # PyMySQL's words where MySQL's passwords need the package cryptography, and TLS does not spare them.
        raise SinkUnavailable(f"no connection to {shown(url)}: {scrub(str(error), url)}") from None
