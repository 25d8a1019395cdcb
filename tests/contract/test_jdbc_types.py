"""Every value that a frame can hold comes back from the table as it was, on every database."""

from __future__ import annotations

import datetime as dt
import json
import math
from decimal import Decimal

import pytest
from pyspark.sql import types as T

from foreachonce import JdbcSink, exactly_once
from foreachonce.testing.contract import refused

UTC = dt.timezone.utc
BIG = Decimal("12345678901234567890.123456789012345678")
TINY = Decimal("-0.000000000000000001")
TEXTS = [
    "",
    "plain",
    "it's",
    'say "so"',
    "two\nlines\r\n",
    "tab\t,comma;",
    "back\\slash",
    "\\.",
    "\\N",
    "NULL",
    "😀 ünïcödé",
]
INSTANT = dt.datetime(2024, 3, 10, 7, 30, 15, 123456, tzinfo=UTC)
# In New York, the session's zone, 2024-11-03 01:30 comes twice: only an instant tells which.
AMBIGUOUS = [dt.datetime(2024, 11, 3, hour, 30, tzinfo=UTC) for hour in (5, 6)]
WALL = [dt.datetime(2024, 3, 10, 2, 30, 15, 123456), dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31, 23, 59, 59, 999999)]
POINT = T.StructType([T.StructField("x", T.IntegerType()), T.StructField("name", T.StringType())])
TIMES = T.StructType([T.StructField("at", T.TimestampType()), T.StructField("wall", T.TimestampNTZType())])


@pytest.fixture
def write(url, stream):
    """Write values of one type into column v of table t, through a real batch."""

    def write(data_type: T.DataType, values: list, **keywords) -> None:
        schema = T.StructType([T.StructField("n", T.IntegerType()), T.StructField("v", data_type)])
        rows = list(enumerate(values))

        @exactly_once(JdbcSink(url, table="t", stream="s", **keywords))
        def batch(frame, batch_id):
            return frame.sparkSession.createDataFrame(rows, schema)

        stream.feed([1])
        stream.run(batch)

    return write


@pytest.fixture
def read(query):
    return lambda: [value for _, value in query("select n, v from t order by n")]


@pytest.mark.parametrize(("data_type", "values"), [
    (T.ByteType(), [-128, 0, 127]),
    (T.ShortType(), [-(2**15), 2**15 - 1]),
    (T.IntegerType(), [-(2**31), 2**31 - 1]),
    (T.LongType(), [-(2**63), 0, 2**63 - 1]),
    (T.BooleanType(), [True, False]),
    (T.StringType(), TEXTS),
    (T.BinaryType(), [b"", b"\x00\xff\\x41", bytes(range(256))]),
], ids=lambda value: value.simpleString() if isinstance(value, T.DataType) else "")  # fmt: skip
def test_plain_values_come_back(write, read, data_type, values):
    write(data_type, [*values, None])
    assert [bytes(value) if isinstance(value, memoryview) else value for value in read()] == [*values, None]


def test_staged_rows_come_back_too(write, read, path):
    write(T.StringType(), [*TEXTS, None], path=path)
    assert read() == [*TEXTS, None]


@pytest.mark.parametrize("data_type", [T.FloatType(), T.DoubleType()], ids=["float", "double"])
def test_floats_with_nan_and_infinities_come_back(write, read, url, data_type):
    if url.startswith("mysql"):
        pytest.skip("MariaDB has neither, and refuses them: test_mariadb.py")
    write(data_type, [0.1, -0.0, 1.5e-30, math.inf, -math.inf, math.nan, None])
    found = read()
    assert found[-1] is None
    *numbers, nan = map(float, found[:-1])
    assert math.isnan(nan)
    assert numbers == pytest.approx([0.1, -0.0, 1.5e-30, math.inf, -math.inf], rel=1e-7)


def test_decimals_come_back_exactly(write, read):
    values = [BIG, -BIG, TINY, Decimal("0"), Decimal("1.500000000000000000")]
    write(T.DecimalType(38, 18), [*values, None])
    found = read()
    assert found[-1] is None
    assert [Decimal(value) for value in found[:-1]] == values


def test_dates_come_back(write, read):
    values = [dt.date(1, 1, 1), dt.date(1582, 10, 15), dt.date(2024, 2, 29), dt.date(9999, 12, 31)]
    write(T.DateType(), [*values, None])
    assert [str(value) if value else None for value in read()] == [*map(str, values), None]


