"""Which of Spark's types fit which columns: what would lose a value does not fit."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import sqlalchemy as sa
from pyspark.sql import types as T
from sqlalchemy.dialects import mysql, sqlite
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.types import NullType

from foreachonce.sql.databases.mariadb import MariaDb
from foreachonce.sql.databases.postgres import Postgres
from foreachonce.sql.databases.sqlite import Sqlite
from foreachonce.sql.types import digits, name_of, numeric_holds

BYTE, SHORT, INT, LONG = T.ByteType(), T.ShortType(), T.IntegerType(), T.LongType()
FLOAT, DOUBLE, BOOLEAN, STRING, BINARY = T.FloatType(), T.DoubleType(), T.BooleanType(), T.StringType(), T.BinaryType()
DATE, INSTANT, WALL = T.DateType(), T.TimestampType(), T.TimestampNTZType()
INTERVAL, VOID = T.DayTimeIntervalType(), T.NullType()
STRUCT = T.StructType([T.StructField("a", INT)])
MAP, INTS, TEXTS, NESTED = T.MapType(STRING, INT), T.ArrayType(INT), T.ArrayType(STRING), T.ArrayType(T.ArrayType(INT))
STRUCTS = T.ArrayType(STRUCT)
TIMESTAMPTZ, TIMESTAMP = pg.TIMESTAMP(timezone=True), pg.TIMESTAMP(timezone=False)

everything = [
    BYTE, SHORT, INT, LONG, FLOAT, DOUBLE, BOOLEAN, STRING, BINARY, DATE, INSTANT, WALL,
    STRUCT, MAP, INTS, TEXTS, NESTED, STRUCTS, T.DecimalType(38, 18), T.CharType(3), T.VarcharType(3),
]  # fmt: skip


def decimal(precision: int, scale: int) -> T.DecimalType:
    return T.DecimalType(precision, scale)


def ids(value: object) -> str:
    return value.simpleString() if isinstance(value, T.DataType) else repr(value)


# --- names and widths --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("data_type", "name"), [
    (BYTE, "tinyint"), (SHORT, "smallint"), (INT, "int"), (LONG, "bigint"), (FLOAT, "float"), (DOUBLE, "double"),
    (BOOLEAN, "boolean"), (STRING, "string"), (BINARY, "binary"), (DATE, "date"), (INSTANT, "timestamp"),
    (WALL, "timestamp_ntz"), (decimal(10, 2), "decimal"), (INTS, "array"), (MAP, "map"), (STRUCT, "struct"),
    (T.CharType(3), "string"), (T.VarcharType(3), "string"), (INTERVAL, "interval"), (VOID, "void"),
    (T.YearMonthIntervalType(), "interval"),
], ids=ids)  # fmt: skip
def test_type_has_a_short_name(data_type, name):
    assert name_of(data_type) == name


@pytest.mark.skipif(not hasattr(T, "VariantType"), reason="Spark 3.5 has neither variants nor collations")
def test_variants_and_collated_texts_have_short_names():
    assert (name_of(T.VariantType()), name_of(T.StringType("UTF8_LCASE"))) == ("variant", "string")


@pytest.mark.parametrize(("data_type", "expected"), [
    (decimal(10, 2), (8, 2)), (decimal(38, 38), (0, 38)), (decimal(5, 0), (5, 0)),
    (BYTE, (3, 0)), (SHORT, (5, 0)), (INT, (10, 0)), (LONG, (19, 0)),
], ids=ids)  # fmt: skip
def test_digits_before_and_after_the_point(data_type, expected):
    assert digits(data_type) == expected


@pytest.mark.parametrize(("data_type", "values"), [(BYTE, 2**7), (SHORT, 2**15), (INT, 2**31), (LONG, 2**63)], ids=ids)
def test_digits_are_enough_for_the_widest_value(data_type, values):
    assert digits(data_type)[0] == len(str(values))


@pytest.mark.parametrize(("precision", "scale", "data_type", "expected"), [
    (None, None, decimal(38, 18), True),
    (10, 2, decimal(10, 2), True),
    (12, 2, decimal(10, 2), True),
    (12, 4, decimal(10, 2), True),
    (10, 4, decimal(10, 2), False),
    (10, 2, decimal(11, 2), False),
    (20, 2, decimal(10, 3), False),
    (10, None, decimal(10, 0), True),
    (10, None, decimal(10, 1), False),
    (19, 0, LONG, True),
    (18, 0, LONG, False),
    (19, 1, LONG, False),
    (10, 0, INT, True),
    (9, 0, INT, False),
], ids=ids)  # fmt: skip
def test_numeric_column_needs_the_digits_on_both_sides_of_the_point(precision, scale, data_type, expected):
    assert numeric_holds(precision, scale, data_type) == expected


# --- new columns -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("database", [Postgres(), Sqlite(), MariaDb()], ids=["postgres", "sqlite", "mariadb"])
@pytest.mark.parametrize("data_type", everything, ids=ids)
def test_column_that_is_made_for_a_type_holds_it(database, data_type):
    assert database.holds(database.column_type(data_type), data_type)


@pytest.mark.parametrize("database", [Postgres(), Sqlite(), MariaDb()], ids=["postgres", "sqlite", "mariadb"])
@pytest.mark.parametrize("data_type", [INTERVAL, T.YearMonthIntervalType(), VOID], ids=ids)
def test_type_without_a_column_type_gets_none(database, data_type):
    assert database.column_type(data_type) is None


@pytest.mark.parametrize(("data_type", "expected"), [
    (BYTE, "SMALLINT"), (SHORT, "SMALLINT"), (INT, "INTEGER"), (LONG, "BIGINT"), (FLOAT, "REAL"),
    (DOUBLE, "DOUBLE PRECISION"), (BOOLEAN, "BOOLEAN"), (STRING, "TEXT"), (T.VarcharType(3), "TEXT"), (BINARY, "BYTEA"),
    (DATE, "DATE"), (INSTANT, "TIMESTAMP WITH TIME ZONE"), (WALL, "TIMESTAMP WITHOUT TIME ZONE"),
    (decimal(38, 18), "NUMERIC(38, 18)"), (INTS, "INTEGER[]"), (TEXTS, "TEXT[]"),
    (T.ArrayType(decimal(10, 2)), "NUMERIC(10, 2)[]"), (NESTED, "JSONB"), (STRUCTS, "JSONB"),
    (STRUCT, "JSONB"), (MAP, "JSONB"),
], ids=ids)  # fmt: skip
def test_postgresql_column_is_of_the_nearest_type(data_type, expected):
    assert Postgres().column_type(data_type).compile(dialect=pg.dialect()) == expected


def test_array_of_what_has_no_column_type_has_none():
    assert Postgres().column_type(T.ArrayType(INTERVAL)) is None


@pytest.mark.parametrize(("data_type", "expected"), [
    (BYTE, "SMALLINT"), (LONG, "BIGINT"), (FLOAT, "REAL"), (DOUBLE, "DOUBLE"), (BOOLEAN, "BOOLEAN"), (STRING, "TEXT"),
    (decimal(38, 18), "TEXT"), (BINARY, "BLOB"), (DATE, "DATE"), (INSTANT, "TIMESTAMP"), (WALL, "TIMESTAMP"),
    (INTS, "TEXT"), (STRUCT, "TEXT"), (MAP, "TEXT"),
], ids=ids)  # fmt: skip
def test_sqlite_column_is_of_a_type_that_changes_no_value(data_type, expected):
    assert Sqlite().column_type(data_type).compile(dialect=sqlite.dialect()) == expected


# --- columns that are there --------------------------------------------------------------------------------------------

# column: the types that fit, the types that do not
POSTGRES = [
    (sa.SmallInteger(), [BYTE, SHORT], [INT, LONG, BOOLEAN, STRING, DOUBLE, decimal(3, 0)]),
    (sa.Integer(), [BYTE, SHORT, INT], [LONG, STRING, FLOAT, DATE]),
    (sa.BigInteger(), [BYTE, SHORT, INT, LONG], [STRING, DOUBLE, INSTANT, INTS]),
    (pg.REAL(), [BYTE, SHORT, FLOAT], [INT, LONG, DOUBLE, decimal(3, 1), STRING]),
    (pg.DOUBLE_PRECISION(), [BYTE, SHORT, INT, FLOAT, DOUBLE], [LONG, decimal(3, 1), STRING]),
    (sa.Numeric(), [BYTE, LONG, decimal(38, 18)], [FLOAT, DOUBLE, STRING, BOOLEAN]),
    (sa.Numeric(10, 2), [SHORT, decimal(10, 2), decimal(5, 1)], [INT, LONG, decimal(11, 2), decimal(10, 3)]),
    (sa.Boolean(), [BOOLEAN], [BYTE, INT, STRING]),
    (sa.Text(), [STRING, T.CharType(3), T.VarcharType(3), STRUCT, MAP, INTS, NESTED],
     [INT, DOUBLE, BOOLEAN, BINARY, DATE, INSTANT, decimal(3, 1), INTERVAL, VOID]),
    (pg.VARCHAR(10), [STRING, STRUCT], [INT, DATE, INSTANT, BINARY]),
    (pg.BYTEA(), [BINARY], [STRING, INT, STRUCT]),
    (sa.Date(), [DATE], [INSTANT, WALL, STRING, INT]),
    (TIMESTAMPTZ, [INSTANT], [WALL, DATE, STRING, LONG]),
    (TIMESTAMP, [WALL], [INSTANT, DATE, STRING, LONG]),
    (pg.TIME(), [], [INSTANT, WALL, STRING, INT]),
    (pg.JSONB(), [STRUCT, MAP, INTS, NESTED, STRUCTS, STRING], [INT, DOUBLE, BOOLEAN, DATE, BINARY]),
    (pg.JSON(), [STRUCT, MAP, INTS], [INT, DATE]),
    (pg.UUID(), [STRING], [INT, BINARY, STRUCT]),
    (pg.INET(), [STRING], [INT, BINARY]),
    (pg.ENUM("a", name="e"), [STRING], [INT, DATE]),
    (NullType(), [], [STRING, INT, DATE, BINARY]),
    (pg.MONEY(), [], [STRING, decimal(10, 2), INT]),
    (sa.CHAR(5), [], [STRING, STRUCT]),
    (pg.CITEXT(), [STRING], [INT]),
    (pg.INT4RANGE(), [STRING], [INT]),
    (pg.BIT(3), [STRING], [INT, BOOLEAN]),
    (pg.TSVECTOR(), [], [STRING]),
    (pg.DOMAIN("d", sa.Integer()), [INT], [LONG, STRING]),
    (pg.DOMAIN("d", sa.Text()), [STRING], [INT]),
    (pg.ENUM("a", name="e"), [], [STRUCT]),
    (pg.ARRAY(sa.Integer()), [INTS, T.ArrayType(SHORT)], [T.ArrayType(LONG), TEXTS, NESTED, INT, STRING, STRUCT, MAP]),
    (pg.ARRAY(sa.Text()), [TEXTS], [INTS, STRUCTS, STRING]),
    (pg.ARRAY(TIMESTAMPTZ), [T.ArrayType(INSTANT)], [T.ArrayType(WALL), T.ArrayType(DATE)]),
]  # fmt: skip

SQLITE = [
    (sa.Integer(), [BYTE, INT, LONG, BOOLEAN], [STRING, DATE, BINARY, INTS]),
    (sa.Boolean(), [BOOLEAN], [STRING, DATE]),
    (sa.REAL(), [FLOAT, DOUBLE, BYTE, SHORT, INT], [STRING, DATE, BINARY, decimal(38, 18)]),
    (sa.Numeric(), [LONG, DOUBLE, decimal(15, 2), decimal(10, 10)], [decimal(16, 2), decimal(38, 18), STRING, DATE]),
    (sa.Text(), [STRING, T.VarcharType(3), decimal(38, 18), DATE, INSTANT, WALL, STRUCT, MAP, INTS],
     [INT, LONG, FLOAT, DOUBLE, BOOLEAN, BINARY]),
    (sa.String(10), [STRING, decimal(10, 2)], [INT, BINARY]),
    (sa.BLOB(), [BINARY], [STRING, INT, DATE, STRUCT]),
    (sa.Date(), [DATE], [INSTANT, WALL, STRING, INT]),
    (sa.TIMESTAMP(), [INSTANT, WALL], [DATE, STRING, INT]),
    (sa.Time(), [], [INSTANT, DATE, STRING, INT]),
    (sa.JSON(), [STRUCT, MAP, INTS], [STRING, INT, DATE]),
    (NullType(), [INT, STRING, BINARY, DATE, decimal(38, 18), STRUCT], []),
]  # fmt: skip


def pairs(table: list, fits: bool) -> list:
    return [(column, data_type) for column, good, bad in table for data_type in (good if fits else bad)]


@pytest.mark.parametrize(("column", "data_type"), pairs(POSTGRES, fits=True), ids=ids)
def test_postgresql_column_holds_every_value(column, data_type):
    assert Postgres().holds(column, data_type)


@pytest.mark.parametrize(("column", "data_type"), pairs(POSTGRES, fits=False), ids=ids)
def test_postgresql_column_that_would_lose_something_is_refused(column, data_type):
    assert not Postgres().holds(column, data_type)


@pytest.mark.parametrize(("column", "data_type"), [
    (pg.TIMESTAMP(timezone=True, precision=0), INSTANT),
    (pg.TIMESTAMP(timezone=False, precision=3), WALL),
    (pg.INTERVAL(), STRING),
], ids=ids)  # fmt: skip
def test_postgresql_column_that_loses_something_unseen_is_refused(column, data_type):
    assert not Postgres().holds(column, data_type)


def test_postgresql_column_that_keeps_microseconds_holds_them():
    assert Postgres().holds(pg.TIMESTAMP(timezone=True, precision=6), INSTANT)


@pytest.mark.parametrize(("column", "data_type"), pairs(SQLITE, fits=True), ids=ids)
def test_sqlite_column_holds_every_value(column, data_type):
    assert Sqlite().holds(column, data_type)


@pytest.mark.parametrize(("column", "data_type"), pairs(SQLITE, fits=False), ids=ids)
def test_sqlite_column_that_would_change_something_is_refused(column, data_type):
    assert not Sqlite().holds(column, data_type)


@pytest.mark.parametrize(("column", "data_type"), [
    (sa.REAL(), LONG),
    (sa.DOUBLE(), LONG),
    (sa.Text(), INTERVAL),
    (NullType(), INTERVAL),
], ids=ids)  # fmt: skip
def test_sqlite_column_that_changes_something_unseen_is_refused(column, data_type):
    assert not Sqlite().holds(column, data_type)


@pytest.mark.parametrize(("data_type", "expected"), [
    (BYTE, "TINYINT"), (SHORT, "SMALLINT"), (INT, "INTEGER"), (LONG, "BIGINT"), (FLOAT, "DOUBLE"), (DOUBLE, "DOUBLE"),
    (BOOLEAN, "TINYINT(1)"), (STRING, "LONGTEXT"), (T.VarcharType(3), "LONGTEXT"), (BINARY, "LONGBLOB"), (DATE, "DATE"),
    (INSTANT, "DATETIME(6)"), (WALL, "DATETIME(6)"), (decimal(38, 18), "DECIMAL(38, 18)"), (INTS, "JSON"), (MAP, "JSON"),
], ids=ids)  # fmt: skip
def test_mariadb_column_is_of_a_type_that_changes_no_value(data_type, expected):
    assert MariaDb().column_type(data_type).compile(dialect=mysql.dialect()) == expected


def test_mariadb_has_no_column_for_more_than_30_digits_after_the_point():
    assert MariaDb().column_type(decimal(38, 31)) is None
    assert MariaDb().column_type(decimal(38, 30)) is not None


@pytest.mark.parametrize(("column", "data_type"), [
    (mysql.TINYINT(), BYTE), (mysql.SMALLINT(), BYTE), (mysql.MEDIUMINT(), SHORT), (mysql.INTEGER(), INT),
    (mysql.BIGINT(), LONG), (mysql.DECIMAL(19, 0), LONG), (mysql.DECIMAL(12, 4), decimal(10, 2)), (mysql.FLOAT(), FLOAT),
    (mysql.DOUBLE(), FLOAT), (mysql.TINYINT(display_width=1), BOOLEAN), (mysql.VARCHAR(3), STRING), (mysql.TEXT(), STRING),
    (mysql.TINYTEXT(), STRING), (mysql.LONGTEXT(), STRUCT), (mysql.JSON(), MAP), (mysql.VARBINARY(3), BINARY),
    (mysql.BLOB(), BINARY), (mysql.DATE(), DATE), (mysql.DATETIME(fsp=6), INSTANT), (mysql.DATETIME(fsp=6), WALL),
], ids=ids)  # fmt: skip
def test_mariadb_column_holds_every_value(column, data_type):
    assert MariaDb().holds(column, data_type)


@pytest.mark.parametrize(("column", "data_type"), [
    (mysql.TINYINT(), SHORT), (mysql.MEDIUMINT(), INT), (mysql.INTEGER(), LONG), (mysql.BIGINT(unsigned=True), INT),
    (mysql.DECIMAL(10, 0), LONG), (mysql.DECIMAL(10, 2), decimal(10, 3)),
    (mysql.DECIMAL(9, 2, unsigned=True), decimal(4, 2)),
    (mysql.DOUBLE(), LONG), (mysql.DOUBLE(), INT), (mysql.FLOAT(), DOUBLE), (mysql.DOUBLE(7, 2), DOUBLE),
    (mysql.FLOAT(7, 2), FLOAT), (mysql.DOUBLE(), decimal(4, 2)), (mysql.BIT(1), BOOLEAN), (mysql.CHAR(3), STRING),
    (mysql.ENUM("a"), STRING), (mysql.SET("a"), STRING), (mysql.INTEGER(), STRING), (mysql.BLOB(), STRING),
    (mysql.TEXT(), BINARY), (mysql.BINARY(3), BINARY), (mysql.DATETIME(), INSTANT), (mysql.DATETIME(fsp=3), WALL),
    (mysql.TIMESTAMP(fsp=6), INSTANT), (mysql.TIMESTAMP(), WALL), (mysql.DATE(), INSTANT), (mysql.DATETIME(fsp=6), DATE),
    (mysql.YEAR(), INT), (NullType(), STRING), (mysql.TEXT(), INTERVAL), (mysql.LONGTEXT(), INT),
], ids=ids)  # fmt: skip
def test_mariadb_column_that_would_change_something_is_refused(column, data_type):
    assert not MariaDb().holds(column, data_type)


@pytest.mark.skipif(not hasattr(T, "VariantType"), reason="Spark 3.5 has no variants")
class TestVariants:
    def test_they_fit_where_json_fits(self):
        assert Postgres().holds(pg.JSONB(), T.VariantType())
        assert Postgres().holds(sa.Text(), T.VariantType())
        assert Sqlite().holds(sa.Text(), T.VariantType())
        assert not Postgres().holds(sa.Integer(), T.VariantType())

    def test_column_is_made_for_them(self):
        assert isinstance(Postgres().column_type(T.VariantType()), pg.JSONB)
        assert isinstance(Postgres().column_type(T.ArrayType(T.VariantType())), pg.JSONB)
        assert isinstance(Sqlite().column_type(T.VariantType()), sa.Text)

    def test_bare_numbers_stay_as_they_are_on_sqlite(self):
        assert not Sqlite().holds(sa.JSON(), T.VariantType())


# --- docs/types.md ---------------------------------------------------------------------------------------------------

TOKENS = {
    "smallint": sa.SmallInteger(), "integer": sa.Integer(), "bigint": sa.BigInteger(), "real": pg.REAL(),
    "double precision": pg.DOUBLE_PRECISION(), "numeric": sa.Numeric(), "boolean": sa.Boolean(), "text": sa.Text(),
    "varchar": pg.VARCHAR(9), "citext": pg.CITEXT(), "uuid": pg.UUID(), "json": pg.JSON(), "jsonb": pg.JSONB(),
    "inet": pg.INET(), "cidr": pg.CIDR(), "macaddr": pg.MACADDR(), "bit": pg.BIT(3), "hstore": pg.HSTORE(),
    "bytea": pg.BYTEA(), "date": sa.Date(), "timestamptz": TIMESTAMPTZ, "timestamp": TIMESTAMP,
    "char": sa.CHAR(3), "money": pg.MONEY(), "time": pg.TIME(), "interval": pg.INTERVAL(), "tsvector": pg.TSVECTOR(),
}  # fmt: skip
DOCUMENTED = {
    "tinyint": BYTE, "smallint": SHORT, "int": INT, "bigint": LONG, "float": FLOAT, "double": DOUBLE, "boolean": BOOLEAN,
    "string": STRING, "binary": BINARY, "date": DATE, "timestamp": INSTANT, "timestamp_ntz": WALL, "struct": STRUCT,
    "map": MAP, "decimal(p,s)": decimal(10, 2),
}  # fmt: skip


def documented() -> dict[str, set[str]]:
    """By Spark's type, the columns of PostgreSQL that docs/types.md says are taken."""
    text = (Path(__file__).parents[2] / "docs/types.md").read_text()
    table = text.partition("## PostgreSQL")[2].partition("## SQLite")[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| `")]
    return {
        name: set(re.findall(r"`([^`]+)`", cells[-1]))
        for cells in rows
        for name in re.findall(r"`([^`]+)`", cells[0])
        if len(cells) == 3
    }


@pytest.mark.parametrize("name", DOCUMENTED)
def test_page_of_types_says_which_columns_are_taken(name):
    said = documented()[name]
    taken = {token for token, column in TOKENS.items() if Postgres().holds(column, DOCUMENTED[name])}
    assert taken == said & TOKENS.keys()
