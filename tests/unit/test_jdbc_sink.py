"""A JdbcSink is checked when it is made, shows no password, and travels to other processes."""

from __future__ import annotations

import pickle

import pytest
from pyspark import cloudpickle

from foreachonce import ConfigurationError, JdbcSink, SinkUnavailable, SqlLedger, exactly_once
from tests.unit.builders import epoch

POSTGRES = "postgresql://app:hunter2@db:5433/shop?sslpassword=hunter2"
SQLITE = "sqlite:////data/shop.db"


@pytest.mark.parametrize(("keywords", "named"), [
    ({"url": "garbage"}, "url="),
    ({"url": None}, "url="),
    ({"url": "oracle://db/shop"}, "url="),
    ({"table": ""}, "table="),
    ({"table": 5}, "table="),
    ({"stream": ""}, "stream="),
    ({"stream": " "}, "stream="),
    ({"stream": 5}, "stream="),
    ({"mode": "upsert"}, "mode="),
    ({"mode": None}, "mode="),
    ({"key": "id"}, "key="),
    ({"key": ["id", "id"]}, "key="),
    ({"key": [""]}, "key="),
    ({"mode": "merge", "key": 5}, "key="),
    ({"mode": "merge"}, "key="),
    ({"mode": "merge", "key": []}, "key="),
    ({"order_by": "at"}, "order_by="),
    ({"mode": "merge", "key": "id", "order_by": ["at", "at"]}, "order_by="),
    ({"create_table": "no"}, "create_table="),
    ({"schema": ""}, "schema="),
    ({"schema": 5}, "schema="),
    ({"ledger_schema": ""}, "ledger_schema="),
    ({"ledger_schema": 5}, "ledger_schema="),
    ({"on_mismatch": "ignore"}, "on_mismatch="),
    ({"on_mismatch": True}, "on_mismatch="),
    ({"path": "fast"}, "path="),
    ({"url": SQLITE, "path": "staged"}, "path="),
    ({"checkpoint": ""}, "checkpoint="),
    ({"checkpoint": 5}, "checkpoint="),
], ids=repr)  # fmt: skip
def test_bad_keyword_is_named_when_the_sink_is_made(keywords, named):
    with pytest.raises(ConfigurationError, match=named) as caught:
        JdbcSink(**{"url": POSTGRES, "table": "orders", **keywords})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("keywords", [
    {},
    {"stream": "orders", "schema": "sales", "ledger_schema": "ops", "on_mismatch": "write", "checkpoint": "/cp"},
    {"path": "direct"},
    {"path": "staged"},
    {"mode": "merge", "key": "id", "create_table": False},
    {"mode": "merge", "key": ["id", "day"], "order_by": "at"},
])  # fmt: skip
def test_good_keywords_make_a_sink(keywords):
    sink = JdbcSink(POSTGRES, table="orders", **keywords)
    assert (sink.stream, sink.on_mismatch, sink.checkpoint) == (
        keywords.get("stream"), keywords.get("on_mismatch", "raise"), keywords.get("checkpoint")
    )  # fmt: skip


def test_dotted_table_says_how_to_write_it():
    with pytest.raises(ConfigurationError, match="write schema='sales', table='orders'"):
        JdbcSink(POSTGRES, table="sales.orders")


def test_merge_without_a_key_says_what_a_key_is():
    with pytest.raises(ConfigurationError, match=r"mode='merge' into table orders needs key="):
        JdbcSink(POSTGRES, table="orders", mode="merge")


@pytest.mark.parametrize(("keywords", "named"), [
    ({"mode": "overwrite", "key": "id"}, "mode='overwrite' takes none"),
    ({"skip_unchanged": True}, "skip_unchanged="),
    ({"mode": "changes", "key": "id", "order_by": "at"}, "needs op=, the column"),
    ({"mode": "changes", "key": "id", "op": "what"}, "needs order_by=, the column"),
    ({"mode": "changes", "op": "what", "order_by": "at"}, "needs key="),
    ({"mode": "merge", "key": "id", "op": "what"}, "op='what' belongs to mode='changes'"),
    ({"mode": "merge", "key": "id", "skip_unchanged": 1}, "skip_unchanged=1"),
])  # fmt: skip
def test_mode_without_its_keywords_or_with_anothers_is_refused(keywords, named):
    with pytest.raises(ConfigurationError, match=named):
        JdbcSink(POSTGRES, table="orders", **keywords)


