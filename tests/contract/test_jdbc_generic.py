"""The generic way keeps the contract on PostgreSQL and MariaDB, whose own ways are switched off."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from foreachonce import JdbcSink, exactly_once
from foreachonce.runner import POINTS_AFTER, POINTS_BEFORE
from foreachonce.sql import ledger
from foreachonce.sql.databases import generic
from foreachonce.sql.spark_jdbc import GENERIC_POINTS
from foreachonce.sql.url import parse_url
from foreachonce.testing.contract import refused
from foreachonce.testing.driver import Driver, Job
from tests.contract.test_jdbc_contract import JdbcWay
from tests.servers.jdbc import options
from tests.servers.postgres import database


class Generic:
    points = (*POINTS_BEFORE, *GENERIC_POINTS, *POINTS_AFTER)
    worker_points = ()
    # No statement that all databases have ends another session.
    unbreakable = ("rows-written", "entry-written")

    def sink(self, stream, **keywords):
        return JdbcSink(self.url, table="events", stream=stream, spark_jdbc=options(self.url), **keywords)


class TestGenericOnPostgres(Generic, JdbcWay):
    @pytest.fixture(autouse=True)
    def place(self, postgres_url, monkeypatch):
        self.url = postgres_url
        monkeypatch.setattr(generic, "WAIT_SECONDS", 2.0)


class TestGenericOnMariaDb(Generic, JdbcWay):
    points = GENERIC_POINTS

    @pytest.fixture(autouse=True)
    def place(self, mariadb_url, monkeypatch):
        self.url = mariadb_url
        monkeypatch.setattr(generic, "WAIT_SECONDS", 2.0)


@pytest.fixture
def url(postgres_url) -> str:
    return postgres_url


@pytest.fixture
def write(url, land):
    """Write batches of rows, one file each, into table t."""

    def write(*batches: list[tuple], schema, **keywords):
        return land(JdbcSink(url, table="t", stream="s", spark_jdbc=options(url), **keywords), *batches, schema=schema)

    return write


def stages(query):
    return query("select tablename from pg_tables where tablename like 'foreachonce_stage%'")


# --- the ledger ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("server", ["postgres_url", "mariadb_url"])
def test_many_that_make_the_ledger_at_once_agree_on_it(server, request):
    url, schema = parse_url(request.getfixturevalue(server)), None
    make = ledger._identity.__wrapped__
    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(lambda _: make(generic.Generic(None), url, schema), range(8)))) == 1


# --- modes -----------------------------------------------------------------------------------------------------------


def test_batch_takes_the_place_of_all_rows(write, query):
    write([(1, "a"), (2, "b")], [(2, "c")], schema="id int, v string", mode="overwrite")
    assert query("select id, v from t") == [(2, "c")]
    write([], schema="id int, v string", mode="overwrite")
    assert query("select id, v from t") == []
    assert stages(query) == []


def test_merge_inserts_and_updates_and_leaves_other_columns(write, query):
    query("create table t (id int, at int, v text, note text default 'new', primary key (id, at))")
    keywords = {"mode": "merge", "key": ["id", "at"], "schema": "id int, at int, v string"}
    write([(1, 1, "a"), (1, 2, "b")], **keywords)
    query("update t set note = 'kept'")
    write([(1, 2, "c"), (2, 2, None)], **keywords)
    assert query("select * from t order by id, at") == [(1, 1, "a", "kept"), (1, 2, "c", "kept"), (2, 2, None, "new")]


def test_merge_of_keys_alone(write, query):
    for _ in range(2):
        write([(1,), (2,)], schema="id int", mode="merge", key="id")
    assert query("select id from t order by id") == [(1,), (2,)]


def test_merge_takes_the_newest_row_of_a_key(write, query):
    rows = [(1, "old", 1), (1, "new", 2), (1, "unknown", None)]
    write(rows, schema="id int, v string, at int", mode="merge", key="id", order_by="at")
    assert query("select id, v from t") == [(1, "new")]


def test_merge_refuses_a_key_that_comes_twice(write, query):
    with refused("DuplicateKeys", "(1) 2 times"):
        write([(1, "a"), (1, "b")], schema="id int, v string", mode="merge", key="id")
    assert query("select * from t") == []
    assert stages(query) == []


def test_unchanged_rows_are_not_rewritten(write, query):
    keywords = {"mode": "merge", "key": "id", "skip_unchanged": True, "schema": "id int, v string, w double"}
    write([(1, "same", None), (2, None, 1.5), (3, "x", 2.5)], **keywords)
    before = dict(query("select id, xmin::text from t"))
    write([(1, "same", None), (2, "new", 1.5), (3, None, 2.5), (4, None, None)], **keywords)
    assert query("select * from t order by id") == [(1, "same", None), (2, "new", 1.5), (3, None, 2.5), (4, None, None)]
    after = dict(query("select id, xmin::text from t"))
    assert [number for number in before if before[number] == after[number]] == [1]


COLUMNS = "id int, v string, what string, at int"
CHANGES = {"mode": "changes", "key": "id", "op": "what", "order_by": "at", "schema": COLUMNS}


def test_inserts_updates_and_deletes(write, query):
    write(
        [(1, "a", "insert", 1), (2, "b", "insert", 2), (3, "c", "c", 3)],
        [(1, "a2", "update", 4), (2, None, "delete", 5), (4, "d", "I", 6), (9, None, "d", 7)],
        **CHANGES,
    )
    assert query("select id, v, at from t order by id") == [(1, "a2", 4), (3, "c", 3), (4, "d", 6)]


def test_several_tables_and_statements(stream, url, query):
    @exactly_once(JdbcSink(url, stream="s", spark_jdbc=options(url)))
    def write(df, batch_id, tx):
        tx.append(df, table="events")
        tx.merge(df.groupBy((df.id % 10).alias("digit")).count(), table="digits", key="digit")
        tx.execute("delete from events where id = :gone", {"gone": 1})

    stream.feed([1, 2, 11])
    stream.run(write)
    stream.forget_commit()
    stream.run(write)
    assert query("select id from events order by id") == [(2,), (11,)]
    assert query('select digit, "count" from digits order by digit') == [(1, 2), (2, 1)]
    assert stages(query) == []


@pytest.mark.parametrize("statement", ["insert into u values (1); commit", "commit"])
def test_hidden_commit_is_refused(stream, url, query, statement):
    query("create table u (a int)")

    @exactly_once(JdbcSink(url, stream="s", spark_jdbc=options(url)))
    def write(df, batch_id, tx):
        tx.execute(statement)

    stream.feed([1])
    with refused("ConfigurationError"):
        stream.run(write)
    assert query("select * from u") == []


# --- what Spark's writer does ----------------------------------------------------------------------------------------


def test_names_that_need_quotes(write, query):
    write([(1, "a", 2)], schema="`select` int, `a.b` string, `Upper Case` int", mode="merge", key="select")
    assert query('select "select", "a.b", "Upper Case" from t') == [(1, "a", 2)]


def stop_with_rows_staged(sink, stream, driver, act):
    """A driver stops with its rows staged, and ``act`` is done to the stage; return the error that ended its job."""
    driver.faults.arm("rows-staged", "stop")
    driver.submit(Job(sink, stream.source, stream.checkpoint))
    driver.faults.wait("rows-staged", lambda: driver.is_busy)
    act()
    driver.faults.release("rows-staged")
    return driver.result()


@pytest.fixture
def events(url):
    return JdbcSink(url, table="events", stream="s", spark_jdbc=options(url))


def test_attempt_that_committed_twice_is_written_once(stream, other_driver, events, query):
    """As Spark leaves it where the reply to a task's commit is lost, and where a late attempt is not whole."""
    stream.feed(range(100))

    def repeat():
        ((stage,),) = stages(query)
        columns = "c0, c1, foreachonce_partition"
        query(f"insert into {stage} select {columns}, foreachonce_attempt + 1000, foreachonce_rows from {stage}")
        query(
            f"insert into {stage} select {columns}, foreachonce_attempt + 1000, foreachonce_rows from {stage} "
            "where foreachonce_attempt > 999 and c0 > 5"
        )

    error = stop_with_rows_staged(events, stream, other_driver, repeat)
    assert query("select id from events order by id") == [(number,) for number in range(100)], error
    assert [entry.rows for entry in events.ledger.entries("s")] == [100]


