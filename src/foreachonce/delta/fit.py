"""Whether a frame fits a Delta table: its columns, and their types without loss.

Delta's MERGE silently drops columns that the table lacks. MERGE, and an append to a table by its name, silently round what
the table's type does not hold. An append to a path casts nothing but narrower integers. Every write pads what goes into a
``char(n)`` column, and MERGE compares keys before they are padded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from pyspark.sql.types import (
    ArrayType,
    ByteType,
    DataType,
    DateType,
    DecimalType,
    DoubleType,
    FloatType,
    IntegerType,
    LongType,
    MapType,
    NullType,
    ShortType,
    StringType,
    StructField,
    StructType,
    TimestampNTZType,
)

from foreachonce.delta.target import DeltaTarget, shown
from foreachonce.errors import FrameError
from foreachonce.spark.frames import backticked

# How many decimal digits the greatest value of each has.
_DIGITS: dict[type[DataType], int] = {ByteType: 3, ShortType: 5, IntegerType: 10, LongType: 19}
_INTEGERS = list(_DIGITS)
# What each holds exactly: a float has 24 bits for a number's digits, a double 53.
_EXACT: dict[type[DataType], tuple[type[DataType], ...]] = {
    FloatType: (ByteType, ShortType),
    DoubleType: (ByteType, ShortType, IntegerType, FloatType),
    TimestampNTZType: (DateType,),
}
# Where Spark keeps that a text, or a text inside of a column, was declared as char(n) or varchar(n).
DECLARED = "__CHAR_VARCHAR_TYPE_STRING"
# Types that Spark neither compares nor orders, by the names of their classes, which not every version has.
_UNORDERED = ("MapType", "VariantType", "CalendarIntervalType", "GeographyType", "GeometryType")
_COLLATED = re.compile(r"string collate \w+")


def check_columns(target: DeltaTarget, columns: Sequence[str], existing: Sequence[str]) -> None:
    """Refuse a frame that lacks a key, or whose columns are not the table's.

    Args:
        target: the table and how it is written.
        columns: the frame's.
        existing: the table's; empty if there is no table.

    Raises:
        FrameError: naming the columns.
    """
    where, names = f"table {shown(target.place)}", {name.lower() for name in columns}
    for keyword, wanted in (("key", target.key), ("order_by", target.order_by)):
        missing = [name for name in wanted if name.lower() not in names]
        if missing:
            raise FrameError(f"{where}: the frame lacks {keyword}={missing}; it has {list(columns)}. Nothing was written.")
    extra = [name for name in columns if name.lower() not in {column.lower() for column in existing}]
    if existing and extra and not target.merge_schema:
        raise FrameError(
            f"{where}: it lacks the frame's columns {extra}; drop them from the frame, or give the sink merge_schema=True "
            "to add them. Nothing was written."
        )
    lacking = [name for name in existing if name.lower() not in names]
    if lacking and target.mode == "merge" and not target.merge_schema:
        raise FrameError(
            f"{where}: the frame lacks the table's columns {lacking}; add them to the frame, or give the sink "
            "merge_schema=True, which leaves them as they are and computes those that Delta generates. Nothing was written."
        )


def check_order(target: DeltaTarget, schema: StructType) -> None:
    """Refuse a key or an order of a type that Spark does not compare: without it the first batch alone would be written.

    Raises:
        FrameError: naming the keyword, the column and its type.
    """
    types = {field.name.lower(): field.dataType for field in schema.fields}
    for keyword, names, advice in (
        ("key", target.key, "does not compare; name columns of other types, or make it text in the query"),
        ("order_by", target.order_by, "does not order; order by a number, a date or a timestamp"),
    ):
        for name in names:
            if not _is_ordered(types[name.lower()]):
                raise FrameError(
                    f"table {shown(target.place)}: {keyword}= names {name!r}, {types[name.lower()].simpleString()}, which "
                    f"Spark {advice}. Nothing was written."
                )


def _is_ordered(kind: DataType) -> bool:
    if isinstance(kind, StructType):
        return all(_is_ordered(field.dataType) for field in kind.fields)
    if isinstance(kind, ArrayType):
        return _is_ordered(kind.elementType)
    return type(kind).__name__ not in _UNORDERED


def padded(field: StructField) -> str | None:
    """How a column was declared whose texts are padded with blanks; None for any other. ``char(n)`` may be inside of it."""
    declared = str(field.metadata.get(DECLARED, ""))
    return declared if re.search(r"\bchar\(\d+\)", declared) else None


def check_padding(target: DeltaTarget, columns: Sequence[str], existing: StructType) -> None:
    """Refuse a frame that writes a ``char(n)`` column: another text would come back, and a key would come twice.

    Args:
        target: the table and how it is written.
        columns: the frame's.
        existing: the table's; without fields if there is no table.

    Raises:
        FrameError: naming the column.
    """
    names = {name.lower() for name in columns}
    for field in existing.fields:
        declared = padded(field)
        if declared is not None and field.name.lower() in names:
            raise FrameError(
                f"table {shown(target.place)}: column {field.name!r} is {declared} there, which pads a text with blanks, so "
                f"another text comes back; {_unpadded(field.name, declared)}. Nothing was written."
            )


def _unpadded(name: str, declared: str) -> str:
    if declared.startswith("char("):
        return f"alter it to string or varchar: ALTER TABLE … ALTER COLUMN {backticked(name)} TYPE string"
    # ALTER COLUMN a.element TYPE string succeeds, and Spark pads as before.
    return "make the table anew with string or varchar there, since ALTER TABLE does not end the padding inside of a column"


def check_collations(target: DeltaTarget, schema: StructType, existing: StructType) -> None:
    """Name a column with a collation that is why Delta or Spark has refused the frame; their advice is no good one.

    Args:
        target: the table and how it is written.
        schema: the frame's.
        existing: the table's; without fields if there is no table.

    Raises:
        FrameError: naming the column and its types.
    """
    columns = {name: column for name, _, column in _common(schema, existing)}
    for field in schema.fields:
        value, column = field.dataType.simpleString(), columns.get(field.name, StringType()).simpleString()
        if (_COLLATED.search(value) or _COLLATED.search(column)) and (value != column or field.name not in columns):
            there = f"{column} there and {value}" if field.name in columns else value
            wanted = column if _COLLATED.fullmatch(column) else "string collate UTF8_BINARY"
            raise FrameError(
                f"table {shown(target.place)}: column {field.name!r} is {there} in the frame, and Delta keeps no text of "
                f"another collation than the column's; cast it in the query: cast(… as {wanted}). Nothing was written."
            )


def check_types(target: DeltaTarget, schema: StructType, existing: StructType, widens: Callable[[], bool]) -> None:
    """Refuse a frame with a column whose values the table may change.

    Args:
        target: the table and how it is written.
        schema: the frame's.
        existing: the table's; without fields if there is no table.
        widens: whether Delta widens a column of the table to the frame's type; called only if a type does not fit.

    Raises:
        FrameError: naming the column and both types.
    """
    for name, value, column in _common(schema, existing):
        if not fits(value, column) and not (widens() and fits(value, column, widens=True)):
            raise FrameError(
                f"table {shown(target.place)}: column {name!r} is {column.simpleString()} there and {value.simpleString()} "
                "in the frame, so the table may not hold its values unchanged; cast it in the query. Nothing was written."
            )


def fits(value: DataType, column: DataType, *, widens: bool = False) -> bool:
    """Whether a table's column holds every value of a frame's type unchanged. Fields of structs are matched by name.

    A number or a date does not fit into text: its form as text would be a choice.

    Args:
        value: the frame's type.
        column: the column's.
        widens: whether Delta may widen the column first.
    """
    if isinstance(value, StructType) and isinstance(column, StructType):
        return all(fits(*types, widens=widens) for _, *types in _common(value, column))
    if isinstance(value, ArrayType) and isinstance(column, ArrayType):
        return fits(value.elementType, column.elementType, widens=widens)
    if isinstance(value, MapType) and isinstance(column, MapType):
        pairs = (value.keyType, column.keyType), (value.valueType, column.valueType)
        return all(fits(*types, widens=widens) for types in pairs)
    return _holds(column, value) or (widens and _can_widen(column, value) and _holds(value, column))


def _common(schema: StructType, existing: StructType) -> Iterator[tuple[str, DataType, DataType]]:
    """Yield name and types of the columns that both have; Delta does not tell names apart by case."""
    columns = {field.name.lower(): field.dataType for field in existing.fields}
    for field in schema.fields:
        if field.name.lower() in columns:
            yield field.name, field.dataType, columns[field.name.lower()]


def _holds(column: DataType, value: DataType) -> bool:
    if isinstance(value, NullType) or value == column or (isinstance(value, StringType) and isinstance(column, StringType)):
        return True
    if isinstance(column, DecimalType):
        whole, fraction = _digits(value)
        return whole <= column.precision - column.scale and fraction <= column.scale
    if type(column) in _INTEGERS and type(value) in _INTEGERS:
        return _INTEGERS.index(type(value)) < _INTEGERS.index(type(column))
    return type(value) in _EXACT.get(type(column), ())


def _digits(value: DataType) -> tuple[float, int]:
    """The digits of a type before and after the point; infinitely many if it is no exact number."""
    if isinstance(value, DecimalType):
        return value.precision - value.scale, value.scale
    return _DIGITS.get(type(value), float("inf")), 0


def _can_widen(column: DataType, value: DataType) -> bool:
    """Whether both are of a family in which Delta widens types by itself: it makes no fractions of integers."""
    families: tuple[tuple[type[DataType], ...], ...] = (tuple(_INTEGERS), (FloatType, DoubleType), (DecimalType,))
    return any(isinstance(column, family) and isinstance(value, family) for family in families)
