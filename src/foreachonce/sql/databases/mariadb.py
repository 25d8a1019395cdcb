"""MariaDB and MySQL, through PyMySQL: the session's settings, errors and types."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import sqlalchemy as sa
from sqlalchemy.dialects import mysql
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.expression import ColumnElement, Select, TableClause, TextClause

from foreachonce.errors import CommitInDoubt, ConfigurationError, Conflict, ForeachOnceError, SinkUnavailable, WriteFailed
from foreachonce.sql.databases import load_data, named_locks
from foreachonce.sql.databases.base import LoadingDatabase, Parameters, SqlType, StreamLock, first_word, pooled
from foreachonce.sql.databases.load_data import without_values
from foreachonce.sql.types import INTEGER_BYTES, NESTED, decimal_holds, digits, exact_as_text, name_of
from foreachonce.sql.url import scrub, shown

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import Column
    from pyspark.sql.types import DataType, StructField, StructType

# Any other may commit by itself, or run what does: CREATE, TRUNCATE, LOCK, CALL, SET, …
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
_LONGEST_NAME = 64
_SCALARS: dict[str, SqlType] = {
    "tinyint": mysql.TINYINT(),
    "smallint": mysql.SMALLINT(),
    "int": mysql.INTEGER(),
    "bigint": mysql.BIGINT(),
    # A FLOAT is shown with six digits: 16777215 comes back as 16777200.
    "float": mysql.DOUBLE(),
    "double": mysql.DOUBLE(),
    "boolean": mysql.TINYINT(display_width=1),
    "string": mysql.LONGTEXT(),
    "binary": mysql.LONGBLOB(),
    "date": sa.Date(),
    "timestamp": mysql.DATETIME(fsp=6),
    "timestamp_ntz": mysql.DATETIME(fsp=6),
}
_VERSION = sa.text("""
    select column_name, concat_ws(' ', column_type, collation_name) from information_schema.columns
    where table_schema = coalesce(:schema, database()) and table_name = :name
