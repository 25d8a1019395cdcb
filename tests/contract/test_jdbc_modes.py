"""Overwrite, streams of changes, and merges that leave unchanged rows alone; on every database and path."""

from __future__ import annotations

import threading

import pytest
import sqlalchemy as sa

from foreachonce import JdbcSink, exactly_once
from foreachonce.spark.resolve import Resolved
from foreachonce.sql.url import parse_url
from foreachonce.testing.contract import refused


@pytest.fixture
def write(url, land, path):
    """Write batches of rows, one file each, into table t."""

    def write(*batches: list[tuple], schema, **keywords):
        return land(JdbcSink(url, table="t", stream="s", path=path, **keywords), *batches, schema=schema)

    return write


# One database stands for all.
on_sqlite = pytest.mark.parametrize("url", ["sqlite_url"], indirect=True)


# --- overwrite -------------------------------------------------------------------------------------------------------


def test_batch_takes_the_place_of_all_rows(write, query):
    write([(1, "a"), (2, "b")], [(2, "c")], schema="id int, v string", mode="overwrite")
    assert query("select id, v from t") == [(2, "c")]
    write([], schema="id int, v string", mode="overwrite")
    assert query("select id, v from t") == []


def test_no_reader_sees_an_overwritten_table_empty(write, url):
    batches = [[(number, k) for k in range(50)] for number in range(4)]
    write(batches[0], schema="batch int, k int", mode="overwrite")
    seen, over = set(), threading.Event()

    def look():
        engine = sa.create_engine(parse_url(url), poolclass=sa.NullPool)
        while not over.is_set():
            with engine.connect() as connection:
                seen.add(tuple(connection.execute(sa.text("select count(*), count(distinct batch) from t")).one()))

    reader = threading.Thread(target=look)
    reader.start()
    try:
        write(*batches[1:], batches[0], schema="batch int, k int", mode="overwrite")
    finally:
        over.set()
        reader.join()
    assert seen == {(50, 1)}


def test_complete_output_of_an_aggregation(url, stream, path, query):
    sink = JdbcSink(url, table="t", stream="s", path=path, mode="overwrite")
    stream.feed([1, 11, 2], [12])
    stream.run(sink, change=lambda frame: frame.groupBy((frame.id % 10).alias("digit")).count(), output_mode="complete")
    assert query("select digit, count from t order by digit") == [(1, 2), (2, 2)]
    stream.forget_commit()
    stream.run(sink, change=lambda frame: frame.groupBy((frame.id % 10).alias("digit")).count(), output_mode="complete")
    assert query("select digit, count from t order by digit") == [(1, 2), (2, 2)]


def count(frame):
    return frame.groupBy().count()


@pytest.mark.parametrize(("change", "output_mode"), [(lambda frame: frame, "append"), (count, "update")])
def test_overwriting_with_parts_of_a_result_is_refused(sqlite_url, stream, change, output_mode):
    """Without the refusal the table would hold the last batch's rows, and nothing would tell."""
    sink = JdbcSink(sqlite_url, table="t", stream="s", mode="overwrite")
    stream.feed([1, 2], [3])
    with refused("ConfigurationError", "table t: mode='overwrite'", f"mode is '{output_mode}'", "outputMode('complete')"):
        stream.run(sink, change=change, output_mode=output_mode)
    found = sa.inspect(sa.create_engine(sqlite_url, poolclass=sa.NullPool))
    assert found.get_table_names() == [], "not even a ledger was made"


@on_sqlite
def test_function_may_overwrite_whatever_the_output_mode(url, stream, query):
    @exactly_once(JdbcSink(url, table="t", stream="s", mode="overwrite"))
    def report(df, batch_id):
        return df.sparkSession.range(batch_id + 1)

    stream.feed([1], [2])
    stream.run(report)
    assert query("select id from t order by id") == [(0,), (1,)]


def test_output_mode_is_looked_at_once_a_run(sqlite_url, stream, monkeypatch):
    looks, look = [], Resolved.output_mode.fget

    def watched(resolved):
        looks.append(resolved.batch_id)
        return look(resolved)

    monkeypatch.setattr(Resolved, "output_mode", property(watched))
    sink = JdbcSink(sqlite_url, table="t", stream="s", mode="overwrite")
    stream.feed([1], [2], [3])
    stream.run(sink, change=count, output_mode="complete")
    assert looks == [0]
    stream.feed([4], [5])
    stream.run(sink, change=count, output_mode="complete")
    assert looks == [0, 3]
    stream.feed([6])
    with refused("ConfigurationError", "mode is 'update'"):
        stream.run(sink, change=count, output_mode="update")
    other = JdbcSink(sqlite_url, table="u", stream="u")
    stream.lose_checkpoint()
    stream.run(other)
    assert len(looks) == 3, "other modes never ask"


# --- changes ---------------------------------------------------------------------------------------------------------

COLUMNS = "id int, v string, what string, at int"
CHANGES = {"mode": "changes", "key": "id", "op": "what", "order_by": "at", "schema": COLUMNS}


