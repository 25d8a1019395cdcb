"""Which types of a frame a Delta table's columns take without loss. Pure.

MERGE casts what a frame brings, and so does an append to a table by its name; both round without a word. An append to a path
casts nothing but narrower integers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

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

from foreachonce.delta.place import shown
from foreachonce.delta.table import Target
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


def check_types(target: Target, schema: StructType, existing: StructType, grows: Callable[[], bool]) -> None:
    """Refuse a frame with a column whose values would not come back from the table as they are.

    Args:
        target: what the user asked for.
        schema: the frame's.
        existing: the table's; without fields where there is no table.
        grows: whether Delta makes a column of the table wider where the frame's is; asked only where one does not fit.

    Raises:
        FrameError: naming the column and both types.
    """
    for name, found, column in _common(schema, existing):
        if not fits(found, column) and not (grows() and fits(found, column, grows=True)):
            raise FrameError(
                f"table {shown(target.place)}: column {name!r} is {column.simpleString()} there and {found.simpleString()} "
                "in the frame, whose values it may not hold as they are; cast it in the query. Nothing was written."
            )


def fits(found: DataType, column: DataType, *, grows: bool = False) -> bool:
    """Whether a column of a table holds every value of a frame's type, or ``grows`` to hold it; fields of structs by name.

    A number or a date does not fit into text: the text's form would be a choice.
    """
    if isinstance(found, StructType) and isinstance(column, StructType):
        return all(fits(*types, grows=grows) for _, *types in _common(found, column))
    if isinstance(found, ArrayType) and isinstance(column, ArrayType):
        return fits(found.elementType, column.elementType, grows=grows)
    if isinstance(found, MapType) and isinstance(column, MapType):
        pairs = (found.keyType, column.keyType), (found.valueType, column.valueType)
        return all(fits(*types, grows=grows) for types in pairs)
    return _holds(column, found) or (grows and _are_akin(column, found) and _holds(found, column))


def _common(schema: StructType, existing: StructType) -> Iterator[tuple[str, DataType, DataType]]:
    """The columns that both have, as the frame names them. What only one has is not about types."""
    columns = {field.name.lower(): field.dataType for field in existing.fields}
    for field in schema.fields:
        if field.name.lower() in columns:
            yield field.name, field.dataType, columns[field.name.lower()]


def _holds(column: DataType, found: DataType) -> bool:
    if isinstance(found, NullType) or found == column or (isinstance(found, StringType) and isinstance(column, StringType)):
        return True
    if isinstance(column, DecimalType):
        whole, fraction = _digits(found)
        return whole <= column.precision - column.scale and fraction <= column.scale
    if type(column) in _INTEGERS and type(found) in _INTEGERS:
        return _INTEGERS.index(type(found)) < _INTEGERS.index(type(column))
    return type(found) in _EXACT.get(type(column), ())


def _digits(found: DataType) -> tuple[float, int]:
    """How many digits a type has before and after the point; no end of them for one that is no exact number."""
    if isinstance(found, DecimalType):
        return found.precision - found.scale, found.scale
    return _DIGITS.get(type(found), float("inf")), 0


def _are_akin(column: DataType, found: DataType) -> bool:
    """Whether Delta's type widening may make the one into the other by itself: it changes no integers into fractions."""
    families: tuple[tuple[type[DataType], ...], ...] = (tuple(_INTEGERS), (FloatType, DoubleType), (DecimalType,))
    return any(isinstance(column, family) and isinstance(found, family) for family in families)
