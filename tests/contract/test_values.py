"""Values that text changes, on every database: each arrives as it is, or is refused and its column named."""

from __future__ import annotations

import datetime as dt
import json

import pytest

from foreachonce import BatchFailed, JdbcSink, exactly_once
from foreachonce.testing.contract import refused

UTC = dt.timezone.utc


@pytest.fixture
def landed(url, stream, query):
    """Bring one value, a Spark expression, into column v of table t, and return what is there."""

    def land(value: str, column: str | None = None, **keywords):
        if column is not None:
            query(f"create table t (n integer, v {column})")

        @exactly_once(JdbcSink(url, table="t", stream="s", **keywords))
        def batch(frame, batch_id):
            return frame.sparkSession.sql(f"select 1 as n, {value} as v")

        stream.feed([1])
        stream.run(batch)
        # psycopg reads no year beyond 9999.
        ((found,),) = query("select cast(v as text) from t" if url.startswith("postgresql") else "select v from t")
        return found

    return land


def parsed(found):
    return json.loads(found) if isinstance(found, str) else found


@pytest.mark.parametrize(("value", "right"), [
    ("timestamp_seconds(2070000000000)", "67565-09-09 08:00:00+00"), ("date'+67565-09-09'", "67565-09-09"),
    ("timestamp_seconds(-70000000000)", "0250-10-15 19:33:20+00 BC"), ("date'+10000-01-01'", "10000-01-01"),
    ("date'-0044-03-15'", "0045-03-15 BC"), ("timestamp_ntz'+67565-09-09 08:00:00'", "67565-09-09 08:00:00"),
    ("timestamp_ntz'0000-12-31 23:59:59'", "0001-12-31 23:59:59 BC"),
])  # fmt: skip
@pytest.mark.parametrize("path", ["direct", "driver"])
def test_year_that_text_does_not_hold_is_refused(landed, url, query, value, right, path):
    if url.startswith("postgresql"):
        assert landed(value, path=path) == right
        return
    with refused("WriteFailed", "column 'v'", "year outside", "Nothing was written"):
        landed(value, path=path)
    assert query("select count(*) from foreachonce_ledger") == [(0,)]


@pytest.mark.parametrize("value", ["cast(X'41FF42' as string)", "cast(X'EDA080' as string)"])
@pytest.mark.parametrize("form", ["{}", "array({})", "named_struct('a', array({}))", "map({}, 1)", "map(1, {})"])
def test_text_that_is_no_utf8_is_refused(landed, query, value, form):
    with refused("WriteFailed", "column 'v'", "UTF", "othing was written"):
        landed(form.format(value))
    assert query("select count(*) from foreachonce_ledger") == [(0,)]


@pytest.mark.parametrize(("value", "right"), [
    ("map(date'2022-01-08', 1)", {"2022-01-08": 1}),
    ("map(timestamp'1850-01-01 00:00:00', 'x')", {"1850-01-01T04:56:02.000000Z": "x"}),
    ("map(X'41FF', 1)", {"Qf8=": 1}),
    ("map(1.50BD, true)", {"1.50": True}),
    ("map(named_struct('x', 1), array(map(2, null)))", {'{"x":1}': [{"2": None}]}),
    ("named_struct('at', array(timestamp'1850-01-01 00:00:00'))", {"at": ["1850-01-01T04:56:02.000000Z"]}),
    ("array(array(timestamp_seconds(2070000000000)))", [["+67565-09-09T08:00:00.000000Z"]]),
])  # fmt: skip
def test_nested_values_are_written_as_they_are(landed, value, right):
    assert parsed(landed(value)) == right


def test_error_of_the_users_own_is_not_taken_for_a_commit_in_doubt(url, stream, query):
    from pyspark.sql import functions as F

    @F.udf("bigint")
    def fail(number):
        raise KeyError("no such rate")

    sink = JdbcSink(url, table="t", stream="s", path="direct")
    stream.feed([1])
    with refused(BatchFailed.__name__, "no such rate", "Nothing was written"):
        stream.run(exactly_once(sink)(lambda frame, batch_id: frame.withColumn("id", fail("id"))))
    assert sink.ledger.head("s") is None


@pytest.mark.parametrize("path", ["direct", "driver"])
def test_very_long_text_goes(landed, path):
    """60 MB: more than a packet of MariaDB's may have, which LOAD DATA does not mind."""
    assert len(landed("repeat('0123456789', 6000000)", path=path)) == 60_000_000
