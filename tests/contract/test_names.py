"""Odd names of columns and tables go through every mode, path and database as they are, or are refused by name."""

from __future__ import annotations

import pytest

from foreachonce import JdbcSink, exactly_once
from foreachonce.testing.contract import refused

NAMES = (
    "pct%", "%%", "%s", "%(x)s", 'say "so"', "it's", "back`tick", "dot.ted", "two words", " lead", "new\nline", "tab\tbed",
    "back\\slash", "\U0001f600", "\u00fcn\u00ef", ":x", "a:b", "?", "$1", "{x}", "[y]", "(z)", "semi;colon", "--", "/*",
    "c0", "c1", "n", "select", "order", "key", "Table", "ctid2", "batch", "x" * 63,
)  # fmt: skip
MODES = {
    "append": {},
    "overwrite": {"mode": "overwrite"},
    "merge": {"mode": "merge", "key": "the key%", "order_by": "by `this`"},
    "changes": {"mode": "changes", "key": "the key%", "order_by": "by `this`", "op": "o%p"},
}


def names_of(url: str) -> list[str]:
    return [
        name for name in NAMES if not (url.startswith("mysql") and ("\n" in name or name[0] == " " or max(name) > "\uffff"))
    ]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("way", ["direct", "staged", "driver"])
def test_odd_names_go_through(url, stream, query, mode, way):
    if url.startswith("sqlite") and way == "staged":
        pytest.skip("SQLite has one path")
    odd = names_of(url)

    @exactly_once(JdbcSink(url, table='odd %s "table"', stream="s%s", path=way, **MODES[mode]))
    def batch(frame, batch_id):
        rows = [(1, 1, *(f"old {name}" for name in odd), "c"), (1, 2, *odd, "u"), (2, 1, *odd, "c")]
        if mode in ("append", "overwrite"):
            rows = rows[1:]
        made = frame.sparkSession.createDataFrame(rows, ["the key%", "by `this`", *odd, "o%p"])
        return made if mode == "changes" else made.drop("o%p")

    stream.feed([1], [2])
    stream.run(batch)
    quoted = '"odd %s ""table"""'
    found = query(f'select "by `this`", {", ".join(_quoted(name) for name in odd)} from {quoted} order by "the key%"')
    expected = [(2, *odd), (1, *odd)]
    assert sorted(found) == sorted(expected * (2 if mode == "append" else 1))


def _quoted(name: str) -> str:
    # SQLAlchemy's text() takes :x for a parameter.
    return '"' + name.replace('"', '""').replace(":", "\\:") + '"'


@pytest.mark.parametrize("name", ["foreachonce_op", "foreachonce_rank", "FOREACHONCE_ATTEMPT"])
@pytest.mark.parametrize("mode", ["append", "merge"])
def test_name_of_the_librarys_own_is_refused(url, stream, query, name, mode):
    sink = JdbcSink(url, table="t", stream="s", mode=mode, key="id" if mode == "merge" else None)
    stream.feed([1])
    with refused("FrameError", name, "rename it"):
        stream.run(exactly_once(sink)(lambda frame, batch_id: frame.withColumn(name, frame.value)))
    assert query("select count(*) from foreachonce_ledger") == [(0,)]


@pytest.mark.parametrize("name", ["x" * 65, "x" * 200, "\u00fc" * 33])
def test_name_that_is_too_long_is_refused_with_the_limit(url, stream, query, name):
    limit = {"postgresql": 63, "mysql": 64}.get(url.split(":")[0].split("+")[0], 9999)
    is_long = len(name.encode() if url.startswith("postgresql") else name) > limit
    sink = exactly_once(JdbcSink(url, table="t", stream="s"))(lambda frame, batch_id: frame.withColumnRenamed("value", name))
    stream.feed([1])
    if not is_long:
        stream.run(sink)
        assert query(f'select "{name}" from t') == [("value 1",)]
        return
    with refused("FrameError", name, "longer than", str(limit)):
        stream.run(sink)


@pytest.mark.parametrize("name", [" lead", "trail ", "new\nline", "\U0001f600"])
def test_name_that_mariadb_does_not_keep_is_refused(url, stream, query, name):
    if not url.startswith("mysql"):
        pytest.skip("MariaDB's alone")
    stream.feed([1])
    with refused("FrameError", "the name", "MariaDB and MySQL", "rename it"):
        stream.run(
            exactly_once(JdbcSink(url, table="t", stream="s"))(lambda frame, _: frame.withColumnRenamed("value", name))
        )


def test_names_that_differ_in_case_alone(url, stream, query):
    """PostgreSQL tells them apart; to the others they are one column."""
    sink = exactly_once(JdbcSink(url, table="t", stream="s"))(
        lambda frame, batch_id: frame.sparkSession.createDataFrame([(1, 2)], ["Case", "case"])
    )
    stream.feed([1])
    if url.startswith("postgresql"):
        stream.run(sink)
        assert query('select "Case", "case" from t') == [(1, 2)]
        return
    with refused("FrameError", "Case", "case"):
        stream.run(sink)
