"""The runner and a real ledger against a model of Spark that crashes, is reset, rolled back, copied and left running.

Whatever happens: the table holds the source's rows up to some place, each once; a batch that goes through, written or
skipped, has its rows there; the chain has no gap and no overlap; a refusal changes nothing.
"""

from __future__ import annotations

import shutil
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp
from uuid import uuid4

import pytest
import sqlalchemy as sa
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from foreachonce import SqlLedger
from foreachonce.chain import breaks
from foreachonce.entry import Epoch
from foreachonce.errors import CommitInDoubt, Fenced, ForeachOnceError, Mismatch
from foreachonce.runner import write_once
from tests.unit.builders import epoch, position

CRASHES = (None, "before", "half", "unconfirmed", "lost reply", "after")


class Crash(Exception):
    """The driver is gone."""


class ListSink:
    """A sink of plain numbers that is a real ledger's, and can be made to crash."""

    stream, checkpoint, on_mismatch = "s", None, "raise"

    def __init__(self, ledger: SqlLedger) -> None:
        self.ledger = ledger
        self.crash: str | None = None

    def __str__(self) -> str:
        return "numbers"

    def begin_run(self, epoch):
        """Nothing is left of earlier runs."""

    def check(self, rows):
        return rows

    def commit(self, rows, entry):
        batch = self.ledger.batch(entry)
        if self.crash == "before":
            raise Crash
        with batch.writing() as connection:
            connection.execute(sa.text("insert into numbers values (:n)"), [{"n": number} for number in rows])
            if self.crash == "half":
                raise Crash
            batch.append_entry(connection, len(rows))
        if self.crash == "unconfirmed":
            raise Crash
        if self.crash == "lost reply":
            raise CommitInDoubt("no reply")
        return len(rows)


@dataclass
class Checkpoint:
    """Spark's: which batches were planned, and which were committed."""

    query_id: str = field(default_factory=lambda: str(uuid4()))
    offsets: dict[int, tuple[int | None, int]] = field(default_factory=dict)
    commits: set[int] = field(default_factory=set)


class Run:
    """One run of a query: starts after the newest commit, and keeps in memory where it is."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint, self.run_id = checkpoint, str(uuid4())
        self.batch = max(checkpoint.commits, default=-1) + 1
        self.is_first = True

    def plan(self, available: int, limit: int) -> Epoch | None:
        """The next batch's epoch; None where there is nothing to do, or Spark itself notices another run."""
        offsets = self.checkpoint.offsets
        if not (self.is_first and self.batch in offsets):
            start = offsets[self.batch - 1][1] if self.batch - 1 in offsets else None
            end = min((start or 0) + limit, available)
            if self.batch in offsets or end == (start or 0):
                return None
            offsets[self.batch] = (start, end)
        self.is_first = False
        place = position(*offsets[self.batch])
        return epoch(query_id=self.checkpoint.query_id, run_id=self.run_id, batch_id=self.batch, position=place)

    def done(self) -> None:
        """The batch went through."""
        self.checkpoint.commits.add(self.batch)
        self.batch += 1


