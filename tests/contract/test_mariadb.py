"""Where MariaDB and MySQL would keep half a batch or change a value without an error: refused, with nothing written."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pyarrow as pa
import pytest
import sqlalchemy as sa
from pyspark.sql.types import StringType, StructField, StructType

from foreachonce import FrameError, JdbcSink, SinkUnavailable, SqlLedger, WriteFailed, exactly_once
from foreachonce.errors import CommitInDoubt
from foreachonce.sql.databases import named_locks
from foreachonce.sql.databases.mariadb import MariaDb
from foreachonce.sql.url import parse_url
from foreachonce.testing.contract import refused

DATABASE = MariaDb()
MINUTE = dt.datetime(2024, 2, 29, 12, 0, 0, 123456)


@pytest.fixture
def url(mariadb_url) -> str:
    return mariadb_url


@pytest.fixture(params=["file", "inserts"])
def way(request, url) -> str:
    """The same address, with and without LOAD DATA LOCAL."""
    return url if request.param == "file" else f"{url}?local_infile=0"


def load(url: str, *batches: pa.RecordBatch) -> int:
    """Load batches into table t in a transaction of its own."""
    table = sa.table("t")
    with DATABASE.writing(parse_url(url)) as connection:
        return DATABASE.load(connection, table, batches[0].schema.names, batches)


def batch(**columns) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict(columns)


# --- what a load must not change -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("column", "value", "words"), [
    ("varchar(3)", "long", "too long|truncated"),
    ("varchar(3)", "abc ", "truncated"),
    ("int", "many", "integer"),
    ("int", str(2**31), "range"),
    ("int check (v < 1000)", "12345", "CONSTRAINT"),
    ("decimal(5,2)", "1.239", "truncated"),
    ("datetime(6)", "0000-00-00 00:00:00", "v"),
    ("datetime(6)", "2024-02-30 00:00:00", "v"),
    ("date", "10000-01-01", "v"),
    ("bigint not null", None, "v"),
    ("varchar(9) character set utf8mb3", "😀", "string value"),
    ("varchar(9) character set latin1", "日", "string value"),
    ("json", "{half", "json_valid|CONSTRAINT"),
])  # fmt: skip
def test_value_that_would_be_changed_rolls_all_back(way, query, column, value, words):
    query(f"create table t (n int, v {column})")
    values = [None if "not null" not in column else "1"] * 2 + [value]
    with pytest.raises(WriteFailed, match=f"(?i){words}") as caught:
        load(way, batch(n=[1, 2, 3], v=pa.array(values, pa.string())))
    assert query("select * from t") == []
    assert value is None or f"'{value}'" not in str(caught.value)  # the row itself is not for logs


def test_key_that_is_there_rolls_all_back(way, query):
    query("create table t (n int primary key)")
    query("insert into t values (2)")
    with pytest.raises(WriteFailed, match="Duplicate entry '…'"):
        load(way, batch(n=[1, 2, 3]))
    assert query("select n from t") == [(2,)]


def test_last_of_many_batches_is_watched_too(way, query):
    query("create table t (n int primary key)")
    with pytest.raises(WriteFailed):
        load(way, *(batch(n=list(range(1000 * k, 1000 * (k + 1)))) for k in range(20)), batch(n=[5]))
    assert query("select count(*) from t") == [(0,)]


def test_every_row_of_many_batches_goes_in(way, query):
    query("create table t (n int primary key)")
    assert load(way, *(batch(n=list(range(1000 * k, 1000 * (k + 1)))) for k in range(20))) == 20_000
    assert query("select count(*), sum(n) from t") == [(20_000, 199_990_000)]


def test_values_come_back_by_either_way(way, query):
    query("create table t (s longtext, b longblob, f tinyint(1), d double, n decimal(38,18), i datetime(6), w datetime(6))")
    texts = ["", "a\\b\t\n\r\0'\"`%s%", "\\N", "NULL", "😀", None]
    blobs = [b"", bytes(range(256)), b"\\N", b"\xff", b"\t\n", None]
    load(way, batch(
        s=texts, b=pa.array(blobs, pa.binary()), f=[True, False, True, False, True, None],
        d=[0.1, 1.7976931348623157e308, 5e-324, -2.5, 1 / 3, None],
        n=pa.array([*["12345678901234567890.123456789012345678"] * 5, None]),
        i=pa.array([MINUTE.replace(tzinfo=dt.timezone.utc)] * 5 + [None], pa.timestamp("us", "America/New_York")),
        w=pa.array([MINUTE] * 5 + [None], pa.timestamp("us")),
    ))  # fmt: skip
    found = query("select * from t")
    assert [row[0] for row in found] == texts
    assert [row[1] for row in found] == blobs
    assert [row[2] for row in found] == [1, 0, 1, 0, 1, None]
    assert [row[3] for row in found] == [0.1, 1.7976931348623157e308, 5e-324, -2.5, 1 / 3, None]
    assert [row[4] for row in found] == [*[Decimal("12345678901234567890.123456789012345678")] * 5, None]
    assert [row[5:] for row in found] == [*[(MINUTE, MINUTE)] * 5, (None, None)]


def test_rows_of_one_empty_text_are_rows(way, query):
    query("create table t (s longtext)")
    assert load(way, batch(s=["", "", ""])) == 3
    assert query("select s from t") == [("",), ("",), ("",)]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_number_that_cannot_be_held_is_refused_by_its_column(way, query, value):
    query("create table t (n int, v double)")
    with pytest.raises(WriteFailed, match="column 'v' of this batch has NaN or an infinity"):
        load(way, batch(n=[1, 2], v=[1.0, value]))
    assert query("select * from t") == []


def test_zero_stays_zero_where_the_server_counts(way, query):
    query("create table t (n bigint auto_increment primary key)")
    load(way, batch(n=[7, 0]))
    assert query("select n from t order by n") == [(0,), (7,)]


def test_server_that_allows_no_files_gets_inserts(url, query):
    query("create table t (n int)")
    query("set global local_infile = 0")
    try:
        assert load(url, batch(n=[1, 2])) == 2
    finally:
        query("set global local_infile = 1")
    assert query("select n from t order by n") == [(1,), (2,)]


def test_missing_table_is_named_and_nobody_waits(way):
    with pytest.raises(WriteFailed, match=r"1146.*\.t'"):
        load(way, *[batch(n=list(range(10_000)))] * 20)


def test_rows_that_fail_half_way_are_rolled_back(way, query):
    query("create table t (n int)")

    def torn():
        yield batch(n=[1])
        raise RuntimeError("torn")

    with pytest.raises(RuntimeError, match="torn"), DATABASE.writing(parse_url(way)) as connection:
        DATABASE.load(connection, sa.table("t"), ["n"], torn())
    assert query("select * from t") == []


# --- tables that cannot keep the promise -----------------------------------------------------------------------------


def check(url: str, *key: str, columns: tuple[str, ...] = ("id", "v")) -> None:
    with DATABASE.writing(parse_url(url)) as connection:
        frame = StructType([StructField(name, StringType()) for name in columns])
        DATABASE.check_table(connection, "t", None, frame, key)


@pytest.mark.parametrize("engine", ["MyISAM", "Aria", "MEMORY"])
def test_engine_without_transactions_is_refused(url, query, engine):
    query(f"create table t (id bigint, v varchar(9)) engine={engine}")
    with pytest.raises(FrameError, match=f"engine {engine}, which knows no transactions.*engine=InnoDB"):
        check(url)


def test_view_is_refused(url, query):
    query("create table other (id bigint) engine=MyISAM")
    query("create view t as select * from other")
    with pytest.raises(FrameError, match="is a view"):
        check(url)


def test_batch_into_a_table_without_transactions_writes_nothing(url, stream, query):
    query("create table events (id bigint, value text) engine=MyISAM")
    stream.feed([1])
    with refused("FrameError", "MyISAM"):
        stream.run(JdbcSink(url, table="events", stream="s"))
    assert query("select count(*) from events") == [(0,)]


@pytest.mark.parametrize(("table", "key", "words"), [
    ("id bigint primary key, v varchar(9), unique (v)", ["id"], "unique index v beside"),
    ("id bigint primary key, v varchar(9), unique (id, v)", ["id"], "unique index id beside"),
    ("id bigint, v varchar(9) collate utf8mb4_bin, unique (v(3))", ["v"], "only on a part"),
    ("id bigint, v varchar(9) collate utf8mb4_general_ci primary key", ["v"], "collation utf8mb4_general_ci"),
    ("id bigint primary key, v varchar(9) character set utf8mb3", [], "character set utf8mb3"),
    ("id bigint primary key, v varchar(9) character set latin1", [], "character set latin1"),
])  # fmt: skip
def test_table_that_would_mix_rows_up_is_refused(url, query, table, key, words):
    query(f"create table t ({table})")
    with pytest.raises(FrameError, match=words):
        check(url, *key)


@pytest.mark.parametrize(("table", "key"), [
    ("id bigint primary key, v varchar(9)", ["id"]),
    ("number bigint auto_increment primary key, id bigint, v varchar(9), unique (id)", ["id"]),
    ("id bigint, v varchar(9) collate utf8mb4_bin, primary key (v, id), key (id)", ["id", "v"]),
])  # fmt: skip
def test_table_that_is_right_is_taken(url, query, table, key):
    query(f"create table t ({table})")
    check(url, *key)


def test_texts_that_spark_tells_apart_are_keys_of_their_own(url, stream, query):
    keys = ["a", "A", "a ", "ä", "😀"]

    @exactly_once(JdbcSink(url, table="t", stream="s", mode="merge", key="k"))
    def write(frame, batch_id):
        return frame.sparkSession.createDataFrame([(keys[number], number) for number in range(5)], "k string, n int")

    stream.feed([1], [2])
    stream.run(write)
    assert sorted(query("select n from t")) == [(0,), (1,), (2,), (3,), (4,)]


# --- statements that commit by themselves ----------------------------------------------------------------------------


@pytest.mark.parametrize("statement", [
    "truncate table u", "create table x (a int)", "/*! truncate table u */", "# a comment\ntruncate table u",
    "alter table u add b int", "set autocommit = 1", "call p()", "lock tables u write",
])  # fmt: skip
def test_statement_that_commits_is_refused_before_it_does(url, stream, query, statement):
    query("create table u (a bigint)")
    query("insert into u values (7)")

    @exactly_once(JdbcSink(url, stream="s"))
    def write(df, batch_id, tx):
        tx.execute("insert into u values (0)")
        tx.execute(statement)

    stream.feed([1])
    with refused("ConfigurationError", "may commit by itself"):
        stream.run(write)
    assert query("select a from u") == [(7,)]


def test_ledger_that_was_made_half_is_made_whole(url, query):
    _ = SqlLedger(url).identity
    query("delete from foreachonce_meta")
    query("drop table foreachonce_runs")
    from foreachonce.sql import ledger

    ledger._identity.cache_clear()
    assert SqlLedger(url).identity
    assert query("select count(*) from foreachonce_meta") == [(2,)]
    assert query("select count(*) from foreachonce_runs") == [(0,)]


# --- the stream's lock -----------------------------------------------------------------------------------------------

KEY = 2**62 + 1


def test_transactions_share_a_stream_and_let_it_go_at_their_end(url):
    place = parse_url(url)
    with DATABASE.writing(place) as one, DATABASE.writing(place) as two:
        named_locks.share(one, KEY)
        named_locks.share(two, KEY)
        assert len(named_locks._holders(one, KEY)) == 1  # the other one
    with DATABASE.writing(place) as taker:
        assert named_locks._holders(taker, KEY) == []
        named_locks.seize(taker, KEY)


def test_take_over_ends_the_transaction_that_holds_the_stream(url, query):
    query("create table t (n int)")
    place = parse_url(url)
    with pytest.raises(CommitInDoubt), DATABASE.writing(place) as paused:  # noqa: PT012
        named_locks.share(paused, KEY)
        paused.exec_driver_sql("insert into t values (1)")
        with DATABASE.writing(place) as taker:
            named_locks.seize(taker, KEY)
            assert named_locks._holders(taker, KEY) == []
            taker.exec_driver_sql("insert into t values (2)")
        paused.exec_driver_sql("insert into t values (3)")
    assert query("select n from t") == [(2,)]


def test_nobody_comes_in_while_a_stream_is_taken_over(url, monkeypatch):
    monkeypatch.setattr(named_locks, "_GATE_SECONDS", 0.2)
    place = parse_url(url)
    with DATABASE.writing(place) as taker:
        named_locks.seize(taker, KEY)
        with pytest.raises(SinkUnavailable, match="taking the stream over"), DATABASE.writing(place) as late:
            named_locks.share(late, KEY)
    with DATABASE.writing(place) as later:
        named_locks.share(later, KEY)


def test_taker_that_stands_still_is_replaced(url):
    place = parse_url(url)
    with pytest.raises(CommitInDoubt), DATABASE.writing(place) as paused:  # noqa: PT012
        named_locks.seize(paused, KEY)
        with DATABASE.writing(place) as taker:
            named_locks.seize(taker, KEY)
        paused.exec_driver_sql("select 1")


def test_session_of_another_user_that_may_not_be_ended_keeps_the_stream(url, query):
    query("create or replace user guest@'%' identified by 'guest'")
    place = parse_url(url)
    guest = place.set(username="guest", password="guest")
    query(f"grant all on \"{place.database}\".* to guest@'%'")
    with DATABASE.writing(place) as holder:
        named_locks.share(holder, KEY)
        with pytest.raises(SinkUnavailable, match="may not end it"), DATABASE.writing(guest) as taker:
            named_locks.seize(taker, KEY)
        holder.exec_driver_sql("select 1")
