"""A chain of entries without gap or overlap has no breaks; every other chain tells where it breaks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreachonce.chain import breaks
from tests.unit.builders import chain, entry, files


@given(st.lists(st.integers(0, 9)).map(sorted))
def test_whole_chain_has_no_breaks(cuts):
    assert list(breaks(chain(*cuts))) == []


def test_chain_goes_on_under_another_query_id():
    first, second = chain(3), entry(3, 5, seq=1, query_id="query-2")
    assert list(breaks([*first, second])) == []


@given(st.integers(2, 8), st.data())
def test_every_lost_entry_is_noticed(length, data):
    entries = chain(*range(length + 1))
    lost = data.draw(st.integers(1, length - 1))
    found = list(breaks([*entries[:lost], *entries[lost + 1 :]]))
    assert all((there.before, there.after) == (entries[lost - 1], entries[lost + 1]) for there in found)
    assert len(found) == 2  # a hole in seq, and one in the offsets


def test_hole_in_seq_is_a_break_though_the_offsets_meet():
    (found,) = breaks([entry(None, 3, seq=0), entry(3, 5, seq=2)])
    assert found.what == "seq 2 comes after 0"


def test_seq_that_comes_twice_is_a_break():
    (found,) = breaks([entry(None, 3, seq=0), entry(3, 5, seq=0)])
    assert found.what == "seq 0 comes after 0"


@pytest.mark.parametrize(("start", "expected"), [(2, "behind"), (4, "ahead")])
def test_overlap_and_gap_are_breaks(start, expected):
    (found,) = breaks([entry(None, 3, seq=0), entry(start, 5, seq=1)])
    assert found.what == f"it starts {expected} of where the entry before ended"


def test_equal_offsets_after_other_files_are_a_break():
    before = entry(position=files(None, 0, ["a"]), seq=0)
    after = entry(position=files(0, 1, ["c"], ["b"]), seq=1)
    assert [there.what for there in breaks([before, after])] == ["it starts unordered of where the entry before ended"]


def test_entry_that_the_user_asked_for_is_no_break():
    asked = entry(0, 5, seq=1, decision="on_mismatch=write: behind")
    assert list(breaks([entry(None, 3, seq=0), asked])) == []


def test_entry_after_one_that_the_user_asked_for_must_meet_it():
    asked = entry(0, 5, seq=1, decision="on_mismatch=write: behind")
    (found,) = breaks([entry(None, 3, seq=0), asked, entry(3, 4, seq=2)])
    assert found.before == asked


def test_hole_in_seq_is_a_break_even_where_the_user_asked():
    entries = [entry(None, 3, seq=0), entry(0, 5, seq=2, decision="on_mismatch=write: behind")]
    assert len(list(breaks(entries))) == 1
