"""The decision: what comes next is written, what is there is skipped, everything else is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from foreachonce.chain import breaks
from foreachonce.decide import Refuse, Skip, Write, decide, explain
from foreachonce.entry import Decision, Entry
from foreachonce.position import Position, SourceSpan
from tests.unit.builders import chain, entry, epoch, files, kafka, line, pointer

HEAD = entry(3, 5, seq=2, batch_id=2)


def test_first_batch_of_a_new_stream_is_written():
    assert decide(None, None, epoch()) == Write()


def test_new_stream_may_start_in_the_middle_of_its_source():
    assert decide(None, None, epoch(7, 9, batch_id=4)) == Write()


def test_batch_that_starts_where_the_head_ended_is_written():
    assert decide(HEAD, None, epoch(5, 8, batch_id=3)) == Write()


def test_batch_without_new_rows_is_written_too():
    assert decide(HEAD, None, epoch(5, 5, batch_id=3)) == Write()


@pytest.mark.parametrize("position", [
    Position({"0": SourceSpan(kafka(5), kafka(3))}), Position({"0": SourceSpan(kafka(5, 5), kafka(8, 4))}),
])  # fmt: skip
def test_batch_that_ends_behind_its_own_start_is_refused(position):
    """A topic was deleted and made again, and the source says failOnDataLoss=false."""
    before = entry(seq=2, batch_id=2, position=Position({"0": SourceSpan(None, position.sources["0"].start)}))
    again = epoch(batch_id=3, position=position)
    assert decide(before, None, again) == Refuse("behind", before)
    assert "ends behind its own start" in explain(Refuse("behind", before), again)
    after = Entry.next(before, again, sink="a sink")
    assert [each.what for each in breaks([before, after])] == ["it ends behind its own start, so rows may be lost"]
    wanted = replace(after, decision=Decision("on_mismatch", "behind"))
    assert list(breaks([before, wanted])) == []


def test_topic_that_is_gone_is_no_way_back():
    before = entry(seq=2, batch_id=2, position=Position({"0": SourceSpan(None, kafka(5, 5))}))
    assert decide(before, None, epoch(batch_id=3, position=Position({"0": SourceSpan(kafka(5, 5), kafka(7))}))) == Write()


def test_reset_that_lines_up_is_written():
    assert decide(HEAD, None, epoch(5, 8, batch_id=0, query_id="query-2")) == Write()


def test_batch_that_is_there_is_skipped():
    assert decide(HEAD, HEAD, epoch(3, 5, batch_id=2, run_id="run-2")) == Skip(HEAD)


def test_older_batch_that_is_there_is_skipped_with_its_own_entry():
    first, *_, head = chain(1, 2, 3)
    assert decide(head, first, epoch(None, 1)) == Skip(first)


@pytest.mark.parametrize(("start", "end"), [(3, 6), (3, 4), (2, 5), (None, 5)])
def test_batch_that_is_there_with_other_offsets_is_refused(start, end):
    assert decide(HEAD, HEAD, epoch(start, end, batch_id=2)) == Refuse("changed", HEAD)


def test_batch_that_is_there_is_refused_though_it_would_line_up():
    assert decide(HEAD, HEAD, epoch(5, 8, batch_id=2)) == Refuse("changed", HEAD)


def test_batch_that_was_never_written_is_not_skipped_for_its_low_number():
    assert decide(HEAD, None, epoch(1, 2, batch_id=1)) == Refuse("behind", HEAD)
    assert decide(HEAD, None, epoch(5, 6, batch_id=1)) == Write()


def test_batch_that_is_there_with_equal_offsets_and_other_files_is_refused():
    there = entry(position=files(0, 1, ["b"], ["a"]), batch_id=1)
    again = epoch(position=files(0, 1, ["b", "c"], ["a"]), batch_id=1)
    assert decide(there, there, again) == Refuse("changed", there)


def test_equal_offsets_after_other_files_are_refused():
    head = entry(position=files(0, 1, ["b"], ["a"]), batch_id=1)
    other = epoch(position=files(1, 2, ["d"], ["b", "c"]), batch_id=2)
    assert decide(head, None, other) == Refuse("unordered", head)


@pytest.mark.parametrize(("start", "reason"), [(4, "behind"), (None, "behind"), (6, "ahead")])
@pytest.mark.parametrize("query_id", ["query-1", "query-2"])
def test_batch_that_does_not_start_where_the_head_ended_is_refused(start, reason, query_id):
    assert decide(HEAD, None, epoch(start, 9, batch_id=3, query_id=query_id)) == Refuse(reason, HEAD)


def test_batch_behind_in_one_partition_and_ahead_in_another_is_refused():
    head = entry(position=Position({"0": SourceSpan(None, kafka(5, 5))}))
    other = epoch(position=Position({"0": SourceSpan(kafka(4, 6), kafka(9, 9))}), batch_id=1)
    assert decide(head, None, other) == Refuse("unordered", head)


def test_batch_of_other_sources_is_refused():
    other = epoch(position=Position({"orders": SourceSpan(kafka(5), kafka(6))}), batch_id=3)
    assert decide(HEAD, None, other) == Refuse("unordered", HEAD)


cuts = st.lists(st.integers(0, 6), min_size=1, max_size=6).map(sorted)


@given(cuts, st.none() | st.integers(0, 6), st.integers(0, 6), st.integers(0, 7), st.sampled_from(["query-1", "query-2"]))
def test_any_batch_against_any_chain(ends, start, end, batch_id, query_id):
    entries = chain(*ends)
    same = next((found for found in entries if (found.query_id, found.batch_id) == (query_id, batch_id)), None)
    decision = decide(entries[-1], same, epoch(start, end, batch_id=batch_id, query_id=query_id))
    if same is not None:
        is_same = (start, end) == ([None, *ends][batch_id], ends[batch_id])
        assert decision == (Skip(same) if is_same else Refuse("changed", same))
    elif start == ends[-1]:
        assert decision == (Refuse("behind", entries[-1]) if end < start else Write())
    else:
        assert decision == Refuse("behind" if start is None or start < ends[-1] else "ahead", entries[-1])


several_batches = st.lists(st.integers(0, 3), min_size=1, max_size=5)  # how many rows each of them brings


class KafkaWorld(RuleBasedStateMachine):
    """A query whose checkpoint and sink get lost, rolled back and mixed up, and a sink that does what decide says.

    Whatever happens, the sink holds the source's first rows, each once; and only what would harm it is refused.
    """

    def __init__(self) -> None:
        super().__init__()
        self.query = 1
        self.log: list[int] = []  # the source log: how many rows of the source each of its entries reaches
        self.batches: list[int] = []  # the offset log: how many entries of the source log each batch reaches
        self.entries: list[Entry] = []
        self.histories: list[tuple[int, list[int]]] = []  # the row at which each entry starts, and its source log
        self.sink: list[int] = []
        self.backups = [(1, [], [])]  # the checkpoint as it was before each batch: query, log and batches

    def position(self, first: int, last: int) -> Position:
        """The position of a batch after ``first`` entries of the source log, up to ``last``."""
        return Position({"0": SourceSpan(kafka(self.reach(first) or None), kafka(self.reach(last) or None))})

    def comes_next(self, start: int) -> bool:
        """Whether the position tells for sure that a batch at ``start`` comes next."""
        return start == len(self.sink)

    def is_same(self, start: int, log: list[int], there: Entry) -> bool:
        """Whether the position tells for sure that a batch holds the rows of an entry."""
        start_there, log_there = self.histories[there.seq]
        return (start, log[-1:]) == (start_there, log_there[-1:])

    def reach(self, entries: int) -> int:
        return self.log[entries - 1] if entries else 0

    @rule(batches=several_batches)
    def goes_on(self, batches: list[int]) -> None:
        for rows in batches:
            self.backups.append((self.query, self.log[:], self.batches[:]))
            if rows:
                self.log.append(self.reach(len(self.log)) + rows)
            self.batches.append(len(self.log))
            self.run()

    @rule(rows=st.integers(1, 3), batches=several_batches)
    def crashes_between_source_log_and_offset_log(self, rows: int, batches: list[int]) -> None:
        self.log.append(self.reach(len(self.log)) + rows)
        self.goes_on(batches)

    @precondition(lambda self: self.batches)
    @rule()
    def crashes_before_the_commit_log(self) -> None:
        self.run()

    @rule(kept=st.integers(0, 5), batches=several_batches)
    def checkpoint_is_cut_back(self, kept: int, batches: list[int]) -> None:
        self.batches = self.batches[:kept]
        self.log = self.log[: self.batches[-1] if self.batches else 0]
        self.goes_on(batches)

    @rule(data=st.data(), batches=several_batches)
    def older_checkpoint_is_put_back(self, data: st.DataObject, batches: list[int]) -> None:
        query, log, older = data.draw(st.sampled_from(self.backups))
        self.query, self.log, self.batches = query, log[:], older[:]
        self.goes_on(batches)

    @rule(kept=st.integers(0, 5), batches=several_batches)
    def offset_log_is_cut_and_the_source_log_is_not(self, kept: int, batches: list[int]) -> None:
        self.batches = self.batches[:kept]
        self.goes_on(batches)

    @rule(batches=several_batches)
    def checkpoint_is_lost(self, batches: list[int]) -> None:
        self.query, self.log, self.batches = self.query + 1, [], []
        self.goes_on(batches)

    @rule(batches=several_batches)
    def checkpoint_goes_on_under_another_query_id(self, batches: list[int]) -> None:
        self.query += 1
        self.goes_on(batches)

    @rule(kept=st.integers(0, 5))
    def sink_comes_back_from_a_backup(self, kept: int) -> None:
        self.entries, self.histories = self.entries[:kept], self.histories[:kept]
        self.sink = self.sink[: sum(found.rows for found in self.entries)]

    def run(self) -> None:
        """The newest batch of the offset log comes to the sink."""
        first, last = [0, *self.batches][-2:]
        start, end = self.reach(first), self.reach(last)
        rows = list(range(start, end))
        found = epoch(query_id=f"query-{self.query}", batch_id=len(self.batches) - 1, position=self.position(first, last))
        key = (found.query_id, found.batch_id)
        same = next((there for there in self.entries if (there.query_id, there.batch_id) == key), None)
        head = self.entries[-1] if self.entries else None
        decision = decide(head, same, found)
        if isinstance(decision, Write):
            # A new stream may start anywhere; here it starts at the beginning, so that every row can be accounted for.
            if head is None and start:
                return
            made = Entry.next(head, found, sink="")
            self.entries.append(replace(made, rows=len(rows)))
            self.histories.append((start, self.log[:last]))
            self.sink.extend(rows)
        elif isinstance(decision, Skip):
            assert (decision.entry, self.sink[start:end]) == (same, rows)
        elif same is None:
            assert not self.comes_next(start)
        else:
            assert not self.is_same(start, self.log[:last], same)

    @invariant()
    def every_row_is_there_once(self) -> None:
        assert self.sink == list(range(len(self.sink)))

    @invariant()
    def chain_is_whole(self) -> None:
        assert list(breaks(self.entries)) == []


class FileWorld(KafkaWorld):
    """The same with files: an offset is only a number of a log entry, which tells nothing of the files in it."""

    def position(self, first: int, last: int) -> Position:
        lines = [
            tuple(line(str(number), entry) for number in range(self.reach(entry), self.reach(entry + 1)))
            for entry in range(last)
        ]
        before = lines[first - 1] if first else ()
        new = tuple(text for group in lines[first:] for text in group)
        return Position({"0": SourceSpan(self._pointer(first), self._pointer(last), files=new, start_files=before)})

    def comes_next(self, start: int) -> bool:
        first = [0, *self.batches][-2]
        return not self.histories or self.log[:first] == self.histories[-1][1]

    def is_same(self, start: int, log: list[int], there: Entry) -> bool:
        return (start, log) == self.histories[there.seq]

    @staticmethod
    def _pointer(entries: int) -> str | None:
        return pointer(entries - 1) if entries else None


TestKafkaWorld = KafkaWorld.TestCase
TestFileWorld = FileWorld.TestCase
TestKafkaWorld.settings = TestFileWorld.settings = settings(max_examples=60, stateful_step_count=20, deadline=None)