class Model(RuleBasedStateMachine):
    """Spark, its user and its operator."""

    @initialize()
    def begin(self) -> None:
        self.folder = Path(mkdtemp(prefix="foreachonce-model-"))
        self.sink = ListSink(SqlLedger(f"sqlite:///{self.folder}/sink.db"))
        self.engine = sa.create_engine(f"sqlite:///{self.folder}/sink.db", poolclass=sa.NullPool)
        with self.engine.begin() as connection:
            connection.execute(sa.text("create table numbers (n bigint)"))
        self.available, self.limit = 20, 2
        self.checkpoint, self.copies = Checkpoint(), []
        self.runs = [Run(self.checkpoint)]

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.engine.dispose()
            shutil.rmtree(self.folder)

    @rule(count=st.integers(1, 12))
    def produce(self, count: int) -> None:
        self.available += count

    @rule(limit=st.integers(1, 4))
    def change_limit(self, limit: int) -> None:
        self.limit = limit

    @rule()
    def start_anew(self) -> None:
        """The old run is not told: it may go on as a zombie."""
        self.runs = [*self.runs[-2:], Run(self.checkpoint)]

    @rule()
    def lose_checkpoint(self) -> None:
        self.checkpoint = Checkpoint()
        self.start_anew()

    @rule()
    def copy_checkpoint(self) -> None:
        self.copies = [*self.copies[-2:], deepcopy(self.checkpoint)]

    @precondition(lambda self: self.copies)
    @rule(data=st.data())
    def restore_checkpoint(self, data: st.DataObject) -> None:
        self.checkpoint = deepcopy(data.draw(st.sampled_from(self.copies)))
        self.start_anew()

    @precondition(lambda self: len(self.checkpoint.commits) > 1)
    @rule(data=st.data(), limit=st.integers(1, 4), count=st.integers(0, 4))
    def roll_back_and_change_limit(self, data: st.DataObject, limit: int, count: int) -> None:
        """An older copy of the checkpoint is put back, and the batches after it are cut anew."""
        newest = data.draw(st.sampled_from(sorted(self.checkpoint.commits)[:-1]))
        older = deepcopy(self.checkpoint)
        older.offsets = {batch: cut for batch, cut in older.offsets.items() if batch <= newest}
        older.commits = {batch for batch in older.commits if batch <= newest}
        self.checkpoint, self.limit = older, limit
        self.start_anew()
        self.run_batches(count)

    @rule(count=st.integers(2, 6))
    def run_batches(self, count: int) -> None:
        for _ in range(count):
            self._run(self.runs[-1], None)

    @rule(crash=st.sampled_from(CRASHES))
    def run_a_batch(self, crash: str | None) -> None:
        self._run(self.runs[-1], crash)

    @precondition(lambda self: len(self.runs) > 1)
    @rule(data=st.data(), crash=st.sampled_from(CRASHES))
    def zombie_runs_a_batch(self, data: st.DataObject, crash: str | None) -> None:
        self._run(data.draw(st.sampled_from(self.runs[:-1])), crash)

    def _run(self, run: Run, crash: str | None) -> None:
        planned = run.plan(self.available, self.limit)
        if planned is None:
            return
        before, newest = self._written(), [taken.run_id for taken in self.sink.ledger.runs("s")][-1:]
        self.sink.crash = crash
        rows = range(run.checkpoint.offsets[run.batch][0] or 0, run.checkpoint.offsets[run.batch][1])
        try:
            write_once(self.sink, planned, lambda sink: nullcontext(sink.check(rows)))
            assert set(rows) <= set(self._written()[0]), "a batch went through without its rows"
            if crash == "after":
                raise Crash
            run.done()
        except (Mismatch, Fenced) as refused:
            self._end(run)
            self._check_refusal(isinstance(refused, Fenced), before == self._written(), newest == [run.run_id])
        except (Crash, ForeachOnceError):
            self._end(run)

    def _check_refusal(self, is_fenced: bool, is_unchanged: bool, is_newest: bool) -> None:
        assert is_unchanged, "a refusal has changed something"
        assert not (is_fenced and is_newest), "the newest run was fenced"

    def _end(self, run: Run) -> None:
        self.runs.remove(run)
        if not self.runs:
            self.runs = [Run(self.checkpoint)]

    def _written(self) -> tuple[list[int], int]:
        with self.engine.connect() as connection:
            rows = connection.execute(sa.text("select n from numbers order by n")).scalars().all()
        return list(rows), len(list(self.sink.ledger.entries("s")))

    @invariant()
    def rows_are_the_sources_each_once(self) -> None:
        if hasattr(self, "folder"):
            rows, _ = self._written()
            assert rows == list(range(len(rows)))

    @invariant()
    def chain_is_whole_and_ends_where_the_rows_end(self) -> None:
        if hasattr(self, "folder"):
            entries = list(self.sink.ledger.entries("s"))
            assert list(breaks(entries)) == []
            rows, _ = self._written()
            assert sum(entry.rows for entry in entries) == len(rows)


TestModel = Model.TestCase
# Half of what a profile asks for: an example is a life of 30 steps.
TestModel.settings = settings(max_examples=settings().max_examples // 2, stateful_step_count=30, deadline=None)
TestModel.pytestmark = [pytest.mark.timeout(300)]
