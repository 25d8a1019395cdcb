"""Frames that no table takes as they are: refused by name, before a row is written, whatever the database and mode."""

from __future__ import annotations

import pytest

from foreachonce import ConfigurationError, JdbcSink, exactly_once
from foreachonce.testing.contract import refused

MERGE = {"mode": "merge", "key": "k"}
LOWER = "collate(value, 'UTF8_LCASE')"
REFUSED = {
    "a key by a collation": ([f"{LOWER} as k", "id"], MERGE, ["key= names 'k'", "UTF8_LCASE"]),
    "an order by a collation": (["id as k", f"{LOWER} as v"], MERGE | {"order_by": "v"}, ["order_by= names 'v'"]),
    "two fields of a name": (["id", "named_struct('a', 1, 'a', 2) as s"], {}, ["column 's'", "two fields 'a'"]),
    "two fields deep inside": (
        ["id", "map('x', array(named_struct('a', 1, 'a', 2))) as s"], {}, ["column 's'", "two fields 'a'"],
    ),
    "no name": (["id", "value as ``"], {}, ["has no name"]),
}  # fmt: skip


@pytest.mark.parametrize("frame", REFUSED)
def test_frame_is_refused(url, stream, query, frame):
    expressions, keywords, words = REFUSED[frame]
    rows = exactly_once(JdbcSink(url, table="t", stream="s", **keywords))(
        lambda batch, batch_id: batch.selectExpr(*expressions) if frame != "no name" else batch.toDF("id", "")
    )
    stream.feed([1])
    with refused("FrameError", "table t", *words):
        stream.run(rows)
    assert query("select count(*) from foreachonce_ledger") == [(0,)]


def test_nested_key_goes_or_is_refused_by_name(url, stream, query):
    rows = exactly_once(JdbcSink(url, table="t", stream="s", **MERGE))(
        lambda frame, batch_id: frame.selectExpr("struct(id) as k", "value as v"))  # fmt: skip
    stream.feed([1], [1])
    if url.startswith("mysql"):
        with refused("FrameError", "key= names 'k'", "to_json()"):
            stream.run(rows)
    else:
        stream.run(rows)
        assert query("select count(*) from t") == [(1,)]


def test_column_that_every_table_has_is_refused(postgres_url, url, stream):
    if url != postgres_url:
        pytest.skip("PostgreSQL's alone")
    rows = exactly_once(JdbcSink(url, table="t", stream="s"))(lambda frame, batch_id: frame.selectExpr("id as ctid"))
    stream.feed([1])
    with refused("FrameError", "'ctid'", "gives to every table"):
        stream.run(rows)


@pytest.mark.parametrize("keywords", [{"table": "a\0b"}, {"stream": "a\0b"}, {"schema": "a\0b"}])
def test_nul_in_a_name_is_refused_at_once(keywords):
    with pytest.raises(ConfigurationError, match="NUL"):
        JdbcSink("postgresql://app@db/shop", **{"table": "t", "stream": "s", **keywords})


@pytest.mark.parametrize("path", ["direct", "staged", "driver"])
@pytest.mark.parametrize("mode", ["append", "merge"])
def test_errors_name_the_users_table(url, stream, path, mode):
    if url.startswith("sqlite") and path == "staged":
        pytest.skip("SQLite has one path")
    key = "k" if mode == "merge" else None
    rows = exactly_once(JdbcSink(url, table="t", stream="s", mode=mode, key=key, path=path))(
        lambda frame, batch_id: frame.selectExpr("id as k", "cast(X'41FF42' as string) as v"))  # fmt: skip
    stream.feed([1])
    with refused("WriteFailed", "table t", "'v'") as caught:
        stream.run(rows)
    assert "foreachonce_stage" not in str(caught.value)
