"""Which SQL columns hold Spark's numeric types without loss, and what Spark turns into text before it travels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa
from pyspark.sql.types import DataType, DecimalType

from foreachonce.sql.databases.base import SqlType

if TYPE_CHECKING:
    from pyspark.sql import Column

INTEGER_BYTES = {"tinyint": 1, "smallint": 2, "int": 4, "bigint": 8}
_INTEGER_DIGITS = {"tinyint": 3, "smallint": 5, "int": 10, "bigint": 19}
_TEXT = ("char", "varchar")
NESTED = ("array", "struct", "map", "variant")
# to_json's options: keep fields that are NULL, and microseconds, which its default formats cut to milliseconds.
JSON_OPTIONS = {
    "ignoreNullFields": "false",
    "timestampFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSSSSXXX",
    "timestampNTZFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSSSS",
}


def name_of(data_type: DataType) -> str:
    """Spark's short name without parameters: ``decimal``, ``array``, ``timestamp_ntz``; char and varchar are ``string``."""
    text = data_type.simpleString().split("(", 1)[0].split("<", 1)[0].split(" ", 1)[0]
    return "string" if text in _TEXT else text


def digits(data_type: DataType) -> tuple[int, int]:
    """How many digits a decimal or integer type has before and after the point."""
    if isinstance(data_type, DecimalType):
        return data_type.precision - data_type.scale, data_type.scale
    return _INTEGER_DIGITS[name_of(data_type)], 0


def numeric_holds(precision: int | None, scale: int | None, data_type: DataType) -> bool:
    """Whether ``numeric(precision, scale)`` holds every value of a decimal or integer type; None: no limit."""
    if precision is None:
        return True
    whole, fraction = digits(data_type)
    kept = scale or 0
    return fraction <= kept and whole <= precision - kept


def is_decimal(column: SqlType) -> bool:
    """Whether a column holds decimal fractions as they are."""
    # SQLAlchemy 2.0 counts Float as a kind of Numeric, 2.1 does not.
    return isinstance(column, sa.Numeric) and not isinstance(column, sa.Float)


def decimal_holds(column: SqlType, data_type: DataType) -> bool:
    """Whether a column of decimals holds every value of a decimal or integer type."""
    return is_decimal(column) and numeric_holds(column.precision, column.scale, data_type)  # type: ignore[attr-defined]


def integer_bytes(column: sa.Integer) -> int:
    """How wide a column of integers is, in databases that have two, four and eight bytes."""
    return 2 if isinstance(column, sa.SmallInteger) else 8 if isinstance(column, sa.BigInteger) else 4


def nested_as_json(column: Column, data_type: DataType) -> Column:
    """Nested values as JSON; others as they are."""
    from pyspark.sql import functions as F

    return F.to_json(column, JSON_OPTIONS) if name_of(data_type) in NESTED else column


def exact_as_text(column: Column, data_type: DataType) -> Column:
    """Nested values as JSON, decimals as plain text; others as they are."""
    return column.cast("string") if name_of(data_type) == "decimal" else nested_as_json(column, data_type)
