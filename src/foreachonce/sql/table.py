"""The table that rows go to: created on first use, or compared with the frame before anything is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Literal

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.engine import Connection

from foreachonce.errors import ConfigurationError, FrameError, WriteFailed
from foreachonce.spark.frames import NOTHING_WRITTEN, backticked
from foreachonce.sql.databases.base import Database, SqlType
from foreachonce.sql.types import NESTED, name_of

if TYPE_CHECKING:
    from pyspark.sql import DataFrame
    from pyspark.sql.types import StructField, StructType

Mode = Literal["append", "merge", "overwrite", "changes"]
# What rows have beside their own columns on their way: the kind of change, the rank among rows of a key, the attempt of the
# task that staged them, and, where Spark's JDBC writer stages, the partition and the number of rows.
OP, RANK, ATTEMPT, PARTITION, ROWS = (f"foreachonce_{name}" for name in ("op", "rank", "attempt", "partition", "rows"))


@dataclass(frozen=True)
class SqlTarget:
    """A table to write to, and how.

    Args:
        table, schema: its name.
        mode: what becomes of rows that are there.
        key: the columns that identify a row, for a merge or a change stream.
        order_by: columns whose greatest values win where a batch holds a key more than once; never compared with the table.
        skip_unchanged: do not rewrite a row that would stay as it is.
        op: change streams only: the frame's column that says what a row does.
    """

    table: str
    schema: str | None
    mode: Mode = "append"
    key: tuple[str, ...] = ()
    order_by: tuple[str, ...] = ()
    skip_unchanged: bool = False
    op: str | None = None

    def __str__(self) -> str:
        return f"{self.schema}.{self.table}" if self.schema else self.table

    @cached_property
    def is_keyed(self) -> bool:
        """Whether rows are merged by key, and so pass through a stage."""
        return self.mode in ("merge", "changes")


@dataclass(frozen=True)
class Rows:
    """Where a frame's rows go. Properties are computed once a run.

    Args:
        target: the table.
        columns: the frame's columns, in order.
        kinds: Spark's short name for each column's type, such as ``decimal``.
        version: what the table's columns were when the frame was compared with them; see :meth:`Database.version`.
        may_lose: whether a trigger or a rule of the table could leave rows out without an error.
    """

    target: SqlTarget
    columns: tuple[str, ...]
    kinds: tuple[str, ...] = ()
    version: str = ""
    may_lose: bool = False

    def kind(self, column: str) -> str:
        """Spark's short name for a column's type."""
        return dict(zip(self.columns, self.kinds, strict=False)).get(column, "")

    def refuse_altered(self, connection: Connection, database: Database) -> None:
        """Refuse to write into a table that is another than the frame was compared with; called once rows are in it.

        From then on the transaction locks the table, so nobody can alter it before the commit.

        Raises:
            WriteFailed: naming the columns that have changed.
        """
        version = database.version(connection, self.target.table, self.target.schema, self.columns)
        if version != self.version:
            raise WriteFailed(
                f"table {self.target} was altered while the query ran: it has {version}, and had {self.version} when the "
                f"frame was compared with it. Start the query again, which compares them anew. {NOTHING_WRITTEN}"
            )

    @cached_property
    def clause(self) -> sa.TableClause:
        """The table for statements, with just these columns."""
        return sa.table(self.target.table, *(sa.column(name) for name in self.columns), schema=self.target.schema)

    @cached_property
    def staged(self) -> tuple[str, ...]:
        """The columns of a stage: in a change stream each row also says what it does."""
        return (*self.columns, OP) if self.target.mode == "changes" else self.columns

    @cached_property
    def shape(self) -> str:
        """12 hexadecimal digits: other columns, or another table, need another stage."""
        return sha256("/".join([str(self.target), *self.staged, self.version]).encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class TableLoad:
    """A checked frame in the form in which it travels, the table's columns for its rows, and their types."""

    frame: DataFrame
    rows: Rows
    types: tuple[SqlType, ...]


def quoted(connection: Connection, table: sa.TableClause) -> str:
    """A table's name as the dialect quotes it."""
    return connection.dialect.identifier_preparer.format_table(table)


