"""The generic way's keywords, types and statements; the statements also on SQLite, a second database."""

from __future__ import annotations

import pickle

import pytest
import sqlalchemy as sa
from pyspark.sql import types as T
from sqlalchemy.dialects import mssql, oracle, postgresql
from sqlalchemy.schema import CreateTable

from foreachonce import ConfigurationError, JdbcSink, SqlLedger
from foreachonce.sql.databases.generic import Generic
from foreachonce.sql.schema import tables
from foreachonce.sql.spark_jdbc import SparkJdbc

POSTGRES = "postgresql://app:hunter2@db/shop"
JDBC = {"url": "jdbc:postgresql://db/shop?sslpassword=hunter2", "user": "app", "password": "hunter2", "batchsize": "5000"}


def sink(url=POSTGRES, **keywords) -> JdbcSink:
    return JdbcSink(url, table="t", **{"spark_jdbc": JDBC, **keywords})


# --- keywords --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("options", "words"), [
    ("jdbc:postgresql://hunter2", "must be a dict of texts"),
    ({"url": 5}, "must be a dict of texts"),
    ({}, 'needs the option "url"'),
    ({"url": "postgresql://hunter2"}, 'needs the option "url"'),
    ({**JDBC, "dbTable": "t"}, "'dbtable'"),
    ({**JDBC, "query": "select"}, "'query'"),
    ({**JDBC, "isolationLevel": "NONE"}, "'isolationlevel'"),
])  # fmt: skip
def test_bad_options_are_refused_and_not_shown(options, words):
    with pytest.raises(ConfigurationError, match=rf"^spark_jdbc= .*{words}") as caught:
        sink(spark_jdbc=options)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(("url", "words"), [
    ("sqlite:////data/shop.db", "spark_jdbc= is not for SQLite"),
    ("nowhere://app:hunter2@db/shop", "'nowhere', for which SQLAlchemy has no dialect"),
    ("jdbc:sqlserver://db;user=app;password=hunter2", "url="),
    ("jdbc:oracle://app:hunter2@db/shop", "url= must be the address of 'oracle' as SQLAlchemy takes it"),
])  # fmt: skip
def test_address_that_the_generic_way_cannot_take(url, words):
    with pytest.raises(ConfigurationError, match=words) as caught:
        sink(url)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("make", [JdbcSink, SqlLedger])
def test_unknown_database_without_the_options_says_what_to_give(make):
    with pytest.raises(ConfigurationError, match=r"'oracle'; .* postgresql, mysql, mariadb and sqlite.* spark_jdbc="):
        make("oracle+oracledb://app:hunter2@db/shop")


@pytest.mark.parametrize("path", ["direct", "staged"])
def test_path_does_not_go_with_the_options(path):
    with pytest.raises(ConfigurationError, match=f"path='{path}' does not go with spark_jdbc="):
        sink(path=path)


@pytest.mark.parametrize("url", [POSTGRES, "oracle+oracledb://app:hunter2@db/shop", "mssql+pyodbc://app:hunter2@db/shop"])
@pytest.mark.parametrize("view", [repr, str, lambda sink: repr(vars(sink)), lambda sink: repr(sink.ledger)])
def test_options_are_not_shown(url, view):
    made = sink(url)
    assert "hunter2" not in view(made)
    assert "hunter2" not in view(pickle.loads(pickle.dumps(made)))
    assert "portable" in made.guarantee


@pytest.mark.parametrize("text", [
    "no driver for jdbc:postgresql://db/shop?sslpassword=hunter2",
    "password hunter2 refused",
    "sslpassword=hunter2&",
])  # fmt: skip
def test_secrets_are_taken_out_of_errors(text):
    assert "hunter2" not in SparkJdbc(JDBC).scrub(text)


@pytest.mark.parametrize("url", [
    "jdbc:sqlserver://db:1433;databaseName=shop;user=app;password=hunter2;encrypt=true",
    "jdbc:oracle:thin:app/hunter2@//db:1521/shop",
    "jdbc:other://app:hunter2@db/shop",
    "jdbc:other://db/shop?pwd=hunter2",
])  # fmt: skip
def test_secrets_in_a_jdbc_address_are_found(url):
    assert SparkJdbc({"url": url}).scrub("login of app with hunter2 failed at db, shop") == (
        "login of app with *** failed at db, shop"
    )


def test_flags_are_no_secrets_and_pgjdbcs_rows_are():
    text = "Batch entry 0 INSERT INTO t VALUES (('7'::int8)) was aborted: ERROR: true after 10 rows"
    assert SparkJdbc({**JDBC, "ssl": "true", "fetchsize": "10"}).scrub(text) == "ERROR: true after 10 rows"


# --- types -----------------------------------------------------------------------------------------------------------

