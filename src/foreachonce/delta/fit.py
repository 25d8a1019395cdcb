"""Whether a frame fits a Delta table: its columns, and their types without loss.

Delta's MERGE silently drops columns that the table lacks. MERGE, and an append to a table by its name, silently round what
the table's type does not hold. An append to a path casts nothing but narrower integers.
"""

from __future__ import annotations

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
    StructType,
    TimestampNTZType,
)

from foreachonce.delta.target import DeltaTarget, shown
from foreachonce.errors import FrameError

# How many decimal digits the greatest value of each has.
_DIGITS: dict[type[DataType], int] = {ByteType: 3, ShortType: 5, IntegerType: 10, LongType: 19}
_INTEGERS = list(_DIGITS)
# What each holds exactly: a float has 24 bits for a number's digits, a double 53.
_EXACT: dict[type[DataType], tuple[type[DataType], ...]] = {
    FloatType: (ByteType, ShortType),
    DoubleType: (ByteType, ShortType, IntegerType, FloatType),
    TimestampNTZType: (DateType,),
}


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
            "merge_schema=True, which leaves them as they are. Nothing was written."
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
