"""Many rows are merged by MERGE: the same result as by INSERT … ON CONFLICT, alone and beside other writers."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
import sqlalchemy as sa

from foreachonce import DuplicateKeys, JdbcSink, exactly_once
from foreachonce.sql.databases import optimistic
from foreachonce.sql.databases.postgres import Postgres
from foreachonce.sql.stage import merge
from foreachonce.sql.table import Rows, SqlTarget
from foreachonce.sql.url import parse_url

COUNT = optimistic.FEWEST_ROWS


@pytest.fixture
def statements(monkeypatch) -> list[str]:
    """What was executed of MERGE and of ON CONFLICT, in order."""
    seen: list[str] = []

    def note(connection, cursor, statement, parameters, context, executemany):
        seen.extend(word for word in ("MERGE INTO", "ON CONFLICT") if word in statement)

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    yield seen
    sa.event.remove(sa.Engine, "before_cursor_execute", note)


@pytest.fixture
def url(postgres_url):
    return postgres_url


@pytest.fixture
def engine(postgres_url) -> sa.Engine:
    return sa.create_engine(parse_url(postgres_url), poolclass=sa.NullPool)


@pytest.fixture
def bring(engine, postgres_url, query) -> Callable[..., None]:
    """Merge ``COUNT`` rows, given as a query, into table t."""

    def bring(select: str, *, key=("id",), columns=("id", "v"), **keywords) -> None:
        query(f"create table if not exists stage as {select}")
        rows = Rows(SqlTarget("t", None, "merge", key, **keywords), columns)
        source = sa.select(*map(sa.column, columns)).select_from(sa.table("stage"))
        with Postgres().writing(parse_url(postgres_url)) as connection:
            merge(connection, Postgres(), rows, source, COUNT)

    return bring


NEW = "select id, 'new' as v from generate_series(2, 4) as id"


def test_rows_are_inserted_and_updated(bring, query, statements):
    query("create table t (id int primary key, v text)")
    query("insert into t values (1, 'old'), (2, 'old')")
    bring(NEW)
    assert query("select id, v from t order by id") == [(1, "old"), (2, "new"), (3, "new"), (4, "new")]
    assert statements == ["MERGE INTO"]


@pytest.mark.parametrize(("kind", "also", "skip", "written"), [
    ("text", None, False, 1),
    ("varchar(9)", None, False, 1),
    ("text", None, True, 1),
    ("citext", None, False, 3),
    ("citext", None, True, 1),
    ("json", None, False, 3),
    ("text", "create publication p for table t", False, 3),
    ("text", "create publication p for tables in schema public", False, 3),
    ("text", "create publication p for all tables", False, 3),
], ids=str)  # fmt: skip
def test_row_that_stays_as_it_is_is_left_alone_where_nobody_can_tell(bring, query, statements, kind, also, skip, written):
    query("create extension if not exists citext")
    value = '"new"' if kind == "json" else "new"
    query(f"create table t (id int primary key, v {kind})")
    query(f"insert into t values (2, '{value}'), (3, '{value}'), (4, null)")
    if also:
        query(also)
    before = dict(query("select id, xmin::text from t"))
    bring(f"select id, cast('{value}' as {kind}) as v from generate_series(2, 4) as id", skip_unchanged=skip)
    after = dict(query("select id, xmin::text from t"))
    assert sum(before[each] != after[each] for each in before) == written
    assert statements == ["MERGE INTO"]


def test_names_that_need_quotes_and_a_table_of_keys_alone(bring, query, statements):
    query('create table t ("a%""c" int primary key)')
    query("insert into t values (2)")
    bring('select id as "a%""c" from generate_series(2, 4) as id', key=('a%"c',), columns=('a%"c',))
    assert query("select count(*) from t") == [(3,)]
    assert statements == ["MERGE INTO"]


@pytest.mark.parametrize("select", [
    "select 7 as id, 'a' as v union all select 7, 'b'",
    "select 1 as id, 'a' as v union all select 1, 'b'",
], ids=["new", "there"])  # fmt: skip
def test_key_that_comes_twice_is_refused_by_name(bring, query, select):
    query("create table t (id int primary key, v text)")
    query("insert into t values (1, 'old')")
    with pytest.raises(DuplicateKeys, match="2 times"):
        bring(select)
    assert query("select id, v from t") == [(1, "old")]


@pytest.mark.parametrize("also", [
    "create trigger x before update on t for each row execute function suppress_redundant_updates_trigger()",
    "create rule x as on delete to t do instead nothing",
    "alter table t enable row level security",
    "insert into t select -n, 'old' from generate_series(0, 999999) as n; analyze t",
], ids=["trigger", "rule", "policies", "much larger table"])  # fmt: skip
def test_where_merge_would_do_otherwise_or_read_too_much_it_is_left_out(bring, query, statements, also):
    query("create table t (id int primary key, v text)")
    for statement in also.split("; "):
        query(statement)
    bring(NEW)
    assert query("select count(*) from t where v = 'new'") == [(3,)]
    assert statements == ["ON CONFLICT"]


@pytest.mark.parametrize("then", ["commit", "rollback"])
def test_key_that_another_transaction_inserts_meanwhile_is_updated(bring, query, engine, statements, then):
    query("create table t (id int primary key, v text)")
    with engine.connect() as other:
        other.exec_driver_sql("insert into t values (3, 'other')")
        done = threading.Thread(target=bring, args=(NEW,))
        done.start()
        _wait(lambda: query("select count(*) from pg_stat_activity where wait_event_type = 'Lock'") != [(0,)])
        getattr(other, then)()
        done.join(30)
    assert query("select id, v from t order by id") == [(2, "new"), (3, "new"), (4, "new")]
    assert statements[0] == "MERGE INTO"
    assert ("ON CONFLICT" in statements) == (then == "commit")


def _wait(condition: Callable[[], bool]) -> None:
    for _ in range(300):
        if condition():
            return
        threading.Event().wait(0.02)
    raise AssertionError("nobody waits for a lock")


def test_streams_that_merge_the_same_keys_at_once_lose_none(engine, postgres_url, query):
    """Each of MERGE's failures, a violation or a deadlock, is taken back and ON CONFLICT does the work."""
    query("create table t (id int primary key, v text)")
    query("create table up as select id, 'up' as v from generate_series(1, 20000) as id order by id")
    query("create table down as select id, 'down' as v from generate_series(1, 20000) as id order by id desc")
    rows, start = Rows(SqlTarget("t", None, "merge", ("id",)), ("id", "v")), threading.Barrier(2)
    failures: list[BaseException] = []

    def write(stage: str) -> None:
        source = sa.select(sa.column("id"), sa.column("v")).select_from(sa.table(stage))
        try:
            for _ in range(5):
                start.wait(timeout=30)
                with Postgres().writing(parse_url(postgres_url)) as connection:
                    merge(connection, Postgres(), rows, source, COUNT)
        except BaseException as error:  # noqa: BLE001 - of a thread
            failures.append(error)

    threads = [threading.Thread(target=write, args=(name,)) for name in ("up", "down")]
    for each in threads:
        each.start()
    for each in threads:
        each.join(60)
    assert failures == []
    assert query("select count(*), count(distinct id), count(distinct v) from t") == [(20_000, 20_000, 1)]


@pytest.mark.parametrize("path", ["direct", "staged", "driver"])
def test_batch_of_many_rows_is_merged_by_it(stream, postgres_url, query, monkeypatch, path):
    rows = exactly_once(JdbcSink(postgres_url, table="t", stream="s", mode="merge", key="n", path=path))(
        lambda frame, batch_id: frame.selectExpr(f"explode(sequence(1, {COUNT})) as n", "id as v"))  # fmt: skip
    stream.feed([1], [2])
    stream.run(rows)
    assert query("select count(*), sum(v) from t") == [(COUNT, 2 * COUNT)]
