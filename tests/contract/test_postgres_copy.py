"""COPY's two formats bring the same values, for every type that has a binary form."""

from __future__ import annotations

import datetime as dt
from contextlib import contextmanager
from decimal import Decimal
from uuid import uuid4

import psycopg
import pyarrow as pa
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import csv

from foreachonce.errors import WriteFailed
from foreachonce.sql.databases import copy
from foreachonce.sql.databases.postgres import Postgres
from foreachonce.sql.url import parse_url

TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
DATES = st.dates()
WALL = st.datetimes()
INSTANTS = st.datetimes(timezones=st.just(dt.timezone.utc))


def integers(bits):
    return st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def decimals(precision, scale):
    most = 10**precision - 1
    return st.integers(-most, most).map(lambda digits: Decimal(f"{digits}E-{scale}"))


FORMS = [
    (pa.int8(), integers(8), "smallint"),
    (pa.int16(), integers(16), "smallint"),
    (pa.int32(), integers(32), "integer"),
    (pa.int64(), integers(64), "bigint"),
    (pa.int16(), integers(16), "bigint"),
    (pa.int64(), integers(64), "numeric"),
    (pa.int16(), integers(16), "real"),
    (pa.int32(), integers(32), "double precision"),
    (pa.float32(), st.floats(width=32), "real"),
    (pa.float64(), st.floats(), "double precision"),
    (pa.float32(), st.floats(width=32), "double precision"),
    (pa.bool_(), st.booleans(), "boolean"),
    (pa.date32(), DATES, "date"),
    (pa.timestamp("us"), WALL, "timestamp"),
    (pa.timestamp("us", "America/New_York"), INSTANTS, "timestamptz"),
    (pa.decimal128(15, 2), decimals(15, 2), "numeric(15, 2)"),
    (pa.decimal128(18, 18), decimals(18, 18), "numeric(20, 18)"),
    (pa.decimal128(18, 1), decimals(18, 1), "numeric"),
    (pa.decimal128(5, 0), decimals(5, 0), "numeric(7, 2)"),
    (pa.string(), TEXTS, "text"),
    (pa.large_string(), TEXTS, "varchar"),
    (pa.string_view(), TEXTS, "text"),
    (pa.string(), TEXTS.map(lambda text: text[:9]), "char(9)"),
    (pa.string(), st.just('{"a": [1, null]}'), "jsonb"),
    (pa.string(), st.just('{"a": [1, null]}'), "json"),
    (pa.binary(), st.binary(), "bytea"),
    (pa.large_binary(), st.binary(), "bytea"),
    (pa.string(), TEXTS, "a_domain"),
    (pa.string(), st.sampled_from(["new", "old", "'"]), "an_enum"),
    (pa.int32(), st.integers(1, 9), "a_number"),
    (pa.string(), st.ip_addresses().map(str), "inet"),
    (pa.string(), st.sampled_from(["[1,5)", "empty", "(,3]"]), "int4range"),
    (pa.string(), st.text("01", min_size=3, max_size=3), "bit(3)"),
    (pa.string(), st.uuids().map(str), "uuid"),
    (pa.list_(pa.string()), st.lists(st.none() | TEXTS, max_size=4), "text[]"),
    (pa.list_(pa.int64()), st.lists(st.none() | integers(64), max_size=4), "bigint[]"),
    (pa.list_(pa.int16()), st.lists(st.none() | integers(16), max_size=4), "numeric[]"),
    (pa.list_(pa.float64()), st.lists(st.none() | st.floats(), max_size=4), "double precision[]"),
    (pa.list_(pa.bool_()), st.lists(st.none() | st.booleans(), max_size=4), "boolean[]"),
    (pa.list_(pa.decimal128(12, 3)), st.lists(st.none() | decimals(12, 3), max_size=4), "numeric(12,3)[]"),
    (pa.list_(pa.date32()), st.lists(st.none() | DATES, max_size=4), "date[]"),
    (pa.list_(pa.timestamp("us", "UTC")), st.lists(st.none() | INSTANTS, max_size=4), "timestamptz[]"),
    (pa.list_(pa.binary()), st.lists(st.none() | st.binary(), max_size=4), "bytea[]"),
    (pa.list_(pa.string()), st.lists(st.none() | st.uuids().map(str), max_size=4), "uuid[]"),
    (pa.list_(pa.string()), st.lists(st.none() | st.sampled_from(["new", "old"]), max_size=4), "an_enum[]"),
    (pa.list_(pa.string()), st.lists(st.none() | st.ip_addresses().map(str), max_size=4), "inet[]"),
]
WIDE = [(pa.decimal128(38, scale), decimals(38, scale), "numeric") for scale in (0, 10, 18, 37, 38)]
IDS = [f"{column} to {kind}" for column, _, kind in (*FORMS, *WIDE)]


@pytest.fixture
def table(postgres_url):
    """A new table with the columns."""
    made = []

    def make(*kinds):
        name = f"copied_{uuid4().hex[:8]}"
        with psycopg.connect(postgres_url) as connection:
            for kind in (
                "domain a_domain as text",
                "domain a_number as int check (value > 0)",
                "type an_enum as enum ('new', 'old', '''')",
            ):
                connection.execute(f"do $$ begin create {kind}; exception when duplicate_object then end $$")
            connection.execute(f"create table {name} (n serial, {', '.join(f'c{i} {k}' for i, k in enumerate(kinds))})")
        made.append(name)
        return name

    yield make
    with psycopg.connect(postgres_url) as connection:
        for name in made:
            connection.execute(f"drop table {name}")