def test_instants_come_back_whatever_the_sessions_zone(write, read):
    values = [INSTANT, *AMBIGUOUS, dt.datetime(1970, 1, 1, tzinfo=UTC), dt.datetime(1900, 1, 1, 0, 0, 0, 1, tzinfo=UTC)]
    write(T.TimestampType(), [*values, None])
    assert [_instant(value) for value in read()] == [*values, None]


def test_wall_clock_times_come_back_without_a_zone(write, read):
    write(T.TimestampNTZType(), [*WALL, None])
    assert [_wall(value) for value in read()] == [*WALL, None]


@pytest.mark.parametrize(("element", "values"), [
    (T.IntegerType(), [[1, None, -3], [], None]),
    (T.StringType(), [["", 'a "b"', "back\\slash", "{x,y}", "NULL", None, "😀\n"], [], None]),
    (T.BooleanType(), [[True, False, None]]),
    (T.DoubleType(), [[1.5, None, -2.25]]),
    (T.BinaryType(), [[b"\x00\xff", b"", None]]),
    (T.DateType(), [[dt.date(2024, 2, 29), None]]),
    (T.TimestampType(), [[INSTANT, *AMBIGUOUS, None]]),
], ids=lambda value: value.simpleString() if isinstance(value, T.DataType) else "")  # fmt: skip
def test_arrays_come_back_as_postgresql_arrays(write, read, url, element, values):
    if not url.startswith("postgresql"):
        pytest.skip("the others keep arrays as JSON")
    write(T.ArrayType(element), values)
    assert [None if row is None else [_plain(item) for item in row] for row in read()] == values


@pytest.mark.parametrize(("data_type", "values"), [
    (POINT, [(1, 'a "quoted" name'), (None, None), None]),
    (T.MapType(T.StringType(), T.IntegerType()), [{"a": 1, "b": None}, {}, None]),
    (T.ArrayType(T.ArrayType(T.IntegerType())), [[[1, 2], [3]], [], None]),
    (T.ArrayType(POINT), [[(1, "x")], None]),
], ids=["struct", "map", "array of arrays", "array of structs"])  # fmt: skip
def test_nested_values_come_back_as_json(write, read, data_type, values):
    write(data_type, values)
    found = [json.loads(value) if isinstance(value, str) else value for value in read()]
    assert found == [_as_json(value, data_type) for value in values]


def test_nested_times_keep_their_microseconds(write, read):
    write(TIMES, [(INSTANT, WALL[0])])
    (found,) = (json.loads(value) if isinstance(value, str) else value for value in read())
    assert dt.datetime.fromisoformat(found["at"]) == INSTANT
    assert dt.datetime.fromisoformat(found["wall"]) == WALL[0]


def test_text_with_nul_is_kept_or_refused_whole(write, read, url, query):
    if not url.startswith("postgresql"):
        write(T.StringType(), ["a\0b"])
        assert read() == ["a\0b"]
        return
    with refused("WriteFailed", "0x00", "nothing was written"):
        write(T.StringType(), ["fine", "a\0b"])
    assert query("select count(*) from t") == [(0,)]
    assert query("select count(*) from foreachonce_ledger") == [(0,)]


def test_type_without_a_column_type_is_refused(write):
    with refused("FrameError", "'v'", "interval", "cast it"):
        write(T.DayTimeIntervalType(), [dt.timedelta(days=1)])


def _instant(value):
    if isinstance(value, str):
        # As text only UTC keeps the order of time, and one text for one instant.
        assert value.endswith("Z"), value
        return dt.datetime.fromisoformat(value.replace("Z", "+00:00"))
    if value is None:
        return None
    # MariaDB's DATETIME has no zone: it holds UTC.
    return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)


def _wall(value):
    return dt.datetime.fromisoformat(value) if isinstance(value, str) else value


def _plain(item):
    if isinstance(item, memoryview):
        return bytes(item)
    return item.astimezone(UTC) if isinstance(item, dt.datetime) else item


def _as_json(value, data_type):
    if value is None:
        return None
    if isinstance(data_type, T.StructType):
        return {field.name: part for field, part in zip(data_type.fields, value, strict=True)}
    if isinstance(data_type, T.ArrayType):
        return [_as_json(item, data_type.elementType) for item in value]
    return value