SCALARS = [T.ByteType(), T.ShortType(), T.IntegerType(), T.LongType(), T.FloatType(), T.DoubleType(), T.BooleanType(),
           T.StringType(), T.BinaryType(), T.DateType(), T.TimestampType(), T.DecimalType(38, 9),
           T.ArrayType(T.IntegerType()), T.MapType(T.StringType(), T.StringType())]  # fmt: skip


@pytest.mark.parametrize("data_type", SCALARS, ids=str)
def test_column_that_it_makes_holds_the_type(data_type):
    column = Generic(None).column_type(data_type)
    assert column is not None
    assert Generic(None).holds(column, data_type)


@pytest.mark.parametrize(("column", "data_type"), [
    (sa.Integer(), T.LongType()),
    (sa.SmallInteger(), T.IntegerType()),
    (sa.Numeric(10, 2), T.LongType()),
    (sa.Numeric(10, 2), T.DecimalType(12, 2)),
    (sa.Double(), T.LongType()),
    (sa.Double(), T.DecimalType(5, 2)),
    (sa.REAL(), T.DoubleType()),
    (sa.CHAR(5), T.StringType()),
    (sa.Enum("a"), T.StringType()),
    (sa.JSON(), T.StringType()),
    (postgresql.JSONB(), T.ArrayType(T.IntegerType())),
    (sa.Uuid(), T.StringType()),
    (sa.DateTime(), T.TimestampType()),
    (mssql.DATETIMEOFFSET(), T.TimestampType()),
    (oracle.DATE(), T.TimestampType()),
    (postgresql.TIMESTAMP(timezone=True, precision=3), T.TimestampType()),
    (sa.DateTime(), T.TimestampNTZType()),
    (sa.types.NullType(), T.StringType()),
], ids=str)  # fmt: skip
def test_column_that_may_change_a_value_is_refused(column, data_type):
    assert not Generic(None).holds(column, data_type)


# --- statements ------------------------------------------------------------------------------------------------------


@pytest.fixture
def merged():
    """Merge rows (id, kind, v) into a table of one row more, on SQLite; return what is there then."""
    engine = sa.create_engine("sqlite://")
    table = sa.table("t", sa.column("id"), sa.column("kind"), sa.column("v"))
    incoming = sa.table("incoming_rows", sa.column("id"), sa.column("kind"), sa.column("v"))

    def merge(rows, *, skip_unchanged=False):
        with engine.begin() as connection:
            for statement in (
                "create table t (id int, kind text, v text, note text default 'new', touched int default 0)",
                "insert into t (id, kind, v, note) values (1, 'a', 'one', 'kept'), (2, 'a', null, 'kept')",
                "create trigger touch after update on t begin update t set touched = 1 where rowid = new.rowid; end",
                "create table incoming_rows (id int, kind text, v text)",
            ):
                connection.exec_driver_sql(statement)
            connection.exec_driver_sql("insert into incoming_rows values (?, ?, ?)", rows)
            key, source = ("id", "kind"), sa.select(*incoming.c).order_by(incoming.c.id)
            for each in Generic(None).upsert(table, key, source, skip_unchanged=skip_unchanged):
                connection.execute(each)
            return [tuple(row) for row in connection.exec_driver_sql("select * from t order by id, kind")]

    return merge


def test_merge_updates_inserts_and_leaves_the_rest(merged):
    assert merged([(1, "a", "uno"), (1, "b", "dos"), (3, "a", None)]) == [
        (1, "a", "uno", "kept", 1), (1, "b", "dos", "new", 0), (2, "a", None, "kept", 0), (3, "a", None, "new", 0),
    ]  # fmt: skip


@pytest.mark.parametrize(("row", "touched"), [
    ((1, "a", "one"), 0), ((2, "a", None), 0), ((1, "a", None), 1), ((2, "a", "two"), 1), ((1, "a", "uno"), 1),
])  # fmt: skip
def test_unchanged_row_is_not_updated(merged, row, touched):
    after = merged([row], skip_unchanged=True)
    assert [each[4] for each in after if each[:2] == row[:2]] == [touched]
    assert [each[2] for each in after if each[:2] == row[:2]] == [row[2]]


@pytest.mark.parametrize("dialect", [mssql.dialect(), oracle.dialect()], ids=lambda dialect: dialect.name)
def test_ledgers_keys_have_a_length_where_a_database_needs_one(dialect):
    for table in tables(None):
        for line in str(CreateTable(table).compile(dialect=dialect)).splitlines():
            words = line.replace('"', "").replace("[", "").replace("]", "").replace("`", "").split()
            if words and words[0] in ("stream", "query_id", "run_id", "name"):
                assert "(255" in words[1], line
