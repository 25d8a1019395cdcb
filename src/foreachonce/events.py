"""What became of one epoch in one sink, as one event. Pure.

An epoch gives exactly one event for each sink that it reached, also where it raised. :mod:`foreachonce.observe` publishes
it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from time import perf_counter
from typing import Literal, get_args

from foreachonce.errors import Expired, Fenced, Mismatch, StateLost, hide_credentials

Outcome = Literal["written", "skipped", "refused", "fenced", "failed"]
Step = Literal["resolve", "head", "take", "check", "commit", "total"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
STEPS: tuple[Step, ...] = get_args(Step)
# The batch id of an event that comes of ``prepare`` or ``start``, which was refused.
BEFORE_ANY_BATCH = -1
SHOWN = 500  # characters of an error's first line
# The bounds of histograms, in seconds: from a look at a ledger that is near to a batch that takes minutes.
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One epoch in one sink.

    Args:
        stream: the stream's name; None where the batch could not be resolved and the sink has no name of its own.
        outcome: ``"written"``; ``"skipped"``, a replay; ``"refused"``, by `Mismatch`, `StateLost` or `Expired`;
            ``"fenced"``, by `Fenced`; ``"failed"``, by any other error.
        batch_id: Spark's batch id; -1 where ``prepare`` or ``start`` was refused, so that no batch comes.
        query_id: Spark's query id; None where the batch could not be resolved.
        run_id: Spark's run id; None where the batch could not be resolved.
        seq: the place of the batch's entry in the stream's chain; None where nothing was written.
        rows: how many rows the entry counts: of a replay those that had been written before. None where nothing was written,
            and for a function, whose rows nobody counts.
        seconds: how long each step took that was reached (``"resolve"``, ``"head"``, ``"take"``, ``"check"``, ``"commit"``),
            and ``"total"``. The user's function is part of
            ``"check"``; where no transaction covers it, of ``"commit"``. ``"resolve"`` is shared by the sinks of one batch.
        behind: by Spark's source id, at most how many records the source had beyond the batch's end when Spark planned the
            batch; None where Spark does not tell.
        path: which way the rows went, where the sink has several: ``"driver"``, ``"one task"``, ``"one task, after a
            shuffle"`` or ``"many tasks, by a stage"``; None where it has one, or was not reached.
        reason: the decision's text, or the error's class and the first line of its message.
        sink: the sink's description, without secrets.
    """

    stream: str | None
    outcome: Outcome
    batch_id: int
    query_id: str | None
    run_id: str | None
    seq: int | None
    rows: int | None
    seconds: Mapping[Step, float]
    behind: Mapping[str, int | None]
    reason: str
    sink: str
    path: str | None = None

    def flat(self) -> dict[str, str | int | float | None]:
        """The event in one level, fit for JSON: ``seconds_commit``, ``behind_0`` and so on."""
        return {
            "stream": self.stream,
            "outcome": self.outcome,
            "batch_id": self.batch_id,
            "query_id": self.query_id,
            "run_id": self.run_id,
            "seq": self.seq,
            "rows": self.rows,
            **{f"seconds_{step}": round(seconds, 6) for step, seconds in self.seconds.items()},
            **{f"behind_{source}": records for source, records in self.behind.items()},
            "reason": self.reason,
            "sink": self.sink,
            "path": self.path,
        }


_path: ContextVar[str | None] = ContextVar("path", default=None)


def note_path(path: str | None) -> None:
    """Note which way a batch's rows go, for the event of the batch that this thread writes."""
    _path.set(path)


def noted_path() -> str | None:
    """The way that was noted."""
    return _path.get()


def outcome_of(error: BaseException) -> Outcome:
    """What an error makes of an epoch."""
    if isinstance(error, Mismatch | StateLost | Expired):
        return "refused"
    return "fenced" if isinstance(error, Fenced) else "failed"


def reason_of(error: BaseException) -> str:
    """The error's class and the first line of its message.

    A user's function may raise what others wrote, an address with its password in it too.
    """
    line = str(error).strip().partition("\n")[0]
    return hide_credentials(f"{type(error).__name__}: {line}")[:SHOWN]


class Stopwatch:
    """Seconds by step; it runs from the moment when it is made."""

    def __init__(self) -> None:
        self._steps: dict[Step, float] = {}
        self._start = perf_counter()

    @contextmanager
    def step(self, name: Step) -> Iterator[None]:
        """Time a block, also one that raises. A step that is taken twice takes as long as both."""
        start = perf_counter()
        try:
            yield
        finally:
            self._steps[name] = self._steps.get(name, 0.0) + perf_counter() - start

    def again(self) -> Stopwatch:
        """A copy, which goes on from the steps so far."""
        other = Stopwatch()
        other._steps = dict(self._steps)
        other._start -= sum(self._steps.values())
        return other

    @property
    def seconds(self) -> dict[Step, float]:
        """The steps that were taken, and the total."""
        return {**self._steps, "total": perf_counter() - self._start}