def check_target(target: SqlTarget) -> None:
    """Refuse a bad table name, and keywords that contradict each other.

    Raises:
        ConfigurationError: naming the keyword.
    """
    if not isinstance(target.table, str):
        raise ConfigurationError(f"table={target.table!r} must be a table's name.")
    if "." in target.table:
        schema, _, table = target.table.rpartition(".")
        raise ConfigurationError(f"table= is a name without its schema: write schema={schema!r}, table={table!r}.")
    _check_key_keywords(target)


def _check_key_keywords(target: SqlTarget) -> None:
    mode = target.mode
    if target.is_keyed and not target.key:
        raise ConfigurationError(f"mode={mode!r} into table {target} needs key=, the columns that identify its rows.")
    if not target.is_keyed and (target.key or target.order_by or target.skip_unchanged):
        raise ConfigurationError(
            f"table {target}: key=, order_by= and skip_unchanged= belong to mode='merge' or 'changes'; mode={mode!r} takes "
            "none of them."
        )
    if mode == "changes" and not target.op:
        raise ConfigurationError(f"mode='changes' into table {target} needs op=, the column that says what a row does.")
    if mode == "changes" and not target.order_by:
        raise ConfigurationError(
            f"mode='changes' into table {target} needs order_by=, the columns that say which change of a key is the last."
        )
    if mode != "changes" and target.op is not None:
        raise ConfigurationError(f"table {target}: op={target.op!r} belongs to mode='changes'.")


def columns_of(
    connection: Connection, database: Database, target: SqlTarget, frame: StructType, *, create: bool
) -> dict[str, SqlType]:
    """Check the frame, without its ``op``, against the table, and return the table's types for the frame's columns.

    Raises:
        FrameError: naming the table, the column, what was found and what to do.
    """
    inspector = sa.inspect(connection)
    if not inspector.has_table(target.table, schema=target.schema):
        if not create:
            raise FrameError(f"table {target} does not exist; create it, or let the sink do it with create_table=True.")
        _create(connection, database, target, frame)
        inspector.clear_cache()
    existing = database.columns(connection, target.table, target.schema)
    _check_names(target, frame, existing)
    _check_types(connection, database, target, frame, existing)
    if target.is_keyed:
        _check_key(inspector, target)
    database.check_table(connection, target.table, target.schema, frame, target.key)
    return {field.name: existing[field.name]["type"] for field in frame.fields}


def without_op(target: SqlTarget, frame: StructType) -> StructType:
    """The frame's columns that the table has too."""
    return type(frame)([field for field in frame.fields if field.name != target.op])


def _check_names(target: SqlTarget, frame: StructType, existing: dict[str, Any]) -> None:
    names = frame.fieldNames()
    extra = [name for name in names if name not in existing]
    if extra:
        which = f"column {extra[0]!r} is" if len(extra) == 1 else f"columns {extra} are"
        raise FrameError(
            f"table {target}: the frame's {which} not in the table, which has {_list(existing)}; "
            "drop or rename it in the frame, or add it to the table."
        )
    computed = [name for name in names if existing[name].get("computed")]
    always = [name for name in names if (existing[name].get("identity") or {}).get("always")]
    if computed or always:
        how = "computes" if computed else "numbers (GENERATED ALWAYS AS IDENTITY)"
        raise FrameError(
            f"table {target}: the frame has {(computed or always)!r}, which the table {how} itself; drop it from the frame"
            f"{'' if computed else ', or alter it to GENERATED BY DEFAULT'}."
        )
    for name, column in existing.items():
        is_filled = column["nullable"] or column.get("default") or column.get("identity") or column.get("computed")
        if name not in names and not (is_filled or column.get("autoincrement") is True):
            raise FrameError(
                f"table {target}: column {name!r} is NOT NULL without a default, and the frame lacks it; "
                "add it to the frame, or give it a default."
            )


