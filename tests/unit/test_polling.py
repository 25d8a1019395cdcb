"""Waiting for a condition."""

from __future__ import annotations

import pytest

from foreachonce.polling import wait_until


@pytest.mark.parametrize(("answers", "seconds", "outcome"), [
    ([True], 10.0, True),
    ([False, False, True], 10.0, True),
    ([True], -1.0, True),
    ([False], -1.0, False),
])  # fmt: skip
def test_condition_is_waited_for_until_it_holds_or_time_is_up(answers, seconds, outcome):
    remaining = iter(answers)
    assert wait_until(lambda: next(remaining), seconds, pause=0.001) is outcome
    assert list(remaining) == []
