"""Which SQL columns hold Spark's numeric types without loss, what becomes text before it travels, and what has no text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa
from pyspark.sql.types import ArrayType, DataType, DecimalType, MapType, StringType, StructField, StructType

from foreachonce.errors import WriteFailed
from foreachonce.spark.frames import NOTHING_WRITTEN, is_text, refusal
from foreachonce.sql.databases.base import SqlType

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import Column

NO_UTF8 = "a text is not valid UTF-8, which the database would refuse or change; decode it, or cast it to binary."
# 0001-01-01 and 9999-12-31 as days since 1970, and the microseconds of a day.
_FIRST_DAY, _LAST_DAY, _DAY = -719_162, 2_932_896, 86_400_000_000
INTEGER_BYTES = {"tinyint": 1, "smallint": 2, "int": 4, "bigint": 8}
_INTEGER_DIGITS = {"tinyint": 3, "smallint": 5, "int": 10, "bigint": 19}
_TEXT = ("char", "varchar")
NESTED = ("array", "struct", "map", "variant")
# to_json's options: keep fields that are NULL, and microseconds, which its default formats cut to milliseconds. Instants are
# written in UTC: a zone's offset had seconds before 1900, which the format would cut.
JSON_OPTIONS = {
    "ignoreNullFields": "false",
    "timeZone": "UTC",
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


def nested_as_json(column: Column, field: StructField) -> Column:
    """Nested values as JSON; others as they are.

    Instants are in UTC, bytes in base 64, and the keys of maps as their values would be. A text that is no UTF-8 fails the
    batch: ``to_json`` would put U+FFFD in its place.
    """
    return _Json(field.name).of(column, field.dataType) if name_of(field.dataType) in NESTED else column


def exact_as_text(column: Column, field: StructField) -> Column:
    """Nested values as JSON, decimals as plain text; others as they are."""
    return column.cast("string") if name_of(field.dataType) == "decimal" else nested_as_json(column, field)


@dataclass(frozen=True)
class _Json:
    """How a nested column becomes JSON: with its texts checked, and with texts for the keys of its maps."""

    name: str

    def of(self, value: Column, data_type: DataType) -> Column:
        from pyspark.sql import functions as F

        return F.to_json(self._careful(value, data_type), JSON_OPTIONS)

    def _careful(self, value: Column, data_type: DataType) -> Column:
        from pyspark.sql import functions as F

        if isinstance(data_type, StringType):
            return self._whole(value)
        if not _needs_care(data_type):
            return value
        if isinstance(data_type, ArrayType):
            element = data_type.elementType
            return F.transform(value, lambda each: self._careful(each, element))
        if isinstance(data_type, MapType):
            key, entry = data_type.keyType, data_type.valueType
            keyed = F.transform_keys(value, lambda each, _: self._key(each, key))
            return F.transform_values(keyed, lambda _, each: self._careful(each, entry))
        assert isinstance(data_type, StructType)
        fields = [self._careful(value.getField(each.name), each.dataType).alias(each.name) for each in data_type.fields]
        return F.when(value.isNotNull(), F.struct(*fields))

    def _key(self, key: Column, data_type: DataType) -> Column:
        """A map's key as text; ``to_json`` would write a date as a number of days, and bytes as an address in memory."""
        from pyspark.sql import functions as F

        name = name_of(data_type)
        if name == "string":
            return self._whole(key)
        if name in NESTED:
            return self.of(key, data_type)
        if name in ("binary", "date", "timestamp", "timestamp_ntz"):
            return F.get_json_object(F.to_json(F.struct(key.alias("key")), JSON_OPTIONS), "$.key")
        return key.cast("string")

    def _whole(self, text: Column) -> Column:
        """A text, checked to be UTF-8 by encoding it again, as every version of Spark can."""
        from pyspark.sql import functions as F

        is_whole = F.encode(text, "UTF-8") == text.cast("binary")
        refused = refusal(f"column {self.name!r}: {NO_UTF8}")
        return F.when(text.isNull() | is_whole, text).otherwise(refused.cast("string"))


def _needs_care(data_type: DataType) -> bool:
    if isinstance(data_type, ArrayType):
        return _needs_care(data_type.elementType)
    if isinstance(data_type, StructType):
        return any(_needs_care(field.dataType) for field in data_type.fields)
    return isinstance(data_type, MapType | StringType)


# --- values that have no text, or another ------------------------------------------------------------------------------


def refuse_unwritable(table: str, names: Sequence[str], batch: pa.RecordBatch) -> None:
    """Refuse values that have no text: for databases that take dates, times and texts as text.

    Arrow writes a year modulo 65,536, and years beyond 9999 would not sort as text.

    Raises:
        WriteFailed: naming the table, the column and what to do.
    """
    for name, column in zip(names, batch.columns, strict=True):
        if is_text(column.type) and not _is_utf8(column):
            raise WriteFailed(f"table {table}: column {name!r}: {NO_UTF8} {NOTHING_WRITTEN}")
        if _is_day_or_moment(column.type) and not _is_in_four_digits(column):
            raise WriteFailed(
                f"table {table}: column {name!r} of this batch has a year outside of 1 to 9999; "
                f"milliseconds may have been taken for seconds. Filter or mend such rows. {NOTHING_WRITTEN}"
            )


def refuse_unnumbered(table: str, numbered: Sequence[str], names: Sequence[str], batch: pa.RecordBatch) -> None:
    """Refuse NULL where the database would put the next number in its place.

    Args:
        table: its name.
        numbered: its columns that are numbered so.
        names: the batch's columns.
        batch: the rows.
    """
    for name, column in zip(names, batch.columns, strict=True):
        if column.null_count and name in numbered:
            raise WriteFailed(
                f"table {table}: column {name!r} holds NULL in this batch, and the database would put the next number in "
                f"its place; drop the column from the frame, or filter such rows out. {NOTHING_WRITTEN}"
            )


def _is_utf8(column: pa.Array) -> bool:
    import pyarrow as pa

    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _is_day_or_moment(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_date(kind) or pa.types.is_timestamp(kind))


def _is_in_four_digits(column: pa.Array) -> bool:
    """Whether all values are in the years 1 to 9999; an instant is looked at in UTC."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_date(column.type):
        numbers, least, most = column.cast(pa.int32()), _FIRST_DAY, _LAST_DAY
    else:
        numbers = column.cast(pa.timestamp("us", column.type.tz)).cast(pa.int64())
        least, most = _FIRST_DAY * _DAY, (_LAST_DAY + 1) * _DAY - 1
    extremes = pc.min_max(numbers)
    return extremes["min"].as_py() is None or (least <= extremes["min"].as_py() and extremes["max"].as_py() <= most)
