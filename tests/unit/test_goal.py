"""Where a query goes on is what all of its sinks say; where they do not go together, nothing is guessed."""

from __future__ import annotations

from itertools import permutations

import pytest

from foreachonce.errors import Mismatch
from foreachonce.recovery.goal import Goal, Standing, goal_of
from tests.unit.builders import chain, entry

ONE = chain(1, 2, 3, 4)


def standing(last=None, begun=None) -> Standing:
    return Standing("a sink", last, begun)


def everywhere(*standings):
    """The goal, whatever the order of the sinks."""
    found = [goal_of(order) for order in permutations(standings)]
    assert all(each == found[0] for each in found)
    return found[0]


def test_new_streams_have_no_goal():
    assert goal_of([standing()]) is None
    assert goal_of([standing(), standing()]) is None


def test_one_sink_is_the_goal():
    assert goal_of([standing(ONE[2])]) == Goal("query-1", ONE[2])


def test_batch_that_was_begun_is_settled():
    goal = goal_of([standing(ONE[2], ONE[3])])
    assert goal == Goal("query-1", ONE[2], ONE[3])
    assert (goal.batch_id, goal.newest) == (2, 3)


def test_first_batch_that_was_begun_is_settled():
    goal = goal_of([standing(None, ONE[0])])
    assert goal == Goal("query-1", None, ONE[0])
    assert (goal.batch_id, goal.newest) == (-1, 0)


def test_batch_that_some_sinks_have_is_settled():
    assert everywhere(standing(ONE[2]), standing(ONE[3]), standing(ONE[2])) == Goal("query-1", ONE[2], ONE[3])
    assert everywhere(standing(), standing(ONE[0])) == Goal("query-1", None, ONE[0])


def test_batch_that_one_sink_has_and_another_has_begun_is_settled():
    assert everywhere(standing(ONE[3]), standing(ONE[2], ONE[3])) == Goal("query-1", ONE[2], ONE[3])


@pytest.mark.parametrize("standings", [
    [standing(ONE[0]), standing(ONE[2])],
    [standing(), standing(ONE[1])],
    [standing(ONE[1]), standing(ONE[2]), standing(ONE[3])],
    [standing(ONE[1]), standing(ONE[3], entry(4, 5, batch_id=4))],
    [standing(ONE[1], ONE[3])],
    [standing(None, ONE[1])],
], ids=["two behind", "a new sink", "three places", "begun further on", "begun beyond", "begun not first"])  # fmt: skip
def test_sinks_that_are_further_apart_are_refused(standings):
    with pytest.raises(Mismatch, match=r"(?s)more than a batch apart.*a sink.*Nothing was changed"):
        everywhere(*standings)


@pytest.mark.parametrize("other", [
    chain(1, 2, 9)[2], chain(1, 2, 3, query_id="query-2")[2], chain(1, 9, 3)[2],
], ids=["another end", "another query", "another start"])  # fmt: skip
def test_sinks_that_hold_different_batches_are_refused(other):
    for standings in ([standing(ONE[2]), standing(other)], [standing(ONE[1]), standing(ONE[2]), standing(other)]):
        with pytest.raises(Mismatch, match="apart"):
            goal_of(standings)


def test_sink_of_another_query_is_refused_also_a_batch_ahead():
    with pytest.raises(Mismatch, match=r"(?s)batch 1 of query query-1.*batch 2 of query query-2"):
        goal_of([standing(ONE[1]), standing(chain(1, 2, 3, query_id="query-2")[2])])


def test_sinks_that_are_apart_are_named_with_their_batches():
    with pytest.raises(Mismatch) as caught:
        goal_of([Standing("orders", ONE[0]), Standing("clicks", ONE[2]), Standing("audit", None)])
    lines = ["  batch 0 of query query-1: orders", "  batch 2 of query query-1: clicks", "  no batch: audit"]
    assert all(line in str(caught.value) for line in lines)


def test_query_keeps_state_if_its_newest_batches_say_so():
    kept = entry(is_stateful=True)
    assert [Goal("q", last, begun).is_stateful for last, begun in ((entry(), None), (kept, None), (None, kept))] == [
        False, True, True,
    ]  # fmt: skip


def test_settled_batches():
    goal = Goal("query-1", ONE[1], ONE[2])
    assert [goal.settled(number) for number in range(4)] == [None, ONE[1], ONE[2], None]
