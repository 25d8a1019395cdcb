"""Bad input: an error that names what is wrong and what to do, before anything is written, and never a secret."""

from __future__ import annotations

from uuid import uuid4

import pytest
import sqlalchemy as sa
from pyspark.errors import StreamingQueryException

from foreachonce import JdbcSink, LedgerError, SinkUnavailable, SqlLedger, exactly_once
from foreachonce.sql.url import parse_url
from foreachonce.testing.contract import refused


@pytest.fixture
def write(url, stream):
    """Write two rows (id bigint, value string), changed first, into table t."""

    def write(change=lambda frame: frame, **keywords):
        @exactly_once(JdbcSink(url, stream="s", **{"table": "t", **keywords}))
        def batch(frame, batch_id):
            return change(frame)

        stream.feed([1, 2])
        stream.run(batch)

    return write


@pytest.fixture
def assert_nothing_written(query):
    def check(table="t"):
        assert query(f"select count(*) from {table}") == [(0,)]
        assert query("select count(*) from foreachonce_ledger") == [(0,)]

    return check


def test_column_that_the_table_lacks(write, query, assert_nothing_written):
    query("create table t (id bigint)")
    with refused("FrameError", "table t", "'value' is not in the table", "id"):
        write()
    assert_nothing_written()


def test_column_that_the_frame_lacks(write, query, assert_nothing_written):
    query("create table t (id bigint, value text, day date not null)")
    with refused("FrameError", "'day' is NOT NULL without a default"):
        write()
    assert_nothing_written()


def test_columns_that_the_database_fills_may_be_missing(write, query):
    query("create table t (id bigint, value text, note text, state text not null default 'new')")
    write()
    assert query("select id, note, state from t order by id") == [(1, None, "new"), (2, None, "new")]


def test_columns_go_by_name_and_not_by_place(write, query):
    query("create table t (value text, id bigint)")
    write()
    assert query("select id, value from t order by id") == [(1, "value 1"), (2, "value 2")]


@pytest.mark.parametrize(("column", "expression", "found"), [
    ("value bigint", "value", "string"),
    ("value text", "id as value", "bigint"),
])  # fmt: skip
def test_type_that_cannot_fit(write, query, assert_nothing_written, column, expression, found):
    query(f"create table t (id bigint, {column})")
    with refused("FrameError", "table t", "column 'value' is", found, "cast"):
        write(lambda frame: frame.selectExpr("id", expression))
    assert_nothing_written()


@pytest.mark.parametrize(("column", "expression"), [
    ("integer", "id"),
    ("real", "cast(id as double)"),
    ("numeric(10,2)", "cast(id as decimal(12,2))"),
    ("numeric(10,2)", "cast(id as decimal(10,3))"),
    ("timestamp", "current_timestamp()"),
    ("timestamptz", "cast(current_timestamp() as timestamp_ntz)"),
    ("double precision", "id"),
])  # fmt: skip
def test_type_that_would_lose_something(write, query, url, column, expression):
    if not url.startswith("postgresql"):
        pytest.skip("SQLite's columns are wider, MariaDB's have other names: tests/unit/test_types.py")
    query(f"create table t (value {column})")
    with refused("FrameError", "do not hold every value"):
        write(lambda frame: frame.selectExpr(f"{expression} as value"))
    assert query("select count(*) from t") == [(0,)]


def test_text_that_is_too_long_for_its_column(write, query, url, assert_nothing_written):
    if url.startswith("sqlite"):
        pytest.skip("SQLite has no lengths")
    query("create table t (id bigint, value varchar(3))")
    what = "column 'value'" if url.startswith("mysql") else "character varying(3)"
    with refused("WriteFailed", "nothing was written", what):
        write()
    assert_nothing_written()


def test_row_that_a_constraint_refuses(write, query, assert_nothing_written):
    query("create table t (id bigint check (id < 2), value text)")
    with refused("WriteFailed", "nothing was written") as caught:
        write()
    assert "value 2" not in str(caught.value)  # the row itself is not for logs
    assert_nothing_written()


def test_missing_table_that_must_not_be_created(write, url):
    with refused("FrameError", "table t does not exist", "create_table=True"):
        write(create_table=False)
    assert SqlLedger(url).head("s") is None


def test_missing_schema(write, url):
    if url.startswith("sqlite"):
        pytest.skip("SQLite has no schemas")
    with refused("WriteFailed", "nowhere"):
        write(schema="nowhere")