def test_inserts_updates_and_deletes(write, query):
    write(
        [(1, "a", "insert", 1), (2, "b", "insert", 2), (3, "c", "c", 3)],
        [(1, "a2", "update", 4), (2, None, "delete", 5), (4, "d", "I", 6), (9, None, "d", 7)],
        **CHANGES,
    )
    assert query("select id, v, at from t order by id") == [(1, "a2", 4), (3, "c", 3), (4, "d", 6)]


def test_last_change_of_a_key_wins(write, query):
    first = [(1, "a", "insert", 1), (1, None, "delete", 3), (1, "b", "update", 2)]
    write([*first, (2, None, "delete", 1), (2, "z", "insert", 2)], **CHANGES)
    assert query("select id, v from t") == [(2, "z")]


OUT_OF_ORDER = [(1, "a", "insert", 1)], [(1, None, "delete", 3)], [(1, "old", "update", 2)]
HISTORY = """
    select id, v from (
        select h.*, row_number() over (partition by id order by at desc) as place from t h
    ) as latest
    where place = 1 and what <> 'delete'
"""


@on_sqlite
def test_older_change_of_a_later_batch_counts(url, land, query):
    """Rows are compared within a batch only: docs/sinks/modes.md says so, and what to do."""
    keywords = {name: value for name, value in CHANGES.items() if name != "schema"}
    land(JdbcSink(url, table="t", stream="s", **keywords), *OUT_OF_ORDER, schema=COLUMNS)
    assert query("select id, v from t") == [(1, "old")]


@on_sqlite
def test_older_row_of_a_later_batch_counts_in_a_merge_too(url, land, query):
    """So a mark in the place of a deletion does not keep a row deleted."""
    sink = JdbcSink(url, table="t", stream="s", mode="merge", key="id", order_by="at")
    land(sink, *OUT_OF_ORDER, schema=COLUMNS)
    assert query("select id, v, what from t") == [(1, "old", "update")]


@on_sqlite
def test_history_of_all_changes_knows_the_last_whatever_came_first(url, land, query):
    land(JdbcSink(url, table="t", stream="s"), *OUT_OF_ORDER, [(2, "b", "insert", 4)], schema=COLUMNS)
    assert query(HISTORY) == [(2, "b")]


def test_deltas_preimages_say_nothing(write, query):
    write([(1, "old", "update_preimage", 1), (1, "new", "update_postimage", 1)], **CHANGES)
    assert query("select id, v from t") == [(1, "new")]


@pytest.mark.parametrize(("rows", "error", "words"), [
    ([(1, "a", "truncate", 1)], "FrameError", ["'what' says 'truncate'", "insert"]),
    ([(1, "a", None, 1)], "FrameError", ["'what' says NULL,"]),
    ([(1, "a", "insert", 1), (1, "b", "delete", 1)], "DuplicateKeys", ["order_by= leaves ties"]),
    ([(None, "a", "delete", 1)], "WriteFailed", ["'id'", "NULL"]),
])  # fmt: skip
def test_change_that_is_not_clear_is_refused(write, query, rows, error, words):
    write([(7, "kept", "insert", 0)], **CHANGES)
    with refused(error, *words):
        write(rows, **CHANGES)
    assert query("select id, v from t") == [(7, "kept")]


def test_column_that_says_what_a_row_does_must_be_there(write):
    with refused("FrameError", "op= names 'what'"):
        write([(1, 1)], **{**CHANGES, "schema": "id int, at int"})


# --- unchanged rows --------------------------------------------------------------------------------------------------


def test_unchanged_rows_are_not_rewritten(write, url, query):
    rows = [(1, "same", None), (2, "old", 1.5)]
    keywords = {"mode": "merge", "key": "id", "skip_unchanged": True, "schema": "id int, v string, w double"}
    write(rows, **keywords)
    is_postgres = url.startswith("postgresql")
    before = query("select id, xmin::text from t order by id") if is_postgres else None
    write([(1, "same", None), (2, "new", 1.5), (3, None, None)], **keywords)
    assert query("select id, v, w from t order by id") == [(1, "same", None), (2, "new", 1.5), (3, None, None)]
    if is_postgres:
        after = query("select id, xmin::text from t order by id")
        assert after[0] == before[0], "an unchanged row was rewritten"
        assert after[1] != before[1]


# --- small batches ---------------------------------------------------------------------------------------------------


def test_batches_of_a_run_make_no_tables_and_open_no_connections(write, url, query):
    """Eight batches make no more tables than one; the server has no more sessions than after the first."""
    if not url.startswith("postgresql"):
        pytest.skip("asks PostgreSQL's catalog")
    query("create table made (name text)")
    query("""create function note() returns event_trigger language plpgsql as $$ begin
        insert into public.made select object_identity from pg_event_trigger_ddl_commands(); end $$""")
    tags = "'CREATE TABLE', 'CREATE TABLE AS'"
    query(f"create event trigger note on ddl_command_end when tag in ({tags}) execute function note()")
    keywords = {"mode": "merge", "key": "id", "schema": "id int, v string"}
    write([(1, "a")], [(2, "b")], **keywords)
    query("delete from made")
    write(*([(number, "c")] for number in range(8)), **keywords)
    # A new run makes its stage, and each worker's connection its temporary table, once.
    assert len(query("select name from made")) <= 3
    (sessions,) = query("select count(*) from pg_stat_activity where datname = current_database()")[0]
    assert sessions <= 6