def test_stage_that_has_lost_rows_is_not_promoted(stream, other_driver, events, query):
    stream.feed(range(100))

    def lose():
        ((stage,),) = stages(query)
        query(f"delete from {stage} where c0 = 7")

    error = stop_with_rows_staged(events, stream, other_driver, lose)
    assert "lacks rows of this batch" in error
    assert query("select * from events") == []
    stream.run(events)
    assert query("select count(*) from events") == [(100,)]


def test_stages_of_a_lost_driver_are_dropped(stream, events, query):
    stream.feed([1])
    with Driver(Job(events, stream.source, stream.checkpoint), fault="rows-staged") as driver:
        driver.wait_at_point()
    assert len(stages(query)) == 1
    stream.run(events)
    assert stages(query) == []


def test_stage_that_an_abandoned_task_holds_stays_till_the_next_run(stream, events, query, url, monkeypatch):
    monkeypatch.setattr(generic, "WAIT_SECONDS", 0.5)
    stream.feed([1])
    with Driver(Job(events, stream.source, stream.checkpoint), fault="rows-staged") as driver:
        driver.wait_at_point()
    ((stage,),) = stages(query)
    engine = sa.create_engine(parse_url(url), poolclass=sa.NullPool)
    with engine.begin() as abandoned:
        abandoned.execute(sa.text(f"insert into {stage} (c0) values (7)"))
        stream.run(events)
    assert query("select id from events") == [(1,)]
    assert stages(query) == [(stage,)]
    stream.feed([2])
    stream.run(events)
    assert stages(query) == []