def test_schemas_are_told_apart(write, url, query):
    if url.startswith("sqlite"):
        pytest.skip("SQLite has no schemas")
    # MariaDB's schemas are the server's, and do not go with the database.
    sales, ops = (f"foreachonce_{name}_{uuid4().hex[:8]}" for name in ("sales", "ops"))
    query(f"create schema {sales}")
    query(f"create schema {ops}")
    try:
        write(schema=sales, ledger_schema=ops, path="staged")
        assert query(f"select count(*) from {sales}.t") == [(2,)]
        assert query(f'select "rows" from {ops}.foreachonce_ledger') == [(2,)]
    finally:
        for schema in (sales, ops) if url.startswith("mysql") else ():
            query(f"drop schema {schema}")


def test_key_that_the_frame_lacks(write):
    with refused("FrameError", "key= names 'order_id'", "id, value"):
        write(mode="merge", key="order_id")


def test_column_named_twice(write):
    with refused("FrameError", "'id' more than once"):
        write(lambda frame: frame.select("id", "id"))


def test_wrong_password_is_named_without_the_secret(postgres_url, stream):
    url = (
        parse_url(postgres_url).set(drivername="postgresql", password="hunter2!secret").render_as_string(hide_password=False)
    )
    sink = JdbcSink(url, table="t", stream="s")
    stream.feed([1])
    with pytest.raises(StreamingQueryException, match=r"SinkUnavailable.*password authentication failed") as caught:
        stream.run(sink)
    for text in (str(caught.value), repr(sink), str(sink), repr(sink.ledger)):
        assert "hunter2" not in text


def test_no_server(stream):
    sink = JdbcSink("postgresql://app:hunter2@127.0.0.1:1/db", table="t", stream="s")
    with pytest.raises(SinkUnavailable, match=r"127\.0\.0\.1:1") as caught:
        sink.ledger.head("s")
    assert "hunter2" not in str(caught.value)


def test_secret_is_not_in_the_ledger(postgres_url, stream):
    sink = JdbcSink(postgres_url, table="t", stream="s")
    stream.feed([1])
    stream.run(sink)
    assert parse_url(postgres_url).password not in sink.ledger.head("s").sink


def test_ledger_of_a_newer_version(url, query, stream):
    _ = SqlLedger(url).identity
    query("update foreachonce_meta set value = '999' where name = 'schema_version'")
    newer = url + ("&" if "?" in url else "?") + "application_name=other" if url.startswith("postgresql") else url
    with pytest.raises(LedgerError, match=r"version 999.*pip install -U foreachonce"):
        _ = _uncached(newer).identity


def _uncached(url):
    from foreachonce.sql import ledger

    ledger._identity.cache_clear()
    return SqlLedger(url)


def test_ledger_that_may_not_be_created(postgres_url):
    engine = sa.create_engine(parse_url(postgres_url), isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        connection.exec_driver_sql("drop role if exists guest")
        connection.exec_driver_sql("create role guest login password 'guest'")
        connection.exec_driver_sql("revoke create on schema public from public")
    guest = parse_url(postgres_url).set(drivername="postgresql", username="guest", password="guest")
    with pytest.raises(LedgerError, match="permission denied"):
        _ = SqlLedger(guest.render_as_string(hide_password=False)).identity


def test_jdbc_form_of_the_address(url, stream, query):
    parsed = parse_url(url)
    jdbc = f"jdbc:sqlite:{parsed.database}"
    if url.startswith("postgresql"):
        place = f"{parsed.host}:{parsed.port}/{parsed.database}"
        jdbc = f"jdbc:postgresql://{place}?user={parsed.username}&password={parsed.password}&reWriteBatchedInserts=true"
    if url.startswith("mysql"):
        place = f"{parsed.host}:{parsed.port}/{parsed.database}"
        jdbc = f"jdbc:mariadb://{place}?user={parsed.username}&password={parsed.password}&rewriteBatchedStatements=true"
    stream.feed([1])
    stream.run(JdbcSink(jdbc, table="t", stream="s"))
    assert query("select id from t") == [(1,)]


def test_called_outside_of_foreach_batch(url, spark):
    from foreachonce import EpochError

    with pytest.raises(EpochError, match="foreachBatch"):
        JdbcSink(url, table="t", stream="s")(spark.range(1), 0)


def test_async_progress_tracking_is_refused_by_spark(url, stream):
    """It would commit offsets that the ledger never saw; should Spark allow it one day, this test tells."""
    from pyspark.errors import IllegalArgumentException

    stream.feed([1])
    sink = JdbcSink(url, table="t", stream="s")
    frame = stream.spark.readStream.format("rate").load()
    writer = frame.writeStream.foreachBatch(sink).option("checkpointLocation", str(stream.checkpoint))
    with pytest.raises(IllegalArgumentException, match=r"(?i)async"):
        writer.option("asyncProgressTrackingEnabled", "true").start()