@pytest.mark.parametrize("keyword", ["key", "order_by"])
def test_append_with_a_key_says_where_it_belongs(keyword):
    with pytest.raises(ConfigurationError, match=r"belong to mode='merge' or 'changes'"):
        JdbcSink(POSTGRES, table="orders", **{keyword: "id"})


def test_staging_on_sqlite_says_why_not():
    with pytest.raises(ConfigurationError, match=r"path='staged' needs .* SQLite has one writer"):
        JdbcSink(SQLITE, table="orders", path="staged")


@pytest.mark.parametrize("keyword", ["schema", "ledger_schema"])
def test_schema_on_sqlite_is_refused(keyword):
    with pytest.raises(ConfigurationError, match=f"{keyword}="):
        JdbcSink(SQLITE, table="orders", **{keyword: "sales"})


@pytest.mark.parametrize("schema", ["", 5])
def test_ledger_checks_its_schema_too(schema):
    with pytest.raises(ConfigurationError, match="schema="):
        SqlLedger(POSTGRES, schema=schema)


@pytest.mark.parametrize("view", [repr, str, lambda sink: repr(sink.ledger), lambda sink: repr(vars(sink))])
def test_password_is_not_shown(view):
    sink = JdbcSink(POSTGRES.partition("?")[0], table="orders")
    assert "hunter2" not in view(sink)
    assert "app" in view(sink)


@pytest.mark.parametrize("view", [repr, str, lambda sink: repr(sink.ledger)])
def test_password_among_the_parameters_is_not_shown(view):
    assert "hunter2" not in view(JdbcSink(POSTGRES, table="orders"))


def test_sink_says_where_it_writes_and_what_it_guarantees():
    sink = JdbcSink(POSTGRES, table="orders", schema="sales", mode="merge", key=["id", "day"])
    assert str(sink) == f"postgresql://app:***@db:5433/shop, table sales.orders, merge by (id, day): {sink.guarantee}"
    assert "exactly once and atomic" in sink.guarantee
    assert "PostgreSQL" in sink.guarantee
    assert "SQLite" in JdbcSink(SQLITE, table="orders").guarantee


def test_sink_travels_to_another_process_after_it_was_used(sqlite_url):
    sink = JdbcSink(sqlite_url, table="orders", stream="s", mode="merge", key="id", on_mismatch="write", checkpoint="/cp")
    assert sink.ledger.look(epoch()) == (None, None, False)
    copy = pickle.loads(pickle.dumps(sink))
    assert (str(copy), repr(copy)) == (str(sink), repr(sink))
    assert (copy.stream, copy.on_mismatch, copy.checkpoint) == ("s", "write", "/cp")
    assert copy.ledger.identity == sink.ledger.identity


def test_making_a_sink_touches_no_database(tmp_path):
    JdbcSink(f"sqlite:///{tmp_path / 'sink.db'}", table="orders")
    JdbcSink(f"sqlite:///{tmp_path / 'no' / 'folder' / 'sink.db'}", table="orders")
    assert list(tmp_path.iterdir()) == []


# --- @exactly_once ---------------------------------------------------------------------------------------------------


def sink() -> JdbcSink:
    return JdbcSink(POSTGRES, table="orders")


def test_decorated_function_keeps_its_name_and_shows_no_password():
    @exactly_once(sink())
    def cleaned(df, batch_id):
        """Only good orders."""
        return df

    assert (cleaned.__name__, cleaned.__doc__) == ("cleaned", "Only good orders.")
    assert "cleaned" in repr(cleaned)
    assert "hunter2" not in repr(cleaned)


def test_decorated_function_travels_as_spark_connect_sends_it():
    @exactly_once(sink())
    def cleaned(df, batch_id):
        return df

    assert repr(cloudpickle.loads(cloudpickle.dumps(cleaned))) == repr(cleaned)


@pytest.mark.parametrize("function", [lambda df, batch_id: df, lambda *both: both[0], lambda df, batch_id, more=1: df])
def test_function_of_two_parameters_is_taken(function):
    exactly_once(sink())(function)