def test_values_come_as_they_were(stream, url, query):
    columns = {
        "tiny": "cast(-128 as tinyint)",
        "long": "-9223372036854775808",
        "single": "cast(1.1 as float)",
        "dec": "cast('-12345678901234567890.123456789' as decimal(38,9))",
        "flag": "true",
        "words": "'a\"b''\\\\ä\\n'",
        "bytes": "X'00ff5c'",
        "day": "date'1700-02-28'",
        "instant": "timestamp'2024-03-10T07:30:00.123456Z'",
        "ancient": "date'1500-02-28'",
        "old": "timestamp'1850-01-01T00:00:00Z'",
        "list": "array(1, null)",
        "nothing": "cast(null as timestamp)",
    }

    @exactly_once(JdbcSink(url, table="t", stream="s", spark_jdbc=options(url)))
    def batch(df, batch_id):
        return df.selectExpr(*(f"{expression} as {name}" for name, expression in columns.items()))

    stream.feed([1])
    stream.run(batch)
    query("set time zone 'UTC'")
    texts = ", ".join(f'"{name}"::text' for name in columns if name not in ("instant", "old"))
    assert query(f"select {texts} from t") == [(
        "-128", "-9223372036854775808", "1.100000023841858", "-12345678901234567890.123456789", "true", "a\"b'\\ä\n",
        "\\x00ff5c", "1700-02-28", "1500-02-28", "[1,null]", None,
    )]  # fmt: skip
    assert query("select instant = '2024-03-10T07:30:00.123456Z', old = '1850-01-01T00:00:00Z' from t") == [(True, True)]


def test_timestamp_without_a_zone_is_refused(write):
    with refused("FrameError", "'at'", "timestamp_ntz"):
        write([], schema="at timestamp_ntz")


# --- errors ----------------------------------------------------------------------------------------------------------


def test_spark_without_the_driver_says_so(stream, url, query):
    sink = JdbcSink(url, table="t", stream="s", spark_jdbc={**options(url), "driver": "org.nowhere.Driver"})
    stream.feed([1])
    with refused("WriteFailed", "org.nowhere.Driver"):
        stream.run(sink)
    assert query("select * from t") == []


@pytest.mark.parametrize("ids", [[1, 2], []])
def test_two_databases_are_refused(stream, url, query, postgres_server, ids):
    stream.feed(ids)
    with database(postgres_server) as other, refused("ConfigurationError", "the same database"):
        stream.run(JdbcSink(url, table="t", stream="s", spark_jdbc=options(other)))
    assert query("select * from t") == []
    assert query("select * from foreachonce_ledger") == []


def test_text_that_is_too_long_shows_no_row(write, query):
    query("create table t (id int, value varchar(3))")
    with refused("WriteFailed", "nothing was written", "character varying(3)") as caught:
        write([(1, "quite long")], schema="id int, value string")
    assert "quite long" not in str(caught.value)
    assert query("select * from t") == []


@pytest.mark.parametrize("wrong", [
    {"targetServerType": "hunter2-secret"},
    {"url": "jdbc:nowhere://db/shop?password=hunter2"},
    {"url": "jdbc:postgresql://app:hunter2@db:port/shop"},
], ids=str)  # fmt: skip
def test_secrets_are_shown_nowhere(stream, url, query, wrong, caplog):
    stream.feed([1])
    with refused("WriteFailed") as caught:
        stream.run(JdbcSink(url, table="t", stream="s", spark_jdbc={**options(url), **wrong}))
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in caplog.text
    stream.run(JdbcSink(url, table="t", stream="s", spark_jdbc={**options(url), "ApplicationName": "hunter2-secret"}))
    assert "hunter2" not in str(query("select * from foreachonce_ledger"))
