"""A table is taken or refused for what it is, on every path alike: how many rows a batch has decides nothing."""

from __future__ import annotations

from uuid import uuid4

import pytest

from foreachonce import JdbcSink, exactly_once
from foreachonce.sql.url import parse_url
from foreachonce.testing.contract import refused

PATHS = ["direct", "staged", "driver"]
GOES = {
    "a view": ["create table base (id bigint, value text)", "create view t as select * from base"],
    "partitions": [
        "create table t (id bigint, value text) partition by range (id)",
        "create table t1 partition of t for values from (0) to (10)",
        "create table t2 partition of t default",
    ],
    "a trigger": [
        "create table t (id bigint, value text)",
        "create function seen() returns trigger language plpgsql as $$ begin return new; end $$",
        "create trigger seen before insert on t for each row execute function seen()",
    ],
    "a rule": ["create table base (id bigint, value text)", "create view t as select * from base where id > 0"],
    "a default": ["create table t (id bigint, value text, at timestamptz default now(), n serial)"],
    "an identity": ["create table t (n bigint generated always as identity, id bigint, value text)"],
    "a computed column": ["create table t (id bigint, value text, twice bigint generated always as (id * 2) stored)"],
    "a domain": ["create domain positive as bigint check (value > 0)", "create table t (id positive, value text)"],
    "an enum": ["create type word as enum ('value 1', 'value 2')", "create table t (id bigint, value word)"],
    "json": ["create table t (id bigint, value varchar(20))"],
}
REFUSED = {
    "an identity in the frame": (["create table t (id bigint generated always as identity, value text)"], "BY DEFAULT"),
    "a computed column in the frame": (
        ["create table t (n bigint, value text, id bigint generated always as (n) stored)"],
        "drop it from the frame",
    ),
    "money": (["create table t (id bigint, value money)"], "'value' is MONEY there"),
    "a type of nobody's": (
        ["create type pair as (a int, b int)", "create table t (id bigint, value pair)"],
        "'value' is pair",
    ),
    "char": (["create table t (id bigint, value char(9))"], "alter it to varchar"),
    "a name, which is cut": (["create table t (id bigint, value name)"], "'value' is name"),
    "one byte": (['create table t (id bigint, value "char")'], "'value' is \"char\""),
    "two columns": (["create table t (id int, value char(9))"], "'id' is INTEGER there"),
}


@pytest.fixture
def url(postgres_url):
    return postgres_url


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("table", GOES)
def test_table_that_goes(stream, url, query, table, path):
    for statement in GOES[table]:
        query(statement)
    stream.feed([1, 2])
    stream.run(JdbcSink(url, table="t", stream="s", path=path))
    assert query("select id, cast(value as text) from t order by id") == [(1, "value 1"), (2, "value 2")]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("table", REFUSED)
def test_table_that_is_refused_before_a_row_is_written(stream, url, query, table, path):
    statements, words = REFUSED[table]
    for statement in statements:
        query(statement)
    stream.feed([1, 2])
    with refused("FrameError", "table t", words):
        stream.run(JdbcSink(url, table="t", stream="s", path=path))
    assert query("select count(*) from foreachonce_ledger") == [(0,)]


@pytest.mark.parametrize("path", PATHS)
def test_rows_that_a_policy_lets_through(stream, url, query, path):
    """COPY knows no row-level security, so such rows go by INSERT."""
    user = f"app_{uuid4().hex[:8]}"
    query("create table t (id bigint, value text)")
    query("alter table t enable row level security")
    query("create policy small on t with check (id < 10)")
    query(f"create role {user} login password 'app'")
    query(f"grant all on schema public to {user}")
    query(f"grant insert, select on t to {user}")
    guest = parse_url(url).set(username=user, password="app").render_as_string(hide_password=False)
    try:
        stream.feed([1, 2])
        stream.run(JdbcSink(guest, table="t", stream="s", path=path))
        assert query("select count(*) from t") == [(2,)]
        stream.feed([99])
        with refused("WriteFailed", "row-level security", "othing was written"):
            stream.run(JdbcSink(guest, table="t", stream="s", path=path))
        assert query("select count(*) from t") == [(2,)]
    finally:
        query(f"drop owned by {user} cascade")
        query(f"drop role {user}")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("columns", "goes"), [(1500, True), (1599, False)])
def test_very_many_columns(stream, url, query, path, columns, goes):
    sink = exactly_once(JdbcSink(url, table="t", stream="s", path=path))(
        lambda frame, batch_id: frame.selectExpr(*(f"cast(1 as smallint) as c{number}" for number in range(columns)))
    )
    stream.feed([1])
    if goes:
        stream.run(sink)
        assert query("select c0 + c1499 from t") == [(2,)]
        return
    with refused("FrameError", "1,599 columns", "at most 1,598"):
        stream.run(sink)


@pytest.mark.parametrize("path", PATHS)
def test_json_has_no_equality(stream, url, query, path):
    query("create table t (id bigint primary key, value json)")
    stream.feed([1])
    rows = exactly_once(JdbcSink(url, table="t", stream="s", path=path, mode="merge", key="id", skip_unchanged=True))
    with refused("FrameError", "json (value) has no equality", "jsonb"):
        stream.run(rows(lambda frame, batch_id: frame.selectExpr("id", "'{}' as value")))


def test_value_of_a_step_names_the_step_and_the_column(stream, url, query):
    query("create table a (id bigint, value varchar(3))")

    @exactly_once(JdbcSink(url, stream="s"))
    def both(frame, batch_id, tx):
        tx.append(frame, table="b")
        tx.append(frame, table="a")

    stream.feed([1])
    with refused("WriteFailed", "step 2 of the 2 of tx", "column 'value'", "too long", "othing was written"):
        stream.run(both)
    assert query("select count(*) from b") == [(0,)]


@pytest.mark.parametrize(("column", "value", "words"), [
    ("uuid", "'not one'", "column 'v'"), ("varchar(3)", "'four'", "column 'v'"), ("text", "'a\\0b'", "column 'v'"),
    ("mood", "'sad'", "column 'v'"), ("jsonb", "'{'", "column 'v'"), ("jsonb", "'\"\\\\u0000\"'", "column 'v'"),
    ("bigint not null", "cast(null as bigint)", "column 'v'"), ("smallint[]", "array(1S, null)", None),
    ("uuid[]", "array('not one')", "column 'v'"),
])  # fmt: skip
@pytest.mark.parametrize("path", ["direct", "driver"])
def test_value_that_the_server_refuses_is_in_a_column_that_is_named(stream, url, query, column, value, words, path):
    query("create type mood as enum ('happy')")
    query(f"create table t (id bigint, v {column})")
    stream.feed([1])
    rows = exactly_once(JdbcSink(url, table="t", stream="s", path=path))
    if words is None:
        stream.run(rows(lambda frame, batch_id: frame.selectExpr("id", f"{value} as v")))
        assert query("select v from t") == [([1, None],)]
        return
    with refused("WriteFailed", words, "othing was written"):
        stream.run(rows(lambda frame, batch_id: frame.selectExpr("id", f"{value} as v")))
