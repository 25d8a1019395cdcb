"""``foreachonce verify``: a chain is proven or broken, and the rows agree with the table's or do not."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

import pytest
import sqlalchemy as sa

from foreachonce.cli.timeline import Proof
from foreachonce.cli.verify import Comparison, _in_mode, _mode_of
from foreachonce.entry import Decision, Parts
from foreachonce.sql import statements
from tests.unit.builders import chain, entry
from tests.unit.command import fill, run, timed, told

CHAIN = [replace(each, rows=10) for each in chain(10, 20, 30)]
GAP = [*CHAIN[:2], replace(CHAIN[2], position=entry(21, 30).position)]
NASTY = "or\"der's; drop table x --"


def make_table(view, name: str, rows: int) -> None:
    """A table of so many rows beside the ledger."""
    quoted = '"' + name.replace('"', '""') + '"'
    with view.database.writing(view.url) as connection:
        connection.exec_driver_sql(f"create table {quoted} (id int)")
        for number in range(rows):
            connection.exec_driver_sql(f"insert into {quoted} values ({number})")


def test_chain_without_gap_is_proven(sqlite_url):
    fill(sqlite_url, *CHAIN)
    found = told("verify", "s", "--ledger", sqlite_url)
    assert {name: found[name] for name in ("proven", "entries", "rows", "first_seq", "last_seq", "breaks", "forced")} == {
        "proven": True, "entries": 3, "rows": 30, "first_seq": 0, "last_seq": 2, "breaks": [], "forced": [],
    }  # fmt: skip
    said = run("verify", "s", "--ledger", sqlite_url)
    assert said.startswith("Proven: each entry starts where the one before ended, without gap or overlap. 3 entries, ")
    assert "The rows were not compared with the table's (--table NAME compares them)." in said
    assert said.splitlines()[-1].startswith("Not proven: that the table still holds the rows")


def test_what_came_before_the_first_entry_is_not_proven(sqlite_url):
    fill(sqlite_url, *(replace(each, seq=each.seq - 1) for each in CHAIN[1:]))
    said = run("verify", "s", "--ledger", sqlite_url)
    assert "The chain begins with batch 1: nothing is proven of what the checkpoint's query did before" in said


def test_gap_is_told_with_both_entries(sqlite_url):
    fill(sqlite_url, *timed(GAP, 0, 1, 2))
    said = run("verify", "s", "--ledger", sqlite_url, code=1)
    assert said.splitlines()[:4] == [
        "Broken at 1 place: 3 entries, seq 0 to 2, 30 rows.",
        "  between seq 1 and seq 2: it starts ahead of where the entry before ended",
        '      seq 1, batch 1 of query query-1, 2026-05-01 12:00:01, ends at 0:{"events": {"0": 20}}',
        '      seq 2, batch 2 of query query-1, 2026-05-01 12:00:02, starts at 0:{"events": {"0": 21}}',
    ]
    found = told("verify", "s", "--ledger", sqlite_url, code=1)
    ((broken,), proven) = found["breaks"], found["proven"]
    assert (proven, broken["before"]["seq"], broken["after"]["seq"]) == (False, 1, 2)


def test_entry_that_is_gone_from_the_middle_is_a_break(sqlite_url):
    fill(sqlite_url, CHAIN[0], CHAIN[2])
    found = told("verify", "s", "--ledger", sqlite_url, code=1)
    assert [each["found"] for each in found["breaks"]] == [
        "seq 2 comes after 0", "it starts ahead of where the entry before ended"
    ]  # fmt: skip


def test_pruned_beginning_is_said_and_no_break(sqlite_url):
    fill(sqlite_url, *CHAIN[1:])
    assert "The chain begins with seq 1: older entries were pruned or are gone" in run("verify", "s", "--ledger", sqlite_url)


def test_entries_that_somebody_forced_are_said(sqlite_url):
    forced = replace(GAP[2], decision=Decision("on_mismatch", "ahead"))
    fill(sqlite_url, *GAP[:2], forced)
    found = told("verify", "s", "--ledger", sqlite_url)
    assert (found["proven"], found["forced"]) == (True, [2])
    assert "except at 1 forced mismatch." in found["text"]
    assert "Seq 2 was written in spite of a mismatch (on_mismatch=write: ahead)" in found["text"]


def test_rows_that_are_not_told_and_epochs_that_lack_transactions_are_said():
    proof = Proof()
    entries = [replace(CHAIN[0], rows=None), replace(CHAIN[1], parts=Parts(1, 2))]
    assert list(proof.watch(entries)) == entries
    lines = "\n".join(proof.lines())
    assert "1 batch has no row count." in lines
    assert "Seq 1 was left unfinished (1 of 2 transactions)" in lines
    assert list(Proof().lines()) == ["There are no entries, so there is nothing to prove."]


def test_call_that_was_begun_is_said(sqlite_url):
    view = fill(sqlite_url, *CHAIN)
    with view.database.writing(view.url) as connection:
        statements.append_intent(connection, None, entry(30, 40, seq=3, batch_id=3), 0)
    assert "Batch 3 of query query-1 was started and is not finished" in run("verify", "s", "--ledger", sqlite_url)


@pytest.mark.parametrize("table", ["orders", NASTY])
def test_rows_are_compared_with_the_tables(sqlite_url, table):
    view = fill(sqlite_url, *CHAIN, entry(stream="other", rows=99))
    make_table(view, table, 30)
    asked = ("verify", "s", "--ledger", sqlite_url, "--table", table)
    assert told(*asked)["counts"] == {"entries": 30, "table": 30, "well": True, "mode": "append", "baseline": 0}
    assert "Equal counts do not prove equal rows." in run(*asked)
    with view.database.writing(view.url) as connection:
        connection.execute(sa.delete(sa.table(table, sa.column("id"))).where(sa.column("id") == 0))
    found = told(*asked, code=1)
    assert (found["proven"], found["counts"]) == (
        True,
        {"entries": 30, "table": 29, "well": False, "mode": "append", "baseline": 0},
    )
    assert "30 by the entries, 29 in the table. If the stream only appends" in run(*asked, code=1)


def test_tables_of_one_transaction_are_counted_together(sqlite_url):
    view = fill(sqlite_url, *CHAIN)
    make_table(view, "a", 10)
    make_table(view, "b", 20)
    assert told("verify", "s", "--ledger", sqlite_url, "--table", "a", "--table", "b")["counts"]["table"] == 30


def test_table_may_have_more_rows_than_the_entries_that_are_left(sqlite_url):
    view = fill(sqlite_url, *CHAIN[1:])
    make_table(view, "orders", 30)
    asked = ("verify", "s", "--ledger", sqlite_url, "--table", "orders")
    assert "no more can be told" in run(*asked)
    with view.database.writing(view.url) as connection:
        connection.exec_driver_sql("delete from orders where id > 4")
    assert told(*asked, code=1)["counts"] == {"entries": 20, "table": 5, "well": False, "mode": "append", "baseline": 0}


@pytest.mark.parametrize(("mode", "rows", "is_well"), [
    ("merge", 20, True), ("merge", 30, True), ("merge", 31, False), ("changes", 0, True), ("overwrite", 10, True),
    ("overwrite", 30, False), ("append", 30, True), ("append", 20, False),
])  # fmt: skip
@pytest.mark.parametrize("is_told", [True, False])
def test_mode_decides_how_many_rows_are_right(mode, rows, is_well, is_told):
    """The sink's own description tells it, or the option."""
    sink = (
        "a sink"
        if is_told
        else f"postgresql://db/shop, table t, {mode}{' by (id)' if mode == 'merge' else ''}: exactly once"
    )
    proof = Proof()
    deque(proof.watch([replace(each, rows=10, sink=sink) for each in chain(1, 2, 3)]), maxlen=0)
    found = _in_mode(Comparison(30, rows, is_partial=False), proof, mode if is_told else _mode_of(proof.last), 0)
    assert (found.mode, found.is_well) == (mode, is_well)


def test_rows_from_before_the_stream_count_too():
    assert Comparison(30, 35, is_partial=False, baseline=5).is_well
    assert not Comparison(30, 35, is_partial=False).is_well
    assert "30 by the entries and 5 before them, 35 in the table" in Comparison(30, 35, is_partial=False, baseline=5).text


def test_table_that_is_not_there_is_said(sqlite_url):
    fill(sqlite_url, *CHAIN)
    said = run("verify", "s", "--ledger", sqlite_url, "--table", "typo", code=2)
    assert "has no table 'typo'" in said


def test_each_kind_of_ledger_has_its_own_way_to_count(sqlite_url, tmp_path):
    fill(sqlite_url, *CHAIN)
    assert "--table NAME" in run("verify", "s", "--ledger", sqlite_url, "--count", code=2)
    assert "say --count" in run("verify", "s", "--ledger", f"delta:{tmp_path}", "--table", "orders", code=2)
