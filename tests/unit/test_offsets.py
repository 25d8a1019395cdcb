"""Two offsets of one source are equal, one behind or ahead of the other, or cannot be ordered."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreachonce.position import order, records_between
from tests.unit.builders import kafka, pointer

MIRROR = {"equal": "equal", "behind": "ahead", "ahead": "behind", "unordered": "unordered"}

partitions = st.dictionaries(st.sampled_from("01234"), st.integers(0, 4))
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
anything = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)


@pytest.mark.parametrize(("offset", "other", "expected"), [
    (None, None, "equal"),
    (None, "0", "behind"),
    ("0", None, "ahead"),
    ("17", "17", "equal"),
    ("9", "10", "behind"),
    ("10", "9", "ahead"),
    (pointer(3), pointer(3), "equal"),
    (pointer(3), pointer(4), "behind"),
    (kafka(5, 5), kafka(5, 5), "equal"),
    (kafka(5, 5), kafka(5, 6), "behind"),
    (kafka(6, 6), kafka(5, 5), "ahead"),
    (kafka(4, 6), kafka(5, 5), "unordered"),
    ("null", "null", "equal"),
    ("null", "1", "unordered"),
    ('"a"', '"b"', "unordered"),
    ("[1]", "[2]", "unordered"),
    ('{"a":[1]}', '{"a":[1]}', "equal"),
])  # fmt: skip
def test_offset_stands_where_its_numbers_say(offset, other, expected):
    assert order(offset, other) == expected


def test_spaces_and_the_order_of_keys_mean_nothing():
    assert order('{"a": {"0": 1, "1": 2}}', '{"a":{"1":2,"0":1}}') == "equal"


def test_partition_that_only_one_side_has_is_ahead_there():
    assert order(kafka(5, 0), kafka(5)) == "ahead"
    assert order(kafka(5), kafka(5, 0)) == "behind"
    assert order(kafka(6), kafka(5, 0)) == "unordered"


def test_topic_that_only_one_side_has_is_ahead_there():
    assert order('{"a":{"0":1},"b":{"0":1}}', '{"a":{"0":1}}') == "ahead"


def test_other_identity_beside_a_smaller_number_is_not_behind():
    assert order('{"tableId":"x","version":1}', '{"tableId":"y","version":2}') == "unordered"


@pytest.mark.parametrize("flags", [("true", "false"), ("true", "0"), ("false", "2")])
def test_flags_are_no_numbers_to_order_by(flags):
    assert order(*flags) == "unordered"


@given(partitions, partitions)
def test_numbers_are_ordered_place_by_place(left, right):
    pairs = [(left.get(key, -1), right.get(key, -1)) for key in left.keys() | right.keys()]
    behind, ahead = any(a < b for a, b in pairs), any(a > b for a, b in pairs)
    expected = {(False, False): "equal", (True, False): "behind", (False, True): "ahead", (True, True): "unordered"}
    assert order(json.dumps({"t": left}), json.dumps({"t": right})) == expected[behind, ahead]


@given(anything, anything)
def test_order_from_the_other_side_is_its_mirror_image(left, right):
    assert order(json.dumps(left), json.dumps(right)) == MIRROR[order(json.dumps(right), json.dumps(left))]


@given(anything)
def test_every_offset_equals_itself(offset):
    assert order(json.dumps(offset), json.dumps(offset, indent=1)) == "equal"


@pytest.mark.parametrize(("start", "end", "records"), [
    (None, None, 0),
    (None, '{"t":{"0":5,"1":2}}', 7),
    ('{"t":{"0":5}}', '{"t":{"0":9,"1":2},"new":{"0":1}}', 7),
    ('{"t":{"0":5}}', '{"t":{"0":5}}', 0),
    (None, '{"logOffset":3}', None),
    ('{"logOffset":1}', '{"logOffset":3}', None),
    (None, "17", None),
])  # fmt: skip
def test_records_are_told_by_kafkas_offsets_only(start, end, records):
    assert records_between(start, end) == records
