"""A refusal names what was seen, what is in the ledger, and what mends it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from foreachonce.decide import SHOWN, Reason, Refuse, explain
from foreachonce.position import Position, SourceSpan
from tests.unit.builders import entry, epoch, kafka

SEEN = epoch(7, 9, stream="orders", query_id="query-new", batch_id=41, run_id="run-new")
WRITTEN = entry(3, 5, stream="orders", query_id="query-old", batch_id=12, run_id="run-old", seq=34)
NEXT = epoch(7, 9, stream="orders", query_id="query-old", batch_id=13)
REASONS = get_args(Reason)
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("reason", REASONS)
def test_refusal_names_both_sides(reason):
    text = explain(Refuse(reason, WRITTEN), SEEN)
    for seen in ("'orders'", "batch 41", "query-new", "run-new", f"0:{kafka(7)} -> 0:{kafka(9)}"):
        assert seen in text
    for written in ("batch 12", "query-old", "run-old", "seq 34", f"0:{kafka(3)} -> 0:{kafka(5)}", "sink a sink"):
        assert written in text


@pytest.mark.parametrize("reason", REASONS)
def test_refusal_says_that_nothing_was_written_and_what_mends_it(reason):
    text = explain(Refuse(reason, WRITTEN), SEEN)
    assert "nothing was written" in text
    assert "sink.prepare(spark, checkpoint)" in text
    assert "foreachonce restore orders --checkpoint PATH --ledger ADDRESS" in text


@pytest.mark.parametrize(("reason", "words"), [
    ("changed", "other rows than those that were written"),
    ("behind", "rows would be written again"),
    ("ahead", "the rows between would be lost"),
    ("unordered", "cannot be compared"),
])  # fmt: skip
def test_refusal_says_what_would_go_wrong(reason, words):
    assert words in explain(Refuse(reason, WRITTEN), SEEN)


@pytest.mark.parametrize("reason", ["behind", "ahead", "unordered"])
def test_another_query_id_is_told_from_another_moment(reason):
    reset = " ".join(explain(Refuse(reason, WRITTEN), SEEN).split())
    assert "checkpoint was lost, deleted or replaced" in reset
    assert "two queries share this stream's name" in reset
    assert "stream= of its own" in reset
    same = " ".join(explain(Refuse(reason, WRITTEN), NEXT).split())
    assert "RESTORE of a Delta table" in same
    assert "two queries" not in same


@pytest.mark.parametrize("reason", REASONS)
@pytest.mark.parametrize("seen", [SEEN, NEXT])
def test_refusal_names_pages_that_are_there(reason, seen):
    pages = re.findall(r"docs/\S+?\.md", explain(Refuse(reason, WRITTEN), seen))
    assert pages
    assert all((ROOT / page).is_file() for page in pages)


def test_refusal_of_the_same_query_names_the_page_of_either_sink():
    text = explain(Refuse("ahead", WRITTEN), NEXT)
    assert "docs/operations/a-table-was-restored.md" in text
    assert "docs/operations/the-database-was-restored.md" in text


@pytest.mark.parametrize(
    ("reason", "is_offered"), [("behind", True), ("ahead", True), ("unordered", True), ("changed", False)]
)
def test_writing_in_spite_of_it_is_offered_where_it_works(reason, is_offered):
    assert ('on_mismatch="write"' in explain(Refuse(reason, WRITTEN), SEEN)) == is_offered


@pytest.mark.parametrize("reason", ["behind", "ahead", "unordered"])
def test_ledger_that_ends_with_a_repair_speaks_of_no_batch_below_zero(reason):
    repair = entry(5, 5, query_id="query-old", run_id="run-of-the-repair", batch_id=-35, seq=34)
    for seen in (SEEN, NEXT):
        text = explain(Refuse(reason, repair), seen)
        assert "query-old, a repair of the checkpoint, run run-of-the-repair, seq 34" in text
        assert "-35" not in text


def test_command_is_fit_to_be_copied():
    text = explain(Refuse("behind", WRITTEN), epoch(stream="orders & more"))
    assert "foreachonce restore 'orders & more' --checkpoint PATH" in text


def test_several_sources_stay_on_one_line():
    two = Position({"0": SourceSpan("1", "2"), "1": SourceSpan(None, "3")})
    assert "offsets 0:1, 1:- -> 0:2, 1:3\n" in explain(Refuse("changed", WRITTEN), epoch(position=two))


def test_batch_without_sources_is_shown_as_such():
    assert "offsets (none) -> (none)" in explain(Refuse("unordered", WRITTEN), epoch(position=Position()))


def test_long_offsets_are_shortened_and_say_so():
    many = Position({"0": SourceSpan(kafka(*range(5000)), kafka(*range(5000)))})
    text = explain(Refuse("changed", entry(position=many)), epoch(position=many))
    assert f"({len(many.starts)} characters)" in text
    assert len(text) < 4 * SHOWN + 1500


def test_offsets_of_just_the_length_that_is_shown_are_whole():
    offset = '"' + "x" * (SHOWN - len('0:""')) + '"'
    text = explain(Refuse("changed", WRITTEN), epoch(position=Position({"0": SourceSpan(None, offset)})))
    assert f"0:- -> 0:{offset}\n" in text
    assert "characters)" not in text


@pytest.mark.parametrize("seen", [SEEN, NEXT])
def test_only_the_first_entry_is_said_to_tell(seen):
    """As tests/unit/test_runner.py finds them: those that follow say "write"."""
    text = " ".join(explain(Refuse("behind", WRITTEN), seen).split())
    assert "this batch is written, whatever the sink holds of it already, and its entry says so" in text
    assert "Those that follow line up with it and are written as usual" in text
