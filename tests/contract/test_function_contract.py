"""Any function keeps the contract where a probe tells the truth; without one, a batch in doubt stops the stream."""

from __future__ import annotations

import pytest
from pyspark.errors import StreamingQueryException

from foreachonce import ConfigurationError, SqlLedger, exactly_once
from foreachonce.runner import POINTS_AFTER, POINTS_BEFORE
from foreachonce.sql import function
from foreachonce.sql.function import POINTS
from foreachonce.testing.contract import StreamContract, refused
from tests.contract.effects import Broken, Effects


class TestFunction(StreamContract):
    points = (*POINTS_BEFORE, *POINTS, *POINTS_AFTER)
    counts_rows = False

    @pytest.fixture(autouse=True)
    def place(self, postgres_url, effects):
        self.ledger, self.effects = postgres_url, effects

    def sink(self, stream, **keywords):
        probe = self.effects.is_there
        return exactly_once(ledger=self.ledger, stream=stream, in_doubt=probe, **keywords)(self.effects)

    def test_two_queries_under_one_name_at_once(self):
        pytest.skip("not promised: two queries have two idempotency keys, and a call that was begun cannot be stopped")

    def read(self):
        return self.effects.ids()


# --- in doubt --------------------------------------------------------------------------------------------------------


@pytest.fixture
def effects(tmp_path) -> Effects:
    return Effects(f"sqlite:///{tmp_path / 'effects.db'}")


def lose_a_reply(stream, url, effects):
    """Run batch 0; the effect of batch 1 is there, and nobody was told."""
    stream.feed([1])
    stream.run(exactly_once(ledger=url, stream="s")(effects))
    stream.feed([2])
    with pytest.raises(StreamingQueryException, match="timed out"):
        stream.run(exactly_once(ledger=url, stream="s")(Broken(effects.url)))


def test_batch_in_doubt_stops_the_stream(stream, url, effects):
    lose_a_reply(stream, url, effects)
    stream.feed([3])
    with refused("InDoubt", "'s'", "batch 1", 'in_doubt="rerun"', "idempotency key"):
        stream.run(exactly_once(ledger=url, stream="s")(effects))
    assert effects.ids() == [1, 2]
    assert len(list(SqlLedger(url).entries("s"))) == 1


def test_batch_in_doubt_is_run_again_where_the_user_says_so(stream, url, effects):
    lose_a_reply(stream, url, effects)
    effects_without_keys = Effects(effects.url.replace("effects", "more"))
    stream.run(exactly_once(ledger=url, stream="s", in_doubt="rerun")(effects_without_keys))
    assert (effects.ids(), effects_without_keys.ids()) == ([1, 2], [2])
    view = SqlLedger(url)
    assert [str(entry.decision) for entry in view.entries("s")] == ["write", "in_doubt=rerun"]
    told = [(intent.entry.seq, intent.attempt, str(intent.entry.decision)) for intent in view.intents("s")]
    assert told == [(0, 0, "write"), (1, 0, "write"), (1, 1, "in_doubt=rerun")]


def test_batch_in_doubt_is_confirmed_where_the_user_says_so(stream, url, effects):
    lose_a_reply(stream, url, effects)
    stream.feed([3])
    stream.run(exactly_once(ledger=url, stream="s", in_doubt=lambda epoch: True)(effects))
    assert effects.ids() == [1, 2, 3]
    decisions = [str(entry.decision) for entry in SqlLedger(url).entries("s")]
    assert decisions == ["write", "in_doubt=probe: the effect was there", "write"]


def test_replay_does_not_call_the_function(stream, url):
    called = []

    @exactly_once(ledger=url, stream="s")
    def push(df, batch_id):
        called.append(batch_id)

    stream.feed([1], [2])
    stream.run(push)
    stream.forget_commit()
    stream.run(push)
    assert called == [0, 1]


# --- calls that say that they had no effect --------------------------------------------------------------------------


class Unavailable(Exception):
    """As a request that is answered by 503."""


def flaky(effects, fails: int):
    """A function that has no effect the first times that it is called."""
    left = [fails]

    def push(df, batch_id, epoch):
        left[0] -= 1
        if left[0] >= 0:
            raise Unavailable("503")
        effects(df, batch_id, epoch)

    return push


@pytest.mark.parametrize("in_doubt", ["raise", "rerun", lambda epoch: False])
def test_call_without_effect_is_made_again(stream, url, effects, monkeypatch, in_doubt):
    monkeypatch.setattr(function, "FIRST_PAUSE", 0.01)
    stream.feed([1], [2])
    decorate = exactly_once(ledger=url, stream="s", in_doubt=in_doubt, retry_on=Unavailable)
    stream.run(decorate(flaky(effects, 2)))
    assert effects.ids() == [1, 2]
    view = SqlLedger(url)
    assert [str(entry.decision) for entry in view.entries("s")] == ["write", "write"]
    told = [(intent.entry.seq, intent.attempt, str(intent.entry.decision)) for intent in view.intents("s")]
    undone = "undone: Unavailable: 503"
    assert told == [(0, 0, "write"), (0, 1, undone), (0, 2, "write"), (0, 3, undone), (0, 4, "write"), (1, 0, "write")]


def test_call_without_effect_is_not_in_doubt_at_the_next_start(stream, url, effects, monkeypatch):
    monkeypatch.setattr(function, "FIRST_PAUSE", 0.01)
    decorate = exactly_once(ledger=url, stream="s", retry_on=(Unavailable, TimeoutError), retries=1)
    stream.feed([1])
    with pytest.raises(StreamingQueryException, match="503"):
        stream.run(decorate(flaky(effects, 2)))
    assert SqlLedger(url).unfinished("s") is None
    stream.run(decorate(effects))
    assert effects.ids() == [1]


def test_any_other_error_leaves_the_batch_in_doubt(stream, url, effects):
    stream.feed([1])
    with pytest.raises(StreamingQueryException, match="503"):
        stream.run(exactly_once(ledger=url, stream="s", retry_on=TimeoutError)(flaky(effects, 1)))
    assert SqlLedger(url).unfinished("s") is not None
    with refused("InDoubt", "batch 0"):
        stream.run(exactly_once(ledger=url, stream="s", retry_on=TimeoutError)(effects))


@pytest.mark.parametrize("keywords", [{"retry_on": "503"}, {"retry_on": [Unavailable]}, {"retries": -1}, {"retries": True}])
def test_retries_that_are_none_are_refused(url, keywords):
    with pytest.raises(ConfigurationError, match=next(iter(keywords))):
        exactly_once(ledger=url, stream="s", **keywords)
