"""When the task that takes a batch's rows computes them too: never before a batch has shown that it does not matter."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from foreachonce.events import noted_path
from foreachonce.spark import gather
from foreachonce.spark.frames import Timed
from foreachonce.spark.gather import Gather, side_by_side


class Frame:
    """A frame of so many rows, which notes what was asked of it."""

    def __init__(self, rows: int = 1) -> None:
        self.asked: list[str] = []
        self.rows = rows
        self.sparkSession = SimpleNamespace(_sc=SimpleNamespace(defaultParallelism=4))

    def coalesce(self, number: int) -> Frame:
        self.asked.append("coalesce")
        return self

    def repartition(self, number: int) -> Frame:
        self.asked.append("shuffle")
        return self

    def limit(self, number: int) -> Frame:
        return self


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    """Seconds that the next jobs take; the clock stands still otherwise."""
    now = [0.0]
    monkeypatch.setattr(gather, "perf_counter", lambda: now[0])
    return now


@pytest.fixture
def job(monkeypatch, clock):
    """Run one job by a gather: its whole time, its task's, and how long that waited."""

    def job(learner: Gather, *, whole: float, took: float, waited: float, tasks: int | None = 4) -> str:
        def timed(frame, task):
            clock[0] += whole
            return Timed([], took, waited)

        monkeypatch.setattr(gather, "timed", timed)
        frame = Frame()
        learner.run(frame, lambda batches: None, tasks=tasks)
        return frame.asked[0]

    return job


def test_first_batch_is_computed_by_all_tasks(job):
    assert job(Gather(), whole=10, took=1, waited=0) == "shuffle"
    assert noted_path() == "one task, after a shuffle"


def test_frame_of_one_partition_is_computed_where_it_is_taken(job):
    learner = Gather()
    assert job(learner, whole=10, took=10, waited=9, tasks=1) == "coalesce"
    assert not learner.is_cheap
    assert noted_path() == "one task"


@pytest.mark.parametrize(("upstream", "tasks", "then"), [
    (0.5, 4, "coalesce"),  # two seconds of computing that sending them hides
    (5.0, 4, "shuffle"),
    (1.0, 4, "shuffle"),  # four seconds of computing, and two of sending
    (1.0, 2, "coalesce"),
    (1.0, 200, "shuffle"),  # four cores
    (1.0, None, "shuffle"),
])  # fmt: skip
def test_shuffled_batch_decides_for_the_next(job, upstream, tasks, then):
    learner = Gather()
    job(learner, whole=upstream + 2.5, took=2.5, waited=0.5, tasks=tasks)
    assert job(learner, whole=9, took=9, waited=9, tasks=tasks) == then


@pytest.mark.parametrize(("tasks", "at_once"), [(3, 3), (200, 4), (None, 4)])
def test_cores_bound_how_many_tasks_run_side_by_side(tasks, at_once):
    assert side_by_side(Frame(), tasks) == at_once


def test_connect_tells_neither_partitions_nor_cores():
    frame = Frame()
    frame.sparkSession = SimpleNamespace()
    assert side_by_side(frame, None) is None


def test_batch_that_gets_dear_goes_back_to_all_tasks(job):
    learner = Gather()
    job(learner, whole=2, took=2, waited=0)
    assert job(learner, whole=2, took=2, waited=0.1) == "coalesce"
    assert job(learner, whole=9, took=9, waited=7) == "coalesce"
    assert job(learner, whole=5, took=2, waited=0) == "shuffle"


def test_few_rows_are_fetched_by_one_task_only_where_that_was_quick(monkeypatch, clock):
    took = [0.05, 0.05, 3.0, 1.0, 0.1, 0.1]

    def fetched(frame):
        clock[0] += took.pop(0)
        return []

    monkeypatch.setattr(gather, "estimate", lambda frame: 1000)
    monkeypatch.setattr(gather, "fetched", fetched)
    learner, asked = Gather(), []
    while took:
        frame = Frame()
        learner.few(frame)
        asked.append(frame.asked)
    assert asked == [[], ["coalesce"], ["coalesce"], [], [], ["coalesce"]]
