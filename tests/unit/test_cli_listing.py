"""``foreachonce ledger list`` and ``ledger show``: what a ledger holds, in words and as JSON."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from foreachonce import SqlLedger
from foreachonce.cli.ledger import newest_steps
from foreachonce.cli.output import decision_text, entry_fields, short
from foreachonce.cli.timeline import steps
from foreachonce.entry import Decision, Entry, Parts
from foreachonce.position import Position, SourceSpan
from tests.unit.builders import chain, entry, files, kafka, position
from tests.unit.command import fill, run, timed, told

REPAIR = "repair: checkpoint missing, mended to go on after batch 1"


@pytest.fixture
def entries():
    """Two batches, a repair, a restart, a reset that was forced."""
    first, second, *_ = chain(100, 300)
    return timed(
        [
            replace(first, rows=100),
            replace(second, rows=200),
            entry(300, 300, seq=2, batch_id=-3, run_id="repair", rows=0, decision=REPAIR),
            entry(300, 350, seq=3, batch_id=2, run_id="run-2", rows=50),
            entry(0, 10, seq=4, query_id="query-2", run_id="run-3", rows=10, decision="on_mismatch=write: behind"),
        ],
        0, 10, 12, 20, 21,
    )  # fmt: skip


def test_streams_are_listed_with_batch_rows_age_and_rate(sqlite_url, entries):
    now = datetime.now(timezone.utc)
    fill(sqlite_url, *entries, replace(entry(rows=7, stream="[red]b[/]"), time=now - timedelta(hours=5, minutes=12.5)))
    listed = {each["stream"]: each for each in told("ledger", "list", "--ledger", sqlite_url)}
    assert listed["s"] | {"age_seconds": 0} == {
        "stream": "s", "seq": 4, "query_id": "query-2", "batch_id": 0, "rows": 10, "time": "2026-05-01T12:00:21+00:00",
        "age_seconds": 0, "rows_per_second": round(260 / 21, 3),
    }  # fmt: skip
    assert (listed["[red]b[/]"]["rows"], listed["[red]b[/]"]["rows_per_second"]) == (7, None)
    lines = run("ledger", "list", "--ledger", sqlite_url).splitlines()
    assert any(line.split() == ["[red]b[/]", "0", "0", "7", "5", "h", "12", "min", "-"] for line in lines)


def test_entries_are_shown_with_times_rates_and_marks(sqlite_url, entries):
    fill(sqlite_url, *entries)
    shown = told("ledger", "show", "s", "--ledger", sqlite_url)
    assert [(each["seconds"], each["rows_per_second"], each["marks"]) for each in shown] == [
        (None, None, []), (10, 20, []), (2, None, ["repair"]), (10, 5, ["restart"]), (1, 10, ["reset", "mismatch"]),
    ]  # fmt: skip
    words = run("ledger", "show", "s", "--ledger", sqlite_url)
    for text in ("0: 100 → 300", REPAIR, "on_mismatch=write: behind", "2026-05-01 12:00:20", "reset, mismatch"):
        assert text in words


def test_json_holds_every_field_verbatim(sqlite_url):
    position = Position({"0": SourceSpan(None, kafka(3)), "ключ": SourceSpan('{"a": "ü"}', '{ "a" : "😀" }')})
    (written,) = timed([entry(position=position, offset_log='v1\n{"conf": {}}\n' + "x" * 500)], 0)
    fill(sqlite_url, written)
    (shown,) = told("ledger", "show", "s", "--ledger", sqlite_url)
    assert Entry.from_fields(shown, rows=shown["rows"]) == written


def test_last_entries_are_those_and_know_the_one_before(sqlite_url):
    fill(sqlite_url, *timed(chain(*range(1, 31)), *range(0, 300, 10)))
    shown = told("ledger", "show", "s", "--last", 2, "--ledger", sqlite_url)
    assert [(each["seq"], each["seconds"]) for each in shown] == [(28, 10), (29, 10)]
    assert "The last 2 entries of s" in run("ledger", "show", "s", "--last", 2, "--ledger", sqlite_url)


def test_last_entries_cost_no_reading_of_older_ones():
    class Ledger:
        def streams(self):
            return ["s"]

        def head(self, stream):
            return chain(*range(1, 1001))[-1]

        def entries(self, stream, *, after=-1):
            assert after == 984
            return iter(chain(*range(1, 1001))[after + 1 :])

    assert [step.entry.seq for step in newest_steps(Ledger(), "s", 10)] == list(range(990, 1000))


def test_entries_of_a_database_begin_after_a_seq(sqlite_url):
    view = fill(sqlite_url, *chain(*range(1, 1201)))
    assert [found.seq for found in view.entries("s", after=1100)] == list(range(1101, 1200))
    assert list(view.entries("s", after=1199)) == []


def test_ledger_that_is_not_there_is_said_and_not_made(tmp_path):
    file = tmp_path / "typo.db"
    for words in ("ledger list", "ledger show s", "verify s", "export s", "prune s --keep 100", "doctor s --checkpoint c"):
        assert "there is no ledger at sqlite" in run(*words.split(), "--ledger", f"sqlite:///{file}", code=2)
    assert not file.exists()
    file.touch()
    assert "there is no ledger" in run("ledger", "list", "--ledger", f"sqlite:///{file}", code=2)
    assert not SqlLedger(f"sqlite:///{file}").exists()


def test_stream_that_is_not_there_is_said_with_those_that_are(sqlite_url):
    fill(sqlite_url, entry(), entry(stream="t"))
    for words in (("ledger", "show", "S"), ("verify", "S"), ("export", "S"), ("report", "S", "--html", "none.html")):
        assert "no entry of a stream 'S'; it has 's', 't'." in run(*words, "--ledger", sqlite_url, code=2)


def test_ledger_without_streams_says_so(sqlite_url):
    run("init", "--ledger", sqlite_url)
    assert "has no stream" in run("ledger", "list", "--ledger", sqlite_url)
    assert told("ledger", "list", "--ledger", sqlite_url) == []


def test_entry_that_follows_a_repair_is_timed_from_the_batch_before(entries):
    assert [step.seconds for step in steps(entries)] == [None, 10, 2, 10, 1]


def test_doubts_and_epochs_that_were_passed_are_marked():
    settled, passed, anew = chain(1, 2, 3)
    found = steps([
        replace(settled, decision=Decision("in_doubt", "rerun")),
        replace(passed, parts=Parts(1, 2)),
        replace(anew, decision=Decision("repair", "begun anew")),
    ])  # fmt: skip
    assert [step.marks for step in found] == [("doubt",), ("unfinished",), ("repair",)]


def test_missing_transactions_are_part_of_the_decision():
    passed = replace(entry(), parts=Parts(1, 2))
    assert decision_text(passed) == entry_fields(passed)["decision"] == "write; 1 of 2 transactions"
    assert decision_text(entry()) == entry_fields(entry())["decision"] == "write"


@pytest.mark.parametrize(("found", "text"), [
    (files(1, 3, ["a", "b"]), "log 1 → 3, 2 files"),
    (files(None, 0, ["a"]), "log - → 0, 1 file"),
    (position(None, 5), "events 0: - → 5"),
    (Position({"0": SourceSpan(kafka(1, 2), kafka(1, 7))}), "events 1: 2 → 7"),
    (Position({"0": SourceSpan(kafka(1), kafka(1))}), "events unmoved"),
    (Position({"0": SourceSpan("3", "5"), "1": SourceSpan(None, None)}), "0: 3 → 5; 1: - → -"),
    (Position({"0": SourceSpan("3", '"' + "x" * 100 + '"')}), '3 → "' + "x" * 54 + "…"),
])  # fmt: skip
def test_offsets_are_shortened(found, text):
    assert short(found) == text
