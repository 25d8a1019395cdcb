"""A position tells the same rows from other rows, and its neighbours in the chain from strangers."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foreachonce.position import Position, SourceSpan, log_batch, log_pointer
from tests.unit.builders import files, kafka, line, pointer, position

# Texts as a JSON of one line may hold them; what str.splitlines() takes for the end of a line has a test of its own.
words = st.text(st.characters(exclude_categories=["C", "Zl", "Zp"]))
offsets = st.none() | st.dictionaries(words, st.integers() | words).map(lambda found: json.dumps(found, ensure_ascii=False))
lines = st.lists(st.builds(line, words.filter(lambda path: '"' not in path and "\\" not in path), st.integers(0, 9)))
spans = st.builds(SourceSpan, offsets, offsets, files=lines.map(tuple), start_files=lines.map(tuple))
sources = st.dictionaries(st.sampled_from(["0", "1", "10", "orders", "ключ"]), spans)


def test_same_offsets_are_the_same_rows():
    assert position(3, 5).same_as(position(3, 5))


@pytest.mark.parametrize("other", [position(3, 6), position(2, 5), position(None, 5)])
def test_other_offsets_are_other_rows(other):
    assert not position(3, 5).same_as(other)


def test_offsets_written_in_another_way_are_the_same_rows():
    spaced = Position({"0": SourceSpan('{"events": {"0": 3}}', ' {"events":{"0":5}}')})
    tight = Position({"0": SourceSpan('{"events":{"0":3}}', '{"events":{"0":5}}')})
    assert spaced.same_as(tight)


def test_equal_offsets_with_other_files_are_other_rows():
    assert not files(0, 1, ["b", "c"]).same_as(files(0, 1, ["b"]))


def test_files_in_another_order_are_the_same_rows():
    assert files(0, 1, ["b", "c"]).same_as(files(0, 1, ["c", "b"]))


def test_source_that_only_one_side_has_makes_other_rows():
    one, two = position(0, 1), Position({**position(0, 1).sources, "1": SourceSpan(None, None)})
    assert not one.same_as(two)
    assert not two.same_as(one)


def test_one_source_that_differs_makes_other_rows():
    left = Position({"0": SourceSpan("0", "1"), "1": SourceSpan("0", "1")})
    right = Position({"0": SourceSpan("0", "1"), "1": SourceSpan("0", "2")})
    assert not left.same_as(right)


@pytest.mark.parametrize(("start", "expected"), [(5, "equal"), (4, "behind"), (None, "behind"), (6, "ahead")])
def test_position_is_placed_by_where_it_starts(start, expected):
    assert position(start, 9).follows(position(3, 5)) == expected


def test_very_first_position_follows_sources_that_never_had_data():
    assert position(None, 1).follows(position(None, None)) == "equal"


def test_file_that_ends_the_one_must_start_the_other():
    before = files(0, 1, ["b"], ["a"])
    assert files(1, 2, ["c"], ["b"]).follows(before) == "equal"
    assert files(1, 2, ["c"], ["other"]).follows(before) == "unordered"
    assert files(1, 2, ["c"], []).follows(before) == "unordered"


def test_batch_without_new_files_hands_on_where_it_started():
    still = Position({"0": SourceSpan(pointer(1), pointer(1), start_files=(line("b", 1),))})
    assert still.follows(files(0, 1, ["b"], ["a"])) == "equal"
    assert files(1, 2, ["c"], ["b"]).follows(still) == "equal"
    assert files(1, 2, ["c"], ["other"]).follows(still) == "unordered"


def test_only_the_last_log_entry_of_several_must_meet():
    new = (line("a", 0), line("b", 1), line("c", 2))
    before = Position({"0": SourceSpan(None, pointer(2), files=new)})
    assert before.sources["0"].end_files == (line("c", 2),)
    assert files(2, 3, ["d"], ["c"]).follows(before) == "equal"


def test_offset_that_is_no_log_pointer_ends_with_no_files():
    assert SourceSpan(None, kafka(3)).end_files == ()
    assert SourceSpan(None, None).end_files == ()


@pytest.mark.parametrize(("first", "second", "expected"), [
    (5, 5, "equal"), (5, 4, "behind"), (6, 5, "ahead"), (4, 4, "behind"), (4, 6, "unordered"),
])  # fmt: skip
def test_sources_must_all_agree_on_the_place(first, second, expected):
    before = Position({"0": SourceSpan("1", "5"), "1": SourceSpan("1", "5")})
    after = Position({"0": SourceSpan(str(first), "9"), "1": SourceSpan(str(second), "9")})
    assert after.follows(before) == expected


def test_other_sources_cannot_be_compared():
    assert Position({"1": SourceSpan("5", "6")}).follows(Position({"0": SourceSpan("4", "5")})) == "unordered"


def test_texts_of_the_ledger_are_those_of_sparks_offset_log():
    found = Position({"0": SourceSpan(None, pointer(0), files=(line("a", 0),)), "1": SourceSpan(kafka(1), kafka(2))})
    assert found.starts == f"0:-\n1:{kafka(1)}"
    assert found.ends == f"0:{pointer(0)}\n1:{kafka(2)}"
    assert json.loads(found.source_log) == {"0": {"start": [], "files": [line("a", 0)]}}


def test_names_of_files_stay_readable_in_the_ledger():
    assert "ключ.json" in files(None, 0, ["ключ.json"]).source_log


def test_position_without_files_has_no_source_log():
    assert position(0, 1).source_log is None


@given(sources)
@settings(max_examples=50)
def test_every_position_comes_back_verbatim_from_its_texts(found):
    kept = Position(found)
    assert Position.restore(kept.starts, kept.ends, kept.source_log) == kept


@pytest.mark.parametrize("mark", ["\u2028", "\u2029", "\x85"], ids=["U+2028", "U+2029", "U+0085"])
def test_line_separators_inside_an_offset_come_back_too(mark):
    kept = Position({"0": SourceSpan(None, f'{{"file":"a{mark}b"}}')})
    assert Position.restore(kept.starts, kept.ends, kept.source_log) == kept


def test_log_pointer_is_told_from_other_offsets():
    assert log_pointer(pointer(7)) == 7
    assert [log_pointer(offset) for offset in (None, "7", kafka(7), '{"logOffset":1,"topic":2}')] == [None] * 4


def test_line_of_a_source_log_tells_its_entry():
    assert log_batch(line("a", 12)) == 12


@pytest.mark.parametrize(("shared", "folders"), [
    ((), {"0": "0", "1": "1", "2": "2"}),
    (("1",), {"0": "0", "2": "1"}),
    (("1", "2"), {"0": "0"}),
])  # fmt: skip
def test_source_that_is_used_twice_has_one_folder_and_comes_back(shared, folders):
    """As in ``union``: Spark numbers it once there, and twice in the offset log."""
    kept = Position({source: SourceSpan(None, pointer(1), is_shared=source in shared) for source in "012"})
    assert (kept.shared, kept.folders) == (set(shared), folders)
    assert Position.restore(kept.starts, kept.ends, kept.source_log) == kept
    assert kept.at_end.shared == kept.shared


def test_more_than_ten_sources_have_their_folders_in_order():
    spans = {str(number): SourceSpan(None, "1", is_shared=number == 3) for number in range(12)}
    assert list(Position(spans).folders.items())[-2:] == [("10", "9"), ("11", "10")]


def test_folder_of_a_source_with_a_name_is_its_name():
    assert Position({"7": SourceSpan(None, "1"), "orders": SourceSpan(None, "1")}).folders == {"7": "7", "orders": "orders"}


def test_place_where_a_position_ends_follows_it():
    before = files(0, 2, ["b", "c"], ["a"])
    assert before.at_end.follows(before) == "equal"
    assert before.at_end == files(2, 2, [], ["b", "c"])
    assert before.at_end.at_end == before.at_end
