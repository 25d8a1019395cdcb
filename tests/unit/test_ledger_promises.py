"""Each promise of a ledger can be kept, and can be broken: a ledger in memory keeps them all, and its broken kin do not."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timezone

import pytest

from foreachonce.entry import Entry, LedgerState
from foreachonce.errors import Conflict, Fenced, ForeachOnceError
from foreachonce.testing.ledger import LedgerContract


@dataclass
class Place:
    chains: dict[str, list[Entry]] = field(default_factory=dict)
    runs: dict[str, list[str]] = field(default_factory=dict)


class MemoryLedger:
    def __init__(self, place: Place):
        self.place = place

    def key(self, stream):
        return stream

    def chain(self, stream):
        return self.place.chains.get(self.key(stream), [])

    def runs(self, stream):
        return self.place.runs.setdefault(self.key(stream), [])

    def streams(self):
        return sorted(self.place.chains)

    def head(self, stream):
        return next(reversed(self.chain(stream)), None)

    def entries(self, stream, *, after=-1):
        yield from (entry for entry in self.chain(stream) if entry.seq > after)

    def unfinished(self, stream):
        return None

    def is_held(self, epoch):
        runs = self.runs(epoch.stream)
        if epoch.run_id in runs[:-1]:
            raise Fenced("a newer run has taken the stream")
        return epoch.run_id in runs

    def state(self, epoch, *, is_held):
        batch = (epoch.query_id, epoch.batch_id)
        same = (entry for entry in self.chain(epoch.stream) if (entry.query_id, entry.batch_id) == batch)
        return LedgerState(self.head(epoch.stream), next(same, None), is_held)

    def look(self, epoch):
        return self.state(epoch, is_held=self.is_held(epoch))

    def take(self, epoch, head):
        state = self.look(epoch)
        if state.is_held or state.head != head:
            return state
        self.runs(epoch.stream).append(epoch.run_id)
        return state._replace(is_held=True)

    def append(self, entry):
        if not self.is_held(entry.epoch) or not self.is_next(entry):
            raise Conflict("another writer was first")
        self.put(entry)

    def is_next(self, entry):
        return entry.seq == len(self.chain(entry.stream))

    def put(self, entry):
        entry = replace(entry, rows=0, time=datetime.now(timezone.utc))
        self.place.chains.setdefault(self.key(entry.stream), []).append(entry)


class TestMemoryLedger(LedgerContract):
    @pytest.fixture(autouse=True)
    def place(self):
        self.memory = Place()

    def ledger(self):
        return MemoryLedger(self.memory)


# --- what breaks a promise: by its test, a method in place of the ledger's own ---------------------------------------


def head_that_makes_the_stream(self, stream):
    return next(reversed(self.place.chains.setdefault(stream, [])), None)


def put_without_state(self, entry):
    MemoryLedger.put(self, replace(entry, is_stateful=False))


def put_without_the_end_of_long_texts(self, entry):
    MemoryLedger.put(self, replace(entry, offset_log=entry.offset_log[:65_535]))


def put_in_local_time(self, entry):
    MemoryLedger.put(self, entry)
    chain = self.chain(entry.stream)
    chain[-1] = replace(chain[-1], time=datetime.now())


def entries_from_after_on(self, stream, *, after=-1):
    yield from (entry for entry in self.chain(stream) if entry.seq >= after)


def entries_by_their_text(self, stream, *, after=-1):
    chain = sorted(self.chain(stream), key=lambda entry: str(entry.seq))
    yield from (entry for entry in chain if entry.seq > after)


def state_of_the_head_alone(self, epoch, *, is_held):
    head = self.head(epoch.stream)
    is_own = head is not None and (head.query_id, head.batch_id) == (epoch.query_id, epoch.batch_id)
    return LedgerState(head, head if is_own else None, is_held)


def state_by_batch_id_alone(self, epoch, *, is_held):
    same = (entry for entry in reversed(self.chain(epoch.stream)) if entry.batch_id == epoch.batch_id)
    return LedgerState(self.head(epoch.stream), next(same, None), is_held)


def take_that_notes_nothing(self, epoch, head):
    return self.look(epoch)._replace(is_held=True)


def take_whatever_the_head_is(self, epoch, head):
    return MemoryLedger.take(self, epoch, self.head(epoch.stream))


def take_new_streams_only(self, epoch, head):
    return MemoryLedger.take(self, epoch, head) if head is None else self.look(epoch)


def take_back(self, epoch, head):
    self.runs(epoch.stream).append(epoch.run_id)
    return self.state(epoch, is_held=True)


def look_past_the_fence(self, epoch):
    return self.state(epoch, is_held=epoch.run_id in self.runs(epoch.stream)[-1:])


def append_past_the_fence(self, entry):
    if entry.run_id not in self.runs(entry.stream) or not self.is_next(entry):
        raise Conflict("another writer was first")
    self.put(entry)


def append_of_anybody(self, entry):
    self.put(entry)


def any_place(self, entry):
    return True


def put_at_the_end(self, entry):
    MemoryLedger.put(self, replace(entry, seq=len(self.chain(entry.stream))))


def held_of_any_stream(self, epoch):
    runs = [run for runs in self.place.runs.values() for run in runs]
    if epoch.run_id in runs[:-1]:
        raise Fenced("a newer run has taken some stream")
    return epoch.run_id in runs


BROKEN = {
    "unknown_stream_reads_as_empty_and_reading_makes_nothing": [{"head": head_that_makes_the_stream}],
    "entry_comes_back_with_all_its_fields": [
        {"put": put_without_state},
        {"put": put_without_the_end_of_long_texts},
        {"put": put_in_local_time},
    ],
    "appended_entry_leaves_no_batch_unfinished": [{"unfinished": MemoryLedger.head}],
    "entries_after_a_seq_are_those_of_a_greater_one_in_order": [
        {"entries": entries_from_after_on},
        {"entries": entries_by_their_text},
    ],
    "look_finds_the_batchs_own_entry_behind_the_head": [
        {"state": state_of_the_head_alone},
        {"state": state_by_batch_id_alone},
    ],
    "streams_of_odd_names_do_not_meet": [
        {"key": lambda self, stream: stream.lower()},
        {"key": lambda self, stream: stream.replace("/", "_")},
    ],
    "streams_whose_long_names_differ_at_the_end_do_not_meet": [{"key": lambda self, stream: stream[:199]}],
    "streams_whose_names_differ_in_blanks_at_the_end_do_not_meet": [{"key": lambda self, stream: stream.rstrip(" ")}],
    "first_take_of_a_new_stream_holds_it": [{"take": take_that_notes_nothing}],
    "take_at_a_head_that_is_not_the_newest_takes_nothing_and_fences_nobody": [{"take": take_whatever_the_head_is}],
    "take_at_the_newest_head_goes_on_with_the_chain": [{"take": take_new_streams_only}],
    "run_that_has_not_taken_the_stream_appends_nothing": [{"append": append_of_anybody}],
    "look_of_a_run_that_was_replaced_is_fenced": [{"look": look_past_the_fence}],
    "append_of_a_run_that_was_replaced_is_fenced_and_nothing_goes_in": [{"append": append_past_the_fence}],
    "run_that_was_replaced_does_not_take_the_stream_back": [{"take": take_back}],
    "one_streams_take_leaves_others_alone": [{"is_held": held_of_any_stream}],
    "of_two_appends_for_one_head_one_goes_in": [
        {"is_next": any_place},
        {"is_next": lambda self, entry: entry.seq > 0 or self.chain("s") == []},
        {"is_next": any_place, "put": put_at_the_end},
    ],
    "entry_made_for_an_older_head_does_not_go_in": [{"is_next": lambda self, entry: entry.seq != len(self.chain("s")) - 1}],
    "entry_that_would_leave_a_gap_does_not_go_in": [{"is_next": lambda self, entry: entry.seq >= len(self.chain("s"))}],
    "of_two_runs_that_took_the_stream_at_one_head_one_appends": [{"append": append_of_anybody}],
}
KINDS = [(promise, each) for promise, kinds in BROKEN.items() for each in kinds]


@pytest.mark.parametrize(("promise", "methods"), KINDS, ids=[promise for promise, _ in KINDS])
def test_ledger_that_breaks_a_promise_is_noticed(promise, methods):
    place, broken = Place(), type("Broken", (MemoryLedger,), methods)
    contract = LedgerContract()
    contract.ledger = lambda: broken(place)
    given = {"length": 2} if promise == "of_two_appends_for_one_head_one_goes_in" else {}
    with pytest.raises((AssertionError, pytest.fail.Exception, ForeachOnceError)):
        getattr(contract, f"test_{promise}")(**given)


def test_every_promise_is_broken_by_some_ledger():
    assert {f"test_{promise}" for promise in BROKEN} == {name for name in dir(LedgerContract) if name.startswith("test_")}