def _check_types(
    connection: Connection, database: Database, target: SqlTarget, frame: StructType, existing: dict[str, Any]
) -> None:
    """Refuse columns that would not hold every value; all that do not fit are named at once."""
    unfit = [field for field in frame.fields if not database.holds(existing[field.name]["type"], field.dataType)]
    if unfit:
        each = "; ".join(_misfit(field, existing[field.name]["type"], connection) for field in unfit)
        raise FrameError(f"table {target}: these columns do not hold every value of the frame's (docs/types.md): {each}.")
    if target.skip_unchanged and (
        unequal := [name for name in frame.fieldNames() if _is_plain_json(existing[name]["type"])]
    ):
        raise FrameError(
            f"table {target}: skip_unchanged=True compares values, and json ({_list(unequal)}) has no equality; alter it to "
            "jsonb, or leave skip_unchanged= out."
        )


def _is_plain_json(column: SqlType) -> bool:
    return isinstance(column, postgresql.JSON) and not isinstance(column, postgresql.JSONB)


def _misfit(field: StructField, column: SqlType, connection: Connection) -> str:
    """A column that does not fit, and the cast that would make it fit."""
    kind, there = name_of(field.dataType), _sql_name(column, connection)
    what = f"column {field.name!r} is {there} there and {field.dataType.simpleString()} in the frame"
    if isinstance(column, sa.DateTime) and kind in ("timestamp", "timestamp_ntz"):
        return f"{what}: {_moment_advice(field.name, column, kind)}"
    if isinstance(column, sa.CHAR):
        return f"{what}: it pads with blanks, alter it to varchar"
    if isinstance(column, sa.String) and kind not in NESTED:
        return f"{what}: cast it to string"
    return f"{what}: cast the frame's, or alter the table's"


def _moment_advice(name: str, column: sa.DateTime, kind: str) -> str:
    if isinstance(column, mysql.DATETIME | mysql.TIMESTAMP):
        return "alter it to DATETIME(6)"
    if column.timezone == (kind == "timestamp"):
        return "alter it to microseconds"
    if kind == "timestamp":
        # Spark's own JDBC writer makes such columns, and writes the wall clock of the JVM's zone.
        return f"cast({backticked(name)} as timestamp_ntz) writes the wall clock of spark.sql.session.timeZone"
    return f"cast({backticked(name)} as timestamp) takes it for the wall clock of spark.sql.session.timeZone"


def _check_key(inspector: sa.Inspector, target: SqlTarget) -> None:
    """ON CONFLICT needs a unique index on just the key's columns."""
    table, schema = target.table, target.schema
    primary = inspector.get_pk_constraint(table, schema=schema)["constrained_columns"]
    unique = [constraint["column_names"] for constraint in inspector.get_unique_constraints(table, schema=schema)]
    indexes: list[list[Any]] = [
        list(index["column_names"])
        for index in inspector.get_indexes(table, schema=schema)
        if index["unique"] and not any("where" in option for option in index.get("dialect_options", {}))
    ]
    if not any(set(columns) == set(target.key) for columns in (primary, *unique, *indexes)):
        raise FrameError(
            f"table {target} has no unique index on key=({_list(target.key)}), which keeps rows of one key from doubling; "
            f"create one: create unique index on {target} ({', '.join(target.key)})."
        )


def _create(connection: Connection, database: Database, target: SqlTarget, frame: StructType) -> None:
    columns = []
    for field in frame.fields:
        column_type = database.column_type(field.dataType)
        if column_type is None:
            raise FrameError(
                f"table {target}: no column type holds the frame's {field.name!r} ({field.dataType.simpleString()}); "
                "cast it, for example to string."
            )
        is_key = field.name in target.key
        column_type = database.key_type(connection, column_type) if is_key else column_type
        columns.append(sa.Column(field.name, column_type, primary_key=is_key, autoincrement=False))
    database.lock_schema(connection)
    options: dict[str, Any] = dict(database.table_options)
    table = sa.Table(target.table, sa.MetaData(), *columns, schema=target.schema, **options)
    table.create(connection, checkfirst=True)


def _sql_name(column: SqlType, connection: Connection) -> str:
    return "untyped" if isinstance(column, sa.types.NullType) else column.compile(dialect=connection.dialect)


def _list(names: Sequence[str] | dict[str, Any]) -> str:
    return ", ".join(names)
