"""The promises of the `Ledger` protocol, as tests that need no Spark. A ledger joins with a subclass that names one thing:

    class TestMyLedger(LedgerContract):
        @pytest.fixture(autouse=True)
        def place(self, tmp_path): ...            # somewhere new for each test
        def ledger(self): ...                     # a new ledger object of that place

The sink's contract calls a ledger as the runner does, in one order; this one calls it in the orders that a crash, a pause or
a second driver bring about. A ledger is used by one thread at a time here: what the database does with two at once is the
sink's contract again.

Delta's ledger does not join. It appends only to a table that is there, which takes Spark, and its ``take`` writes nothing:
the first run to commit fences the others, not the first to take.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from typing import Any, ClassVar

import pytest

from foreachonce.entry import WRITE, Decision, Entry, Epoch, LedgerState
from foreachonce.errors import Fenced, ForeachOnceError
from foreachonce.ledger import Ledger
from foreachonce.position import Position, SourceSpan

# Names that a ledger may take for each other, or for a path, a pattern or the end of a statement.
NAMES = (
    *("s", "S", " s", "s\t", "s.", "s/", "s%", "a/b", "a.b", "a_b", "a b", "a\\b", "a%2fb", "a_2fb", "../a", ".", "..", "/"),
    *("it's", '"s"', "`s`", "s; --", "{s}", "*", "null", "0", "é", "e\u0301", "ß", "ss", "名前", "😀", "😁", "\u00a0s"),
)
# Of each kind one, and of an unknown kind, as a newer version may have it.
DECISIONS = (
    WRITE,
    Decision("on_mismatch", "behind"),
    Decision("in_doubt", "probe: the effect was there"),
    Decision("begin", "seq 3 of stream 'it''s \"t\"'"),
    Decision("repair", "checkpoint missing, mended to go on after batch 3, the old one is in /checkpoints/é"),
    Decision("other", "a kind of a newer version: \\ % ' \" é 名前"),
)
# What a file source's log and offset hold, with all that a ledger might change on the way.
_LINE = '{"path":"file:///in/it\'s%%20 \\"é\\" 名前 😀.json","timestamp":1700000000000,"batchId":%d}'


@dataclass
class Run:
    """A run of a query that uses a ledger, and makes its entries as the runner does."""

    ledger: Ledger
    run_id: str = "run-1"
    query_id: str = "query-1"
    stream: str = "s"

    def epoch(self, batch_id: int = 0, **changed: Any) -> Epoch:
        """A batch of the run: its records lie between the numbers ``batch_id`` and ``batch_id + 1`` of one partition."""
        start = None if batch_id == 0 else f'{{"events":{{"0":{batch_id}}}}}'
        end = f'{{"events":{{"0":{batch_id + 1}}}}}'
        epoch = Epoch(
            stream=self.stream,
            query_id=self.query_id,
            run_id=self.run_id,
            batch_id=batch_id,
            position=Position({"0": SourceSpan(start, end)}),
            offset_log=f'v1\n{{"batchWatermarkMs":0}}\n{end}',
        )
        return replace(epoch, **changed)

    def take(self) -> LedgerState:
        """Take the stream over, at its newest entry."""
        return self.ledger.take(self.epoch(), self.ledger.head(self.stream))

    def entry(self, head: Entry | None, batch_id: int, *, decision: Decision = WRITE, **changed: Any) -> Entry:
        """The entry of a batch, to append after ``head``."""
        return Entry.next(head, self.epoch(batch_id, **changed), sink="a sink", decision=decision)

    def append(self, *batch_ids: int) -> Entry:
        """Append the entries of batches, each after the one before; return the last as the ledger tells it."""
        for batch_id in batch_ids:
            self.ledger.append(self.entry(self.ledger.head(self.stream), batch_id))
        head = self.ledger.head(self.stream)
        assert head is not None
        return head


def _plain(entry: Entry | None) -> Entry | None:
    """An entry without what the ledger itself fills in."""
    return None if entry is None else replace(entry, rows=None, time=datetime.min)


class LedgerContract:
    """What every ledger promises its callers, one promise a test."""

    longest_name: ClassVar[int] = 200
    """How many characters the name of a stream may have, if they are letters of ASCII."""
    kept: ClassVar[int] = 100
    """How many entries behind the head a look finds a batch at least: Spark keeps so many batches to run again."""

    @abstractmethod
    def ledger(self) -> Ledger:
        """A new ledger object of the test's place, where nobody has written yet when the test begins."""

    def chain(self, stream: str = "s") -> list[Entry]:
        """The stream's entries, by a ledger object of its own."""
        return list(self.ledger().entries(stream))

    # --- reading -----------------------------------------------------------------------------------------------------

    def test_unknown_stream_reads_as_empty_and_reading_makes_nothing(self) -> None:
        ledger = self.ledger()
        for _ in range(2):
            assert ledger.head("s") is None
            assert list(ledger.entries("s")) == []
            assert ledger.unfinished("s") is None
            assert ledger.look(Run(ledger).epoch()) == LedgerState(None, None, is_held=False)
            assert list(ledger.streams()) == list(self.ledger().streams()) == []

    def test_entry_comes_back_with_all_its_fields(self) -> None:
        run, begun = Run(self.ledger()), datetime.now(timezone.utc)
        run.take()
        spans = {
            "0": SourceSpan('{"logOffset":3}', '{"logOffset":4}', files=(_LINE % 4,), start_files=(_LINE % 3, _LINE % 3)),
            "1": SourceSpan('{"logOffset":3}', '{"logOffset":4}', is_shared=True),
            "2": SourceSpan(None, None),
        }
        offset_log = f'v1\n{{"conf":"it\'s \\\\ %s :name é 名前 😀 {"x" * 70_000}"}}\n{{"logOffset":4}}\n-\n-'
        given: list[Entry] = []
        for batch_id, decision in enumerate(DECISIONS):
            changed = {"position": Position(spans), "offset_log": offset_log, "is_stateful": batch_id % 2 == 1}
            given.append(run.entry(run.ledger.head("s"), batch_id, decision=decision, **changed))
            run.ledger.append(given[-1])
        found = self.chain()
        assert [_plain(entry) for entry in found] == [_plain(entry) for entry in given]
        assert [entry.rows or 0 for entry in found] == [0] * len(given)
        assert all(entry.time.utcoffset() == timedelta(0) for entry in found)
        assert begun <= found[0].time <= found[-1].time <= datetime.now(timezone.utc)
        assert self.ledger().head("s") == found[-1] == run.ledger.look(run.epoch()).head
        assert run.ledger.look(run.epoch()).same_batch == found[0]

    def test_appended_entry_leaves_no_batch_unfinished(self) -> None:
        run = Run(self.ledger())
        run.take()
        run.append(0)
        assert run.ledger.unfinished("s") is None
        assert self.ledger().unfinished("s") is None

    def test_entries_after_a_seq_are_those_of_a_greater_one_in_order(self) -> None:
        run = Run(self.ledger())
        run.take()
        run.append(*range(12))
        for after in (-1, 0, 1, 9, 10, 11, 12, 100):
            expected = list(range(after + 1, 12))
            assert [entry.seq for entry in self.ledger().entries("s", after=after)] == expected
            assert [entry.batch_id for entry in run.ledger.entries("s", after=after)] == expected

    def test_look_finds_the_batchs_own_entry_behind_the_head(self) -> None:
        first, second = Run(self.ledger()), Run(self.ledger(), "run-2", "query-2")
        first.take()
        own = first.append(0)
        second.take()
        head = second.append(*range(self.kept))
        third = Run(self.ledger(), "run-3", "query-1")
        assert third.ledger.look(third.epoch(0)) == LedgerState(head, own, is_held=False)
        assert third.ledger.look(third.epoch(1)) == LedgerState(head, None, is_held=False)
        for batch_id in (0, self.kept // 2, self.kept - 1):
            for ledger in (second.ledger, self.ledger()):
                state = ledger.look(second.epoch(batch_id))
                assert state.same_batch is not None
                assert (state.same_batch.query_id, state.same_batch.batch_id) == ("query-2", batch_id)
                assert (state.head, state.is_held) == (head, True)

    def test_streams_of_odd_names_do_not_meet(self) -> None:
        self._assert_apart(*NAMES)

    def test_streams_whose_long_names_differ_at_the_end_do_not_meet(self) -> None:
        start = "x" * (self.longest_name - 1)
        self._assert_apart(start, f"{start}x", f"{start}X", f"{start}y")

    def test_streams_whose_names_differ_in_blanks_at_the_end_do_not_meet(self) -> None:
        self._assert_apart("s", "s ", "s  ")

    def _assert_apart(self, *names: str) -> None:
        """Write a stream of each name, and see that each has its own entry and its own holder."""
        ledger = self.ledger()
        for number, name in enumerate(names):
            run = Run(ledger, f"run-{number}", stream=name)
            assert not ledger.look(run.epoch()).is_held, name
            assert run.take() == LedgerState(None, None, is_held=True), name
            run.append(0)
        assert sorted(self.ledger().streams()) == sorted(names)
        for number, name in enumerate(names):
            assert [(entry.stream, entry.run_id) for entry in self.chain(name)] == [(name, f"run-{number}")], name
            assert ledger.look(Run(ledger, f"run-{number}", stream=name).epoch()).is_held, name

    # --- taking a stream over ----------------------------------------------------------------------------------------

    def test_first_take_of_a_new_stream_holds_it(self) -> None:
        run = Run(self.ledger())
        held = LedgerState(None, None, is_held=True)
        assert run.take() == held
        assert run.ledger.look(run.epoch()) == held
        assert self.ledger().look(run.epoch()) == held
        assert self.ledger().head("s") is None
        assert not self.ledger().look(Run(self.ledger(), "run-2").epoch()).is_held

    def test_take_at_a_head_that_is_not_the_newest_takes_nothing_and_fences_nobody(self) -> None:
        holder, late = Run(self.ledger()), Run(self.ledger(), "run-2", "query-2")
        holder.take()
        for batch_id, head in enumerate([None, holder.append(0)]):
            newest = self.ledger().head("s") if batch_id == 0 else holder.append(1)
            assert late.ledger.take(late.epoch(), head) == LedgerState(newest, None, is_held=False)
            assert late.ledger.look(late.epoch()) == LedgerState(newest, None, is_held=False)
            with pytest.raises(ForeachOnceError):
                late.ledger.append(late.entry(newest, 0))
            assert self.chain()[-1] == newest
            assert holder.ledger.look(holder.epoch()).is_held
        assert holder.append(2).seq == 2
        assert late.take().is_held

    def test_take_at_the_newest_head_goes_on_with_the_chain(self) -> None:
        first, second = Run(self.ledger()), Run(self.ledger(), "run-2")
        first.take()
        head = first.append(0, 1)
        own = self.chain()[0]
        assert second.take() == LedgerState(head, own, is_held=True)
        assert second.ledger.look(second.epoch(1)) == LedgerState(head, head, is_held=True)
        second.append(2)
        assert [(entry.seq, entry.run_id) for entry in self.chain()] == [(0, "run-1"), (1, "run-1"), (2, "run-2")]

    def test_run_that_has_not_taken_the_stream_appends_nothing(self) -> None:
        run = Run(self.ledger())
        with pytest.raises(ForeachOnceError):
            run.ledger.append(run.entry(None, 0))
        assert self.chain() == []

    def _replaced(self) -> tuple[Run, Run, list[Entry]]:
        """A run, the run that has replaced it, and the chain as it then is."""
        old, new = Run(self.ledger()), Run(self.ledger(), "run-2")
        old.take()
        old.append(0)
        assert new.take().is_held
        return old, new, self.chain()

    def test_look_of_a_run_that_was_replaced_is_fenced(self) -> None:
        old, new, chain = self._replaced()
        for ledger in (old.ledger, self.ledger()):
            with pytest.raises(Fenced):
                ledger.look(old.epoch(1))
        assert self.chain() == chain
        assert new.ledger.look(new.epoch(1)) == LedgerState(chain[0], None, is_held=True)

    def test_append_of_a_run_that_was_replaced_is_fenced_and_nothing_goes_in(self) -> None:
        old, new, chain = self._replaced()
        for ledger in (old.ledger, self.ledger()):
            with pytest.raises(Fenced):
                ledger.append(old.entry(chain[0], 1))
            assert self.chain() == chain
        assert new.append(1).run_id == "run-2"

    def test_run_that_was_replaced_does_not_take_the_stream_back(self) -> None:
        old, new, chain = self._replaced()
        for ledger in (old.ledger, self.ledger()):
            with pytest.raises(Fenced):
                ledger.take(old.epoch(1), chain[0])
        assert self.chain() == chain
        assert new.append(1).run_id == "run-2"

    def test_one_streams_take_leaves_others_alone(self) -> None:
        first, second = Run(self.ledger()), Run(self.ledger(), "run-2", stream="t")
        first.take()
        second.take()
        first.append(0)
        second.append(0)
        assert [entry.run_id for entry in (*self.chain("s"), *self.chain("t"))] == ["run-1", "run-2"]

    # --- appending ---------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("length", [0, 2])
    def test_of_two_appends_for_one_head_one_goes_in(self, length: int) -> None:
        run = Run(self.ledger())
        run.take()
        head = run.append(*range(length)) if length else None
        one, other = run.entry(head, length), run.entry(head, length + 1)
        run.ledger.append(one)
        assert _plain(self.chain()[-1]) == _plain(one)
        self._assert_refused(run, other)

    def test_entry_made_for_an_older_head_does_not_go_in(self) -> None:
        run = Run(self.ledger())
        run.take()
        older = run.append(0)
        run.append(1, 2)
        self._assert_refused(run, run.entry(older, 3))

    def test_entry_that_would_leave_a_gap_does_not_go_in(self) -> None:
        run = Run(self.ledger())
        run.take()
        head = run.append(0, 1)
        self._assert_refused(run, replace(run.entry(head, 2), seq=head.seq + 2))

    def _assert_refused(self, run: Run, entry: Entry) -> None:
        """The run, which holds the stream, cannot append the entry, and goes on once it has looked."""
        chain = self.chain()
        with pytest.raises(ForeachOnceError):
            run.ledger.append(entry)
        assert self.chain() == chain
        # As the runner does after any error: it believes the ledger.
        head = chain[-1]
        assert run.ledger.look(run.epoch(head.batch_id)) == LedgerState(head, head, is_held=True)
        assert run.append(entry.batch_id).seq == head.seq + 1

    def test_of_two_runs_that_took_the_stream_at_one_head_one_appends(self) -> None:
        runs = [Run(self.ledger()), Run(self.ledger(), "run-2")]
        assert all(run.take().is_held for run in runs)
        done = []
        for run in runs:
            try:
                run.ledger.append(run.entry(None, 0))
            except ForeachOnceError:
                continue
            done.append(run.run_id)
        assert len(done) == 1
        assert [(entry.seq, entry.run_id) for entry in self.chain()] == [(0, done[0])]