""")
_DECIMAL_SCALE = 30
# The types as the server names them; each is also a class of SQLAlchemy's.
_TEXTS = (mysql.VARCHAR, mysql.TINYTEXT, sa.Text, mysql.MEDIUMTEXT, mysql.LONGTEXT, sa.JSON)
_BLOBS = (sa.VARBINARY, sa.BLOB, mysql.TINYBLOB, mysql.MEDIUMBLOB, mysql.LONGBLOB)
_KEY_LENGTH = 255
# Source: mysqld_error.h and errmsg.h of both. The server shuts down (1053); a session was ended while it worked (1317, 1927,
# 3169); packets did not arrive (1152 to 1161); COMMIT itself went wrong (1180); the client's: gone, lost, out of step.
_LOST = {1053, 1152, 1158, 1159, 1160, 1161, 1180, 1317, 1927, 3169, 4031, 2006, 2013, 2014, 2027, 2055}
# The table's or a named lock's deadlock, a lock that was waited for too long, and a row that has changed under a snapshot.
_RACES = {1020, 1205, 1213, 3058}
# After a deadlock the server has rolled all back: a savepoint that is rolled back to is not there any more.
_NO_SAVEPOINT = re.compile(r"SAVEPOINT \S+ does not exist")


@dataclass(frozen=True)
class MariaDb(LoadingDatabase):
    """MariaDB 10.11 or later and MySQL 8.0.13 or later, through PyMySQL."""

    guarantee: ClassVar[str] = "exactly once and atomic: rows and ledger entry are one MariaDB or MySQL transaction"
    locks_in_order: ClassVar[bool] = True
    tells_case_apart: ClassVar[bool] = False
    unkeyed: ClassVar[tuple[str, ...]] = NESTED
    most_columns: ClassVar[int | None] = 1015
    # Other collations take texts for equal that Spark tells apart.
    table_options: ClassVar[Mapping[str, str]] = {
        "mysql_engine": "InnoDB",
        "mysql_default_charset": "utf8mb4",
        "mysql_collate": "utf8mb4_bin",
    }

    def make_engine(self, url: URL, *, executor: bool) -> Engine:
        """With READ COMMITTED: a statement after a lock must see what was committed while it was waited for."""
        session = ", ".join(f"{name} = {value}" for name, value in _SESSION.items())
        arguments: dict[str, object] = {"charset": "utf8mb4", "init_command": f"SET SESSION {session}"}
        if "local_infile" not in url.query:
            arguments["local_infile"] = True
        return pooled(url, isolation_level="READ COMMITTED", connect_args=arguments)

    def _connect(self, url: URL, *, executor: bool) -> Connection:
        try:
            return super()._connect(url, executor=executor)
        except RuntimeError as error:
            # PyMySQL, where MySQL's passwords need the package cryptography because there is no TLS.
            raise SinkUnavailable(f"no connection to {shown(url)}: {scrub(str(error), url)}") from None

    def _for_reading(self, connection: Connection) -> Connection:
        return connection.execution_options(isolation_level="AUTOCOMMIT")

    def _errors(self) -> tuple[type[Exception], ...]:
        import pymysql

        return (DBAPIError, pymysql.Error)

    def _release(self, connection: Connection) -> None:
        named_locks.release(connection)

    def _words(self, error: BaseException, url: URL) -> str:
        cause = error.orig if isinstance(error, DBAPIError) else error
        arguments = cause.args if cause is not None else ()
        text = str(arguments[1]) if len(arguments) > 1 else str(cause)
        return scrub(without_values(text), url) or "closed"

    def _missing_driver(self, error: ModuleNotFoundError, url: URL) -> str:
        return "MariaDB and MySQL need PyMySQL: pip install 'foreachonce[mariadb]'"

    def _translate(self, error: Exception, url: URL, *, is_writing: bool) -> ForeachOnceError:
        """By the error's number."""
        cause = error.orig if isinstance(error, DBAPIError) else error
        code = cause.args[0] if cause is not None and cause.args else 0
        words = self._words(error, url)
        text = f"{shown(url)}: {words}"
        # The driver has no number for a connection that was closed on this side.
        if code in _LOST or not isinstance(code, int) or code == 0:
            lost = CommitInDoubt if is_writing else SinkUnavailable
            return lost(f"the connection was lost: {text}")
        if code in _RACES or _NO_SAVEPOINT.search(words):
            return Conflict(f"another transaction was in the way: {text}")
        return WriteFailed(f"MariaDB or MySQL refused it ({code}), nothing was written: {text}")

    def lock_schema(self, connection: Connection) -> None:
        """By a lock of the session, since DDL commits by itself; it is held until the block ends all the same."""
        if connection.execute(sa.select(sa.func.get_lock(_SCHEMA_LOCK, _SCHEMA_SECONDS))).scalar() != 1:
            raise SinkUnavailable(f"another process has been making tables for {_SCHEMA_SECONDS} seconds.")

    def share_lock(self, connection: Connection, lock: StreamLock) -> None:
        """By one of the stream's slots."""
        named_locks.share(connection, lock.key)

    def seize_lock(self, connection: Connection, lock: StreamLock) -> None:
        """By the stream's gate; sessions that hold slots are ended."""
        named_locks.seize(connection, lock.key)

    def execute(self, connection: Connection, statement: TextClause, parameters: Parameters) -> None:
        """PyMySQL has the server take one statement only. One that commits by itself is refused before it does."""
        word = first_word(statement.text)
        if word not in _IN_TRANSACTION:
            allowed = ", ".join(_IN_TRANSACTION).upper()
            raise ConfigurationError(
                f"tx.execute(): a statement that begins with {word.upper() or 'no word'!r} may commit by itself on MariaDB "
                f"and MySQL, and half a batch with it; allowed are {allowed}. Nothing was written."
            )
        connection.execute(statement, dict(parameters))

    def name_problem(self, name: str) -> str | None:
        """Names are in the character set utf8mb3."""
        if len(name) > _LONGEST_NAME:
            return "is longer than MariaDB's and MySQL's 64 characters"
        if name != name.strip(" "):
            return "begins or ends with a blank, which MariaDB and MySQL drop"
        if "\n" in name:
            return "has a line break, which SQLAlchemy does not read back from MariaDB and MySQL"
        return "has a character beyond U+FFFF, which MariaDB and MySQL cannot name" if max(name) > "\uffff" else None

    def column_type(self, data_type: DataType) -> SqlType | None:
        """Scalars by name; nested values are JSON."""
        name = name_of(data_type)
        if name == "decimal":
            precision, scale = sum(digits(data_type)), digits(data_type)[1]
            return None if scale > _DECIMAL_SCALE else mysql.DECIMAL(precision, scale)
        return mysql.JSON() if name in NESTED else _SCALARS.get(name)

    def key_type(self, connection: Connection, column: SqlType) -> SqlType:
        """Texts of limited length, in a collation that tells trailing blanks apart, where the server has one."""
        if isinstance(column, mysql.LONGBLOB):
            return mysql.VARBINARY(_KEY_LENGTH)
        if not isinstance(column, mysql.LONGTEXT):
            return column
        dialect: Any = connection.dialect
        if dialect.is_mariadb:
            return mysql.VARCHAR(_KEY_LENGTH, collation="utf8mb4_nopad_bin")
        is_new = dialect.server_version_info >= (8, 0, 17)
        return mysql.VARCHAR(_KEY_LENGTH, collation="utf8mb4_0900_bin" if is_new else None)

    def check_table(
        self, connection: Connection, table: str, schema: str | None, frame: StructType, key: Sequence[str]
    ) -> None:
        """Engine, character sets, collations and indexes; see load_data."""
        load_data.check_table(connection, table, schema, frame.fieldNames(), key)

    def columns(self, connection: Connection, table: str, schema: str | None) -> dict[str, dict[str, Any]]:
        """SQLAlchemy 2 leaves a backtick in a name doubled, as SHOW CREATE TABLE writes it."""
        found = super().columns(connection, table, schema)
        return {name.replace("``", "`"): column for name, column in found.items()}

    def version(self, connection: Connection, table: str, schema: str | None, columns: Sequence[str]) -> str:
        """By one query to the catalog."""
        types = {row[0]: row[1] for row in connection.execute(_VERSION, {"schema": schema, "name": table})}
        return ", ".join(f"{name} {types.get(name, 'gone')}" for name in columns)

    def blurs(self, column: ColumnElement[Any], kind: str) -> ColumnElement[bool] | None:
        """Trailing blanks, where the column's collation ignores them."""
        if kind != "string":
            return None
        short = sa.func.rtrim(column)
        return sa.and_(column == short, sa.func.length(column) != sa.func.length(short))

    def sortable(self, column: ColumnElement[Any], kind: str) -> ColumnElement[Any]:
        """Spark orders texts by their bytes; a collation would ignore trailing blanks, at the least."""
        return sa.cast(column, sa.LargeBinary) if kind == "string" else column

    def holds(self, column: SqlType, data_type: DataType) -> bool:
        """Whether the column keeps every value that the server takes; the load refuses what is too long."""
        name = name_of(data_type)
        if getattr(column, "unsigned", False):
            return False
        if name in INTEGER_BYTES or name == "decimal":
            return _holds_exact(column, data_type)
        if name in ("float", "double"):
            # FLOAT(7,2) and DOUBLE(7,2) round.
            is_rounding = getattr(column, "scale", None) is not None
            wide = sa.Float if name == "float" else mysql.DOUBLE
            return isinstance(column, wide) and not is_rounding
        if name in ("timestamp", "timestamp_ntz"):
            # A TIMESTAMP ends in 2038, and LOAD DATA turns a NULL into the present time where the column is NOT NULL.
            return isinstance(column, mysql.DATETIME) and column.fsp == 6
        if name == "string" or name in NESTED:
            # CHAR drops trailing blanks; ENUM and SET do not tell upper case from lower.
            return isinstance(column, _TEXTS)
        own: dict[str, type | tuple[type, ...]] = {"boolean": mysql.TINYINT, "binary": _BLOBS, "date": sa.Date}
        return name in own and isinstance(column, own[name])

    def prepare_column(self, column: Column, field: StructField, target: SqlType) -> Column:
        """LOAD DATA reads text."""
        return exact_as_text(column, field)

    def load(
        self, connection: Connection, table: TableClause, columns: Sequence[str], batches: Iterable[pa.RecordBatch]
    ) -> int:
        """LOAD DATA LOCAL INFILE, or INSERTs where the server does not allow it."""
        return load_data.load(connection, table, columns, batches)

    def create_temporary(self, connection: Connection, name: str, query: str) -> None:
        """The session keeps the table, and its rows, until it ends."""
        connection.exec_driver_sql(f"CREATE TEMPORARY TABLE IF NOT EXISTS {name} ENGINE=InnoDB AS {query}")

    def upsert(self, table: TableClause, key: Sequence[str], rows: Select[Any], *, skip_unchanged: bool) -> list[UpdateBase]:
        """INSERT … SELECT … ON DUPLICATE KEY UPDATE. The server itself leaves a row alone that is set to what it is."""
        names = [column.name for column in table.c]
        insert = mysql.insert(table).from_select(names, rows)
        # Not ``insert.inserted``: SQLAlchemy doubles a percent sign in its names twice.
        changed: dict[str, Any] = {name: sa.func.values(sa.column(name)) for name in names if name not in key}
        # There must be something to set.
        return [insert.on_duplicate_key_update(changed or {key[0]: table.c[key[0]]})]


def _holds_exact(column: SqlType, data_type: DataType) -> bool:
    if isinstance(column, sa.Integer):
        return name_of(data_type) in INTEGER_BYTES and INTEGER_BYTES[name_of(data_type)] <= _bytes(column)
    return decimal_holds(column, data_type)


def _bytes(column: sa.Integer) -> int:
    widths = ((mysql.TINYINT, 1), (mysql.MEDIUMINT, 3), (sa.SmallInteger, 2), (sa.BigInteger, 8))
    return next((width for kind, width in widths if isinstance(column, kind)), 4)
