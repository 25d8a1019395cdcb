"""Old entries can go; the head, and whatever Spark can run again, cannot. On SQLite files."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
import sqlalchemy as sa

from foreachonce import ConfigurationError, SqlLedger
from foreachonce.chain import breaks
from foreachonce.sql import statements
from tests.unit.builders import chain, epoch

COUNT = 250


@pytest.fixture
def view(sqlite_url) -> SqlLedger:
    """A stream of 250 entries, a day apart, and another of one."""
    view = SqlLedger(sqlite_url)
    _ = view.identity
    entries = chain(*range(1, COUNT + 1))
    now = datetime.now(timezone.utc)
    with view.database.writing(view.url) as connection:
        for entry in entries:
            statements.append_entry(connection, None, entry, 1)
            statements.append_intent(connection, None, entry, 0)
            age = timedelta(days=COUNT - entry.seq - 0.5)
            text = (now - age).isoformat(timespec="microseconds")
            change = sa.text("update foreachonce_ledger set committed_at = :text where seq = :seq")
            connection.execute(change, {"text": text, "seq": entry.seq})
        statements.append_entry(connection, None, replace(entries[0], stream="t"), 1)
    return view


def left(view: SqlLedger) -> list[int]:
    return [entry.seq for entry in view.entries("s")]


def test_the_newest_stay(view):
    assert view.prune("s") == 150
    assert left(view) == list(range(150, COUNT))
    assert [intent.entry.seq for intent in view.intents("s")] == left(view)
    assert list(breaks(view.entries("s"))) == []
    assert view.head("s").seq == COUNT - 1
    assert view.prune("s") == 0


def test_only_what_is_old_goes(view):
    assert view.prune("s", older_than=timedelta(days=200)) == 50
    assert left(view) == list(range(50, COUNT))


def test_the_newest_stay_however_old(view):
    assert view.prune("s", keep=120, older_than=timedelta(0)) == 130
    assert left(view) == list(range(130, COUNT))


def test_other_streams_stay(view):
    view.prune("s")
    assert view.head("t").seq == 0
    assert view.prune("t") == 0


def test_stream_goes_on_after_a_prune(view):
    view.prune("s")
    found = view.look(epoch(COUNT, COUNT + 1, batch_id=COUNT))
    assert (found.head.seq, found.same_batch) == (COUNT - 1, None)


@pytest.mark.parametrize(("keywords", "words"), [
    ({"keep": 99}, "keep=99 must be at least 100"),
    ({"keep": 0}, "keep=0 must be at least 100"),
    ({"keep": 150.5}, "keep=150.5 must be a whole number"),
    ({"keep": "all"}, "keep='all' must be a whole number"),
    ({"keep": True}, "keep=True must be a whole number"),
    ({"older_than": timedelta(-1)}, "older_than=.* must not be negative"),
    ({"older_than": 7}, "older_than=7 must be a datetime.timedelta"),
])  # fmt: skip
def test_what_cannot_be_is_refused(view, keywords, words):
    with pytest.raises(ConfigurationError, match=words):
        view.prune("s", **keywords)
    assert len(left(view)) == COUNT


def test_stream_that_is_not_there_is_named_with_those_that_are(view):
    with pytest.raises(ConfigurationError, match=r"stream='S' has no entry .*: 's', 't'\.$"):
        view.prune("S")
    with pytest.raises(ConfigurationError, match="stream=5 must be a text"):
        view.prune(5)


def test_empty_ledger_has_no_stream_to_prune(tmp_path):
    with pytest.raises(ConfigurationError, match=r"streams that have are: none\.$"):
        SqlLedger(f"sqlite:///{tmp_path / 'empty.db'}").prune("s")
