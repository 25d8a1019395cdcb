"""What becomes of a batch in doubt: the intent, the keyword and the probe's answer decide, nothing else."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from foreachonce.decide import Call, Confirm, settle
from foreachonce.entry import WRITE, Decision, Intent
from foreachonce.errors import ConfigurationError, InDoubt
from tests.unit.builders import entry, epoch

BEGUN = Intent(entry(None, 3, run_id="old-run", time=datetime(2026, 1, 2, tzinfo=timezone.utc)), 1)


@pytest.mark.parametrize("on_doubt", ["raise", "rerun", lambda epoch: True])
def test_what_was_never_begun_is_called(on_doubt):
    assert settle(None, epoch(None, 3), WRITE, on_doubt) == Call(0, WRITE)


def test_raise_names_the_run_the_time_the_key_and_both_ways_out():
    with pytest.raises(InDoubt) as caught:
        settle(BEGUN, epoch(None, 3), WRITE, "raise")
    key = BEGUN.entry.epoch.idempotency_key
    for word in ("'s'", "batch 0", "old-run", "2026-01-02", "attempt 1", key, 'in_doubt="rerun"', "in_doubt=lambda"):
        assert word in str(caught.value)


def test_rerun_calls_again_and_says_so():
    assert settle(BEGUN, epoch(None, 3), WRITE, "rerun") == Call(2, Decision("in_doubt", "rerun"))


def test_probe_is_asked_about_what_was_begun():
    asked = []
    settle(BEGUN, epoch(None, 9), WRITE, lambda about: asked.append(about) or False)
    assert asked == [BEGUN.entry.epoch]


def test_effect_that_is_not_there_is_called_for_again():
    assert settle(BEGUN, epoch(None, 3), WRITE, lambda about: False) == Call(
        2, Decision("in_doubt", "probe: the effect was not there")
    )


def test_effect_that_is_there_is_confirmed():
    assert settle(BEGUN, epoch(None, 3), WRITE, lambda about: True) == Confirm(
        Decision("in_doubt", "probe: the effect was there")
    )


def test_effect_of_other_rows_is_neither_called_nor_confirmed():
    with pytest.raises(InDoubt, match="other rows"):
        settle(BEGUN, epoch(None, 9), WRITE, lambda about: True)


@pytest.mark.parametrize("answer", [None, 1, "yes"])
def test_probe_that_does_not_answer_is_refused(answer):
    with pytest.raises(ConfigurationError, match="True where"):
        settle(BEGUN, epoch(None, 3), WRITE, lambda about: answer)


def test_idempotency_key_is_the_same_in_another_run_and_no_other_batchs():
    key = epoch(0, 3).idempotency_key
    assert epoch(0, 3, run_id="another").idempotency_key == key
    others = [epoch(0, 4), epoch(1, 3), epoch(0, 3, batch_id=1), epoch(0, 3, query_id="q"), epoch(0, 3, stream="t")]
    assert key not in {other.idempotency_key for other in others}
    assert len(key) == 64
