"""DeltaSink's keywords and words, and the clauses of its MERGE, without Spark."""

from __future__ import annotations

import pickle

import pytest

from foreachonce import ConfigurationError, DeltaLedger, DeltaSink, DuplicateKeys, FrameError, SinkUnavailable, WriteFailed
from foreachonce.delta import commit, ledger, write
from foreachonce.delta.commit import APP_ID, METADATA, VERSION, copies_folder
from foreachonce.delta.fit import check_columns
from foreachonce.delta.spark import require_delta
from foreachonce.delta.target import DeltaTarget, shown
from tests.unit.test_delta_history import own


@pytest.mark.parametrize(("keywords", "words"), [
    ({"path_or_table": ""}, "path_or_table=''"),
    ({"path_or_table": None}, "path_or_table=None"),
    ({"path_or_table": "no table!"}, "path_or_table='no table!'"),
    ({"mode": "upsert"}, "mode='upsert'"),
    ({"mode": "merge"}, "needs key="),
    ({"key": "id"}, "key=('id',) belongs to mode='merge'"),
    ({"order_by": "at"}, "order_by="),
    ({"when_matched": "keep"}, "when_matched='keep' belongs"),
    ({"delete_when": "source.op = 'd'"}, "delete_when="),
    ({"skip_unchanged": True}, "skip_unchanged=True belongs"),
    ({"mode": "merge", "key": "id", "order_by": ["id"]}, "order_by='id' is in key="),
    ({"mode": "merge", "key": "id", "when_matched": "keep", "skip_unchanged": True}, "skip_unchanged=True does not go"),
    ({"mode": "merge", "key": []}, "needs key="),
    ({"mode": "merge", "key": ["id", "id"]}, "each once"),
    ({"partition_by": 3}, "partition_by=3"),
    ({"merge_schema": "yes"}, "merge_schema='yes'"),
    ({"on_mismatch": "skip"}, "on_mismatch='skip'"),
    ({"stream": " "}, "stream=' '"),
    ({"checkpoint": 3}, "checkpoint=3"),
])  # fmt: skip
def test_wrong_keyword_is_named_at_once(keywords, words):
    with pytest.raises(ConfigurationError) as caught:
        DeltaSink(**{"path_or_table": "/data/orders", **keywords})
    assert words in str(caught.value)


def test_sink_says_what_it_does_and_shows_no_secret():
    sink = DeltaSink("wasbs://box@account/orders?sig=abc&se=1", stream="s", mode="merge", key=["id"])
    assert str(sink).startswith("Delta table wasbs://box@account/orders?…, merge by (id): exactly once")
    assert "abc" not in f"{sink!r}{sink}{sink.ledger!r}"


def test_passwords_are_not_shown():
    assert shown("s3a://key:secret@bucket/orders") == "s3a://key:***@bucket/orders"
    assert shown("abfss://box@account.dfs.core.windows.net/orders") == "abfss://box@account.dfs.core.windows.net/orders"


def test_sink_pickles():
    assert str(pickle.loads(pickle.dumps(DeltaSink("/data/orders", stream="s")))) == str(
        DeltaSink("/data/orders", stream="s")
    )


def test_ledgers_of_one_table_are_the_same():
    assert DeltaLedger("/a/b") == DeltaSink("/a/b").ledger
    assert len({DeltaLedger("/a/b"), DeltaLedger("/a/b"), DeltaLedger("/a/c")}) == 2


def test_other_ledgers_need_spark(monkeypatch):
    monkeypatch.setattr(ledger, "_active_session", lambda: None)
    with pytest.raises(SinkUnavailable, match="no Spark session"):
        DeltaLedger("s3a://key:secret@bucket/orders").head("s")


def test_copies_of_streams_do_not_meet():
    assert copies_folder("a") != copies_folder("b")
    assert "/" not in copies_folder("../x").removeprefix("_foreachonce/")


class Session:
    def __init__(self, **settings):
        self.conf = {name.replace("_", "."): value for name, value in settings.items()}


def test_session_without_delta_says_what_to_set():
    with pytest.raises(ConfigurationError) as caught:
        require_delta(Session())
    for word in ("spark.jars.packages", "io.delta:delta-spark", "spark.sql.extensions", "spark.sql.catalog.spark_catalog"):
        assert word in str(caught.value)


def target(**keywords) -> DeltaTarget:
    return DeltaTarget("/t", "merge", **{"key": ("id",), **keywords})


def test_match_is_by_every_key():
    assert write.match_condition(target(key=("a", "b`c"))) == "target.`a` = source.`a` AND target.`b``c` = source.`b``c`"


def test_deletes_come_before_updates_and_inserts():
    found = list(write.merge_clauses(target(delete_when="source.op = 'd'"), ["id", "op"], ["id", "op"]))
    assert found == [
        ("delete", "source.op = 'd'"), ("update", None), ("insert", "(source.op = 'd') IS NOT TRUE"),
    ]  # fmt: skip


@pytest.mark.parametrize("condition", ["target.x = 1", "TARGET . x", "`target`.x", "a = 1 or target.b"])
def test_condition_over_the_target_does_not_stop_an_insert(condition):
    assert write.insert_condition(target(delete_when=condition)) is None


@pytest.mark.parametrize("condition", ["source.target = 1", "source.x = 'target.y'", "retarget.x"])
def test_condition_over_the_source_alone_does(condition):
    assert write.insert_condition(target(delete_when=condition)) == f"({condition}) IS NOT TRUE"


def test_changed_rows_alone_are_updated():
    found = list(write.merge_clauses(target(skip_unchanged=True, when_matched="a or b"), ["ID", "x", "new"], ["id", "X"]))
    assert found[0] == ("update", "(a or b) AND (NOT (source.`x` <=> target.`x`) OR source.`new` IS NOT NULL)")


def test_row_of_keys_alone_never_changes():
    assert write.change_condition(target(), ["id"], ["id"]) == "false"


@pytest.mark.parametrize(("columns", "keywords", "word"), [
    (["x"], {}, "lacks key=['id']"), (["id"], {"order_by": ("at",)}, "lacks order_by=['at']"), (["id", "y"], {}, "['y']"),
])  # fmt: skip
def test_frame_that_does_not_fit_is_refused(columns, keywords, word):
    with pytest.raises(FrameError) as caught:
        check_columns(target(**keywords), columns, ["id", "x"])
    assert word in str(caught.value)


def test_frame_with_more_columns_may_make_or_widen_a_table():
    check_columns(target(), ["id", "y"], [])
    check_columns(target(merge_schema=True), ["id", "y"], ["id"])


def test_wrong_keys_are_told():
    twice = write.key_error(target(order_by=("at",)), '{"id":1}', 2)
    null = write.key_error(target(), '{"id":null}', 1)
    assert isinstance(twice, DuplicateKeys)
    assert 'among them {"id":1} (2 times); order_by= leaves ties' in str(twice)
    assert isinstance(null, WriteFailed)


def test_guard_goes_as_options_and_as_settings():
    made = own("s", guard=4)
    assert commit.write_options(made)["txnAppId"] == commit.session_settings(made)[APP_ID] == "foreachonce:s"
    assert commit.write_options(made)["txnVersion"] == commit.session_settings(made)[VERSION] == "4"
    assert commit.write_options(made)["userMetadata"] == commit.session_settings(made)[METADATA]
