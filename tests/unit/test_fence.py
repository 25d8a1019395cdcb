"""The run that took a stream last may write it; every other one is fenced. On SQLite files."""

from __future__ import annotations

import pytest

from foreachonce import Fenced, SqlLedger
from foreachonce.errors import Conflict
from foreachonce.sql import statements
from foreachonce.sql.databases.base import StreamLock
from foreachonce.sql.schema import tables
from tests.unit.builders import chain, entry, epoch


@pytest.fixture
def view(sqlite_url) -> SqlLedger:
    return SqlLedger(sqlite_url)


def hold(view: SqlLedger, run_id: str) -> None:
    with view.database.writing(view.url) as connection:
        statements.hold(connection, view.database, None, view.identity, "s", run_id)


def append(view: SqlLedger, *entries) -> None:
    with view.database.writing(view.url) as connection:
        for each in entries:
            statements.append_entry(connection, None, each, 1)


def test_nobody_holds_a_new_stream(view):
    assert not view.look(epoch()).is_held
    with pytest.raises(Conflict, match="does not know run run-1"):
        hold(view, "run-1")


def test_run_that_took_it_holds_it(view):
    assert view.take(epoch(), None).is_held
    assert view.look(epoch()).is_held
    hold(view, "run-1")


def test_older_run_is_fenced_everywhere_and_hears_by_whom(view):
    view.take(epoch(), None)
    view.take(epoch(run_id="run-2"), None)
    for act in (lambda: view.look(epoch()), lambda: view.take(epoch(), None), lambda: hold(view, "run-1")):
        with pytest.raises(Fenced, match=r"run-1.*replaced.*run-2"):
            act()
    hold(view, "run-2")


def test_other_queries_id_is_named(view):
    view.take(epoch(), None)
    view.take(epoch(run_id="run-2", query_id="query-2"), None)
    with pytest.raises(Fenced, match="two queries share this stream's name"):
        hold(view, "run-1")


def test_stream_whose_head_has_moved_is_not_taken(view):
    view.take(epoch(), None)
    append(view, *chain(1))
    found = view.take(epoch(run_id="run-2"), None)
    assert (found.is_held, found.head.seq) == (False, 0)
    hold(view, "run-1")


def test_stream_whose_head_moves_while_its_lock_is_waited_for_is_not_taken(view, monkeypatch):
    view.take(epoch(), None)
    monkeypatch.setattr(statements, "seize", lambda connection, *_: statements.append_entry(connection, None, entry(), 1))
    found = view.take(epoch(run_id="run-2"), None)
    assert (found.is_held, found.head.seq) == (False, 0)
    hold(view, "run-1")


def test_taking_twice_is_taking_once(view):
    view.take(epoch(), None)
    view.take(epoch(), None)
    assert [run.run_id for run in view.runs("s")] == ["run-1"]


def test_other_streams_are_left_alone(view):
    view.take(epoch(), None)
    view.take(epoch(stream="t", run_id="run-2"), None)
    hold(view, "run-1")


def test_runs_are_kept_in_order(view):
    for number in range(3):
        view.take(epoch(run_id=f"run-{number}"), None)
    assert [(run.token, run.run_id) for run in view.runs("s")] == [(0, "run-0"), (1, "run-1"), (2, "run-2")]


def test_lock_keys_differ_by_ledger_and_stream():
    runs = tables(None).runs
    keys = {StreamLock(ledger, stream, runs).key for ledger in ("a", "b") for stream in ("s", "t")}
    assert len(keys) == 4
    assert all(0 <= key < 2**63 for key in keys)


def test_entry_knows_its_epoch():
    assert entry(0, 3).epoch == epoch(0, 3)