@pytest.fixture
def load(postgres_url):
    def load(table, *batches):
        columns = [f"c{number}" for number in range(batches[0].num_columns)]
        with Postgres().writing(parse_url(postgres_url)) as connection:
            return copy.load(connection, sa.table(table), columns, batches)

    return load


@pytest.fixture
def texts(postgres_url):
    """A column's values as the server writes them."""

    def texts(table, column="c0"):
        with psycopg.connect(postgres_url) as connection:
            connection.execute("set extra_float_digits = 3")
            return [row[0] for row in connection.execute(f"select {column}::text from {table} order by n")]

    return texts


def by_csv(url, table, batch):
    """The batch by COPY's other format, written by pyarrow: what the binary form is compared with."""
    sink = pa.BufferOutputStream()
    plain = pa.RecordBatch.from_arrays([writable(column) for column in batch.columns], names=batch.schema.names)
    csv.write_csv(plain, sink, csv.WriteOptions(include_header=False))
    columns = ", ".join(f"c{number}" for number in range(batch.num_columns))
    statement = f"copy {table} ({columns}) from stdin (format csv, encoding 'utf8')"
    with psycopg.connect(url) as connection, connection.cursor() as cursor, cursor.copy(statement) as copying:
        copying.write(memoryview(sink.getvalue()))


def writable(column):
    kind = column.type
    if kind == pa.float32():
        # A float's shortest text differs from that of the same number as a double.
        return column.cast(pa.float64())
    if kind == pa.string_view():
        return column.cast(pa.string())
    if pa.types.is_timestamp(kind) and kind.tz:
        return column.cast(pa.timestamp("us", "UTC"))
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return pa.array([value if value is None else f"\\x{value.hex()}" for value in column.to_pylist()], pa.string())
    if pa.types.is_list(kind):
        return pa.array([value if value is None else literal(value) for value in column.to_pylist()], pa.string())
    return column


def literal(values):
    def quoted(value):
        text = f"\\x{value.hex()}" if isinstance(value, bytes) else str(value)
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

    return "{" + ",".join("NULL" if value is None else quoted(value) for value in values) + "}"


@contextmanager
def insert_only(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(copy._Loader, "may_copy", lambda self: False)
        yield


@pytest.mark.parametrize(("column", "values", "kind"), [*FORMS, *WIDE], ids=IDS)
def test_copy_and_insert_bring_what_csv_brings(table, load, texts, monkeypatch, postgres_url, column, values, kind):
    name = table(kind)

    @given(st.lists(st.none() | values, max_size=20), st.integers(0, 3))
    @settings(max_examples=20, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    def holds(rows, skipped):
        # A slice has an offset, which the buffers below do not know of.
        batch = pa.RecordBatch.from_arrays([pa.array(rows, column)], names=["x"]).slice(skipped)
        load(name, batch)
        with insert_only(monkeypatch):
            load(name, batch)
        by_csv(postgres_url, name, batch)
        found, size = texts(name)[-3 * batch.num_rows :] if batch.num_rows else [], batch.num_rows
        assert found[:size] == found[size : 2 * size] == found[2 * size :]

    holds()


def test_columns_stand_side_by_side(table, load, texts):
    forms = [form for form in FORMS if form[2] not in ("a_domain", "uuid")]
    rows = [None, *[2**60 if number % 2 else -(2**60) for number in range(5)]]
    columns = [pa.array(["x", None, "y"]), pa.array(rows[:3]), pa.array([b"", None, b"\0"]), pa.array([True, None, False])]
    name = table("text", "bigint", "bytea", "boolean")
    assert len(forms) > 20
    assert load(name, pa.RecordBatch.from_arrays(columns, names=list("abcd"))) == 3
    assert [texts(name, f"c{number}") for number in range(4)] == [
        ["x", None, "y"],
        [None, str(-(2**60)), str(2**60)],
        ["\\x", None, "\\x00"],
        ["true", None, "false"],
    ]


@pytest.mark.parametrize("value", [-(2**63), -(2**63) + 1])
def test_instants_that_postgresql_has_not_are_refused(table, load, texts, value):
    """The far past must not come round as the far future."""
    name = table("timestamp")
    with pytest.raises(WriteFailed, match="Nothing was written"):
        load(name, pa.RecordBatch.from_arrays([pa.array([value], pa.timestamp("us"))], names=["x"]))
    assert texts(name) == []


@pytest.mark.parametrize(("column", "value", "kind"), [
    (pa.int64(), 2**32 + 1, "integer"), (pa.int32(), 2**16 + 1, "smallint"), (pa.float64(), 1e300, "real"),
])  # fmt: skip
def test_a_column_that_was_made_narrower_meanwhile_is_refused(table, load, texts, column, value, kind):
    """Four bytes of eight must not be taken for the number."""
    name = table(kind)
    with pytest.raises(WriteFailed, match="out of range"):
        load(name, pa.RecordBatch.from_arrays([pa.array([value], column)], names=["x"]))
    assert texts(name) == []


def test_text_arrives_whole_in_a_database_of_another_encoding(postgres_url):
    name = f"latin_{uuid4().hex[:8]}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"create database {name} encoding latin1 locale 'C' template template0")
    try:
        url = parse_url(postgres_url).set(database=name)
        with Postgres().writing(url) as connection:
            connection.exec_driver_sql("create table t (c0 text, c1 integer[])")
            for columns in (["c0"], ["c0", "c1"]):
                arrays = [pa.array(["grün"]), pa.array([[1]])][: len(columns)]
                copy.load(connection, sa.table("t"), columns, [pa.RecordBatch.from_arrays(arrays, names=columns)])
            assert connection.exec_driver_sql("select count(*) from t where c0 = 'gr' || chr(252) || 'n'").scalar() == 2
    finally:
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            connection.execute(f"drop database {name} with (force)")