@pytest.mark.parametrize("function", [lambda df, batch_id, tx: None, lambda df, batch_id, tx, more=1: None])
def test_function_of_three_parameters_is_taken(function):
    exactly_once(JdbcSink(POSTGRES))(function)
    exactly_once(ledger=POSTGRES)(function)


@pytest.mark.parametrize(
    "function", [lambda: None, lambda df: df, lambda df, batch_id, tx, x: df, lambda df, batch_id, *, x: df]
)
def test_function_of_other_parameters_is_refused(function):
    with pytest.raises(ConfigurationError, match=r"must take \(df, batch_id\)"):
        exactly_once(sink())(function)


def test_function_whose_parameters_cannot_be_seen_is_refused():
    with pytest.raises(ConfigurationError, match=r"must take \(df, batch_id\)"):
        exactly_once(sink())(dict)


def test_decorator_without_its_brackets_is_refused():
    with pytest.raises(ConfigurationError, match=r"takes a sink such as JdbcSink\(\.\.\.\), not function"):

        @exactly_once
        def cleaned(df, batch_id):
            return df


@pytest.mark.parametrize(("wrong", "named"), [(JdbcSink, "type"), (SQLITE, "str"), ([sink(), None], "NoneType")])
def test_what_is_no_sink_is_refused(wrong, named):
    with pytest.raises(ConfigurationError, match=f"takes a sink such as .* not {named}"):
        exactly_once(wrong)


@pytest.mark.parametrize(("keywords", "named"), [
    ({}, "either a sink .* or ledger="),
    ({"stream": "s"}, "either a sink .* or ledger="),
    ({"ledger": "oracle://db/ops"}, "'oracle'"),
    ({"ledger": SQLITE, "in_doubt": "retry"}, "in_doubt='retry' .* 'raise', 'rerun', or a function"),
    ({"ledger": SQLITE, "on_mismatch": "skip"}, "on_mismatch='skip'"),
    ({"ledger": SQLITE, "stream": ""}, "stream=''"),
])  # fmt: skip
def test_bad_keyword_of_the_function_form_is_named(keywords, named):
    with pytest.raises(ConfigurationError, match=named):
        exactly_once(**keywords)


def test_sink_and_keywords_at_once_are_refused():
    with pytest.raises(ConfigurationError, match="takes no stream="):
        exactly_once(sink(), stream="s")
    with pytest.raises(ConfigurationError, match="either a sink"):
        exactly_once(sink(), ledger=SQLITE)


def test_two_sinks_of_one_ledger_and_name_are_refused():
    both = [JdbcSink(SQLITE, table=name, stream="s") for name in ("a", "b")]
    with pytest.raises(ConfigurationError, match="share the stream name 's'"):
        exactly_once(both)
    exactly_once([both[0], JdbcSink(SQLITE, table="b", stream="t")])
    with pytest.raises(ConfigurationError, match="no sink"):
        exactly_once([])


def test_several_sinks_have_no_transaction_in_common():
    with pytest.raises(ConfigurationError, match="cannot share one"):
        exactly_once([JdbcSink(SQLITE, stream="a"), JdbcSink(SQLITE, stream="b")])(lambda df, batch_id, tx: None)


def test_key_without_a_table_is_refused():
    with pytest.raises(ConfigurationError, match="belong to a table="):
        JdbcSink(SQLITE, mode="merge", key="id")


@exactly_once(ledger=SQLITE, stream="s")
def module_level(df, batch_id):
    pass


def test_function_of_a_module_is_pickled_by_name():
    assert pickle.loads(pickle.dumps(module_level)) is module_level
    assert len(pickle.dumps(module_level)) < 100


@pytest.mark.parametrize("wrong", [None, "cleaned", 5])
def test_what_is_no_function_is_refused(wrong):
    with pytest.raises(ConfigurationError, match=f"decorates a function, not {type(wrong).__name__}"):
        exactly_once(sink())(wrong)


def test_missing_folder_of_an_sqlite_file_is_named(tmp_path):
    sink = JdbcSink(f"sqlite:///{tmp_path / 'no' / 'sink.db'}", table="orders", stream="s")
    with pytest.raises(SinkUnavailable, match=r"no does not exist; make it, or mend the path") as caught:
        sink.ledger.head("s")
    assert "cluster" not in str(caught.value)
