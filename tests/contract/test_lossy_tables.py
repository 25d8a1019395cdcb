"""Tables that drop rows, change them or send them elsewhere in silence: the batch is refused, and nothing of it stays."""

from __future__ import annotations

import pytest

from foreachonce import JdbcSink, exactly_once
from foreachonce.testing.contract import refused

DROPS = "create function drops() returns trigger language plpgsql as 'begin return null; end'"
# How each database is made to leave out what ``verb`` does.
HURTS = {
    "postgresql": {
        "insert": (DROPS, "create trigger x before insert on t for each row when (new.id = 2) execute function drops()"),
        "update": (DROPS, "create trigger x before update on t for each row execute function drops()"),
        "delete": (DROPS, "create trigger x before delete on t for each row execute function drops()"),
    },
    "sqlite": {
        "insert": ("create trigger x before insert on t when new.id = 2 begin select raise(ignore); end",),
        "update": ("create trigger x before update on t begin select raise(ignore); end",),
        "delete": ("create trigger x before delete on t begin select raise(ignore); end",),
    },
}


@pytest.fixture
def hurt(url, query):
    """Make table t, whose id 1 is there, and let it leave out what a statement does."""
    kind = url.split(":")[0]
    if kind not in HURTS:
        pytest.skip("MariaDB's triggers leave no row out without an error")

    def hurt(verb: str) -> None:
        query("create table t (id bigint primary key, value text)")
        query("insert into t values (1, 'old')")
        for statement in HURTS[kind][verb]:
            query(statement)

    return hurt


@pytest.fixture
def sink(url):
    def sink(path, **keywords):
        if url.startswith("sqlite") and path == "staged":
            pytest.skip("SQLite has one path")
        return JdbcSink(url, table="t", stream="s", path=path, **keywords)

    return sink


PATHS = pytest.mark.parametrize("path", ["direct", "staged", "driver"])


@PATHS
def test_trigger_drops_a_row(hurt, sink, stream, query, path):
    writer = sink(path)
    hurt("insert")
    stream.feed([2, 3])
    with refused("WriteFailed", "took 1 of the 2 rows", "trigger", "Nothing was written"):
        stream.run(writer)
    assert query("select id from t") == [(1,)]
    assert writer.ledger.head("s") is None
    query("drop trigger x on t" if "postgresql" in str(writer) else "drop trigger x")
    stream.run(writer)
    assert query("select id from t order by id") == [(1,), (2,), (3,)]


@PATHS
@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("verb", ["insert", "update"])
def test_trigger_drops_a_row_of_a_merge(hurt, sink, stream, query, path, verb, skip):
    writer = sink(path, mode="merge", key="id", skip_unchanged=skip)
    hurt(verb)
    stream.feed([1, 2])
    if skip and verb == "update":
        # A row that is left as it is counts as one that would not change: the guarantees say so.
        stream.run(writer)
        return
    with refused("WriteFailed", "took 1 of the 2 rows", "Nothing was written"):
        stream.run(writer)
    assert query("select id, value from t") == [(1, "old")]


@PATHS
def test_trigger_keeps_a_row_that_an_overwrite_deletes(hurt, sink, stream, query, path):
    rows = exactly_once(sink(path, mode="overwrite"))(lambda frame, batch_id: frame)
    hurt("delete")
    stream.feed([2])
    with refused("WriteFailed", "table t keeps rows", "Nothing was written"):
        stream.run(rows)
    assert query("select id from t") == [(1,)]


@PATHS
def test_trigger_keeps_a_row_that_a_change_deletes(hurt, sink, stream, query, path):
    writer = sink(path, mode="changes", key="id", order_by="value", op="op")
    hurt("delete")
    stream.feed([1])
    rows = exactly_once(writer)(lambda frame, batch_id: frame.selectExpr("id", "value", "'delete' as op"))
    with refused("WriteFailed", "table t keeps rows", "Nothing was written"):
        stream.run(rows)
    assert query("select id from t") == [(1,)]


@PATHS
@pytest.mark.parametrize(("rule", "there", "also"), [
    ("do instead nothing", None, 0),
    ("do also insert into other values (new.id)", 2, 2),
    ("do instead insert into other values (new.id)", 0, 2),
], ids=["nothing", "also", "elsewhere"])  # fmt: skip
def test_rule_does_the_same_on_every_path(postgres_url, sink, stream, query, url, path, rule, there, also):
    if url != postgres_url:
        pytest.skip("PostgreSQL's alone")
    query("create table t (id bigint, value text)")
    query("create table other (id bigint)")
    query(f"create rule r as on insert to t {rule}")
    stream.feed([1, 2])
    if there is None:
        with refused("WriteFailed", "took 0 of the 2 rows", "rule"):
            stream.run(sink(path))
    else:
        stream.run(sink(path))
    assert query("select (select count(*) from t), (select count(*) from other)") == [(there or 0, also)]


def test_trigger_of_a_partition_and_of_a_view_are_seen(postgres_url, url, sink, stream, query):
    if url != postgres_url:
        pytest.skip("PostgreSQL's alone")
    query("create table t (id bigint, value text) partition by range (id)")
    query("create table part partition of t for values from (0) to (100)")
    query(DROPS)
    query("create trigger x before insert on part for each row execute function drops()")
    stream.feed([1, 2])
    for path in ("direct", "staged", "driver"):
        with refused("WriteFailed", "took 0 of the 2 rows"):
            stream.run(sink(path))
    query("alter table t rename to base")
    query("create view t as select * from base")
    query("create trigger y instead of insert on t for each row execute function drops()")
    for path in ("direct", "staged", "driver"):
        with refused("WriteFailed", "took 0 of the 2 rows"):
            stream.run(sink(path))


@pytest.mark.parametrize("path", ["direct", "driver"])
@pytest.mark.parametrize(("mode", "columns", "value"), [
    ("append", "id bigint unique on conflict ignore, v text", "1"),
    ("append", "id bigint unique on conflict replace, v text", "1"),
    ("append", "id bigint not null on conflict ignore, v text", "null"),
    ("append", "id bigint not null on conflict replace default 9, v text", "null"),
    ("merge", "id bigint primary key, v text unique on conflict replace", "id"),
    ("overwrite", "id bigint unique on conflict replace, v text", "7"),
])  # fmt: skip
def test_conflict_clause_of_sqlite_drops_and_changes_nothing(sqlite_url, url, stream, query, path, mode, columns, value):
    if url != sqlite_url:
        pytest.skip("SQLite's alone")
    query(f"create table t ({columns})")
    query("insert into t values (1, 'old')")
    key = "id" if mode == "merge" else None
    rows = exactly_once(JdbcSink(url, table="t", stream="s", mode=mode, key=key, path=path))(
        lambda frame, batch_id: frame.selectExpr(f"cast({value} as bigint) as id", "'old' as v"))  # fmt: skip
    stream.feed([3, 4])
    with refused("WriteFailed", "othing was written"):
        stream.run(rows)
    assert query("select id, v from t") == [(1, "old")]
