"""Which types of a frame a Delta table's columns take without loss."""

from __future__ import annotations

import pytest
from pyspark.sql import types as T

from foreachonce import FrameError
from foreachonce.delta.fit import check_types, fits
from foreachonce.delta.target import DeltaTarget

BYTE, SHORT, INT, LONG, FLOAT, DOUBLE = (
    T.ByteType(), T.ShortType(), T.IntegerType(), T.LongType(), T.FloatType(), T.DoubleType(),
)  # fmt: skip
TEXT, DATE, TIME, LOCAL_TIME, VOID = T.StringType(), T.DateType(), T.TimestampType(), T.TimestampNTZType(), T.NullType()


def decimal(precision, scale=0):
    return T.DecimalType(precision, scale)


def struct(**fields):
    return T.StructType([T.StructField(name, data_type) for name, data_type in fields.items()])


FITS = [
    (INT, INT), (BYTE, SHORT), (SHORT, INT), (INT, LONG), (FLOAT, DOUBLE), (SHORT, FLOAT), (INT, DOUBLE),
    (decimal(8, 2), decimal(10, 2)), (decimal(8, 1), decimal(10, 2)), (INT, decimal(12, 2)), (LONG, decimal(19)),
    (DATE, LOCAL_TIME), (TEXT, T.StringType("UTF8_LCASE")), (VOID, decimal(10, 2)), (VOID, struct(a=INT)),
    (struct(B=INT, a=INT), struct(a=LONG, b=INT)), (T.ArrayType(INT, False), T.ArrayType(LONG)),
    (T.MapType(INT, TEXT), T.MapType(LONG, TEXT)), (T.BinaryType(), T.BinaryType()),
]  # fmt: skip
LOSES = [
    (LONG, INT), (SHORT, BYTE), (DOUBLE, FLOAT), (LONG, DOUBLE), (INT, FLOAT), (decimal(10, 4), decimal(10, 2)),
    (decimal(12, 2), decimal(10, 2)), (decimal(9, 0), decimal(10, 2)), (INT, decimal(10, 2)), (LONG, decimal(18)),
    (DOUBLE, decimal(10, 2)), (FLOAT, decimal(38, 18)), (decimal(8, 2), DOUBLE), (TEXT, decimal(10, 2)), (TEXT, INT),
    (INT, TEXT), (DATE, TEXT), (TIME, DATE), (DATE, TIME), (LOCAL_TIME, TIME), (TIME, LOCAL_TIME),
    (T.BooleanType(), INT), (INT, T.BooleanType()),
    (struct(a=LONG), struct(a=INT)), (T.ArrayType(LONG), T.ArrayType(INT)), (T.MapType(TEXT, LONG), T.MapType(TEXT, INT)),
    (T.ArrayType(struct(a=decimal(10, 4))), T.ArrayType(struct(a=decimal(10, 2)))),
    (struct(a=INT), INT), (TEXT, T.BinaryType()),
]  # fmt: skip


@pytest.mark.parametrize(("found", "column"), FITS)
def test_type_that_loses_nothing_fits(found, column):
    assert fits(found, column)


@pytest.mark.parametrize(("found", "column"), LOSES)
def test_type_that_may_lose_something_does_not(found, column):
    assert not fits(found, column)


@pytest.mark.parametrize(("found", "column", "does"), [
    (LONG, INT, True), (DOUBLE, FLOAT, True), (decimal(12, 4), decimal(10, 2), True), (struct(a=LONG), struct(a=INT), True),
    (decimal(10, 4), decimal(10, 2), False), (decimal(12, 2), INT, False), (DOUBLE, INT, False), (TEXT, INT, False),
])  # fmt: skip
def test_column_that_grows_takes_what_holds_all_of_it(found, column, does):
    assert fits(found, column, widens=True) is does


def test_refusal_names_the_column_and_both_types():
    words = r"/t: column 'AMOUNT' is decimal\(10,2\) there and decimal\(10,4\) in.*cast.*Nothing"
    with pytest.raises(FrameError, match=words):
        check_types(DeltaTarget("/t"), struct(AMOUNT=decimal(10, 4)), struct(amount=decimal(10, 2), id=INT), lambda: False)


def test_whether_columns_grow_is_asked_only_where_one_does_not_fit():
    check_types(DeltaTarget("/t"), struct(id=INT, more=TEXT), struct(id=LONG, other=TEXT), lambda: pytest.fail("asked"))
    check_types(DeltaTarget("/t"), struct(id=LONG), struct(), lambda: pytest.fail("asked"))
    check_types(DeltaTarget("/t"), struct(id=LONG), struct(id=INT), lambda: True)
