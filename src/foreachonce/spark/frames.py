"""Batch frames as Arrow: fetched, run in tasks, and sent in the background."""

from __future__ import annotations

import os
import pickle
import re
import socket
import stat
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from foreachonce.errors import BatchFailed, CommitInDoubt, ConfigurationError, ForeachOnceError, WriteFailed

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import Column, DataFrame

# What the driver itself carries: at most so many rows, of frames that Spark takes to be at most so many bytes.
FEW_ROWS, FEW_BYTES = 10_000, 4_000_000
# Or what was made of at most so many records, where Spark has no size but a source's offsets tell their number.
FEW_RECORDS = 2_000
# How many lines of an error that came from Spark are shown.
SHOWN = 15
# How the message of a raise_error() begins and ends by which this library refuses a value amid a job.
REFUSAL, NOTHING_WRITTEN = "foreachonce: ", "Nothing was written."
_REFUSED = re.compile(f"{REFUSAL}(.+?{NOTHING_WRITTEN})", re.DOTALL)
# A job that failed with one of these may have committed: its process was lost, or a task of this library raised what is no
# error of its own. Any other failed while it computed rows, and a task commits after its last row.
_LOST = re.compile(
    r"foreachonce/(?:spark/frames|faults)\.py|Python worker (?:exited|process|failed)|ExecutorLost|executor \S+ exited"
    r"|TaskKilled|OutOfMemory|cancelled|shut down|FetchFailed|Answer from Java side is empty|network"
    r"|Connection (?:reset|refused)|SocketException|EOFException"
)


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a task that wrote rows reports.

    Args:
        attempt: Spark's task attempt id, unique within the application.
        rows: how many rows the task wrote.
    """

    attempt: int
    rows: int


class Timed(NamedTuple):
    """What tasks report of a job, and how many seconds they took, of which they waited for rows."""

    receipts: list[Receipt]
    took: float
    waited: float


@dataclass(frozen=True, slots=True)
class _Report:
    """What one task sends to the driver."""

    result: Receipt | ForeachOnceError
    took: float
    waited: float


Task = Callable[["Iterable[pa.RecordBatch]"], Receipt]


@contextmanager
def kept(frame: DataFrame) -> Iterator[DataFrame]:
    """The frame, computed once however many actions use it, and released at the end; one that the user keeps stays kept."""
    level = frame.storageLevel
    if level.useMemory or level.useDisk:
        yield frame
        return
    frame.persist()
    try:
        yield frame
    finally:
        frame.unpersist()


def partitions(frame: DataFrame) -> int | None:
    """How many tasks would compute the frame; None where that would cost a Spark job, or is unknown (Connect)."""
    plan = getattr(frame, "_jdf", None)
    if plan is None:
        return None
    execution = plan.queryExecution()
    # Adaptive execution runs a plan's shuffles to learn its partitions.
    if execution.executedPlan().getClass().getSimpleName() == "AdaptiveSparkPlanExec":
        return None
    return int(execution.toRdd().getNumPartitions())


def fetched(frame: DataFrame) -> list[pa.RecordBatch]:
    """The frame's rows, all of them, in the driver's memory.

    Raises:
        ForeachOnceError: as :func:`run_tasks`.
    """
    # What toArrow() calls, and then casts each column to its own type, in 4 ms. Connect has toArrow() alone, 3.5 has none.
    collect = getattr(frame, "_collect_as_arrow", None)
    with _job_errors():
        batches: list[pa.RecordBatch] = frame.toArrow().to_batches() if collect is None else collect()
        return batches


def estimate(frame: DataFrame) -> int | None:
    """Spark's estimate of the frame's bytes, for files their size; None where there is no estimate (Connect)."""
    plan = getattr(frame, "_jdf", None)
    if plan is None:
        return None
    # Before the optimizer, which takes as long as all else here and changes nothing of what files are taken for.
    return int(plan.queryExecution().withCachedData().stats().sizeInBytes())


def run_tasks(frame: DataFrame, task: Task) -> list[Receipt]:
    """Run ``task`` over the Arrow batches of each partition and collect the receipts of those that Spark accepted.

    Raises:
        ForeachOnceError: what a task raised, as itself. Such a task is not tried again: it would fail again.
        ConfigurationError: the workers run a Python that lacks a package.
        BatchFailed: Spark could not compute the rows.
        CommitInDoubt: a task or the job was lost; only the ledger shows what it has committed.
    """
    return timed(frame, task).receipts


def timed(frame: DataFrame, task: Task) -> Timed:
    """The same, with the time that the tasks took and that they waited for rows."""
    with _job_errors():
        reports = frame.mapInArrow(_reporting(task), "report binary").collect()
    found: list[_Report] = [pickle.loads(bytes(report[0])) for report in reports]  # noqa: S301 - written by our own tasks
    receipts: list[Receipt] = []
    for report in found:
        if isinstance(report.result, ForeachOnceError):
            raise report.result
        receipts.append(report.result)
    return Timed(receipts, sum(report.took for report in found), sum(report.waited for report in found))


@contextmanager
def _job_errors() -> Iterator[None]:
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    try:
        yield
    except (PySparkException, Py4JError) as error:
        raise job_error(error) from error


def _reporting(task: Task) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def report(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        result: Receipt | ForeachOnceError
        start, rows = perf_counter(), _Waiting(_acknowledged(batches))
        try:
            result = task(rows)
        except ForeachOnceError as error:
            # Spark must not repeat a task that the sink refused, and expects its input to be read to the end.
            result = error.with_traceback(None)
            exhaust(batches)
        done = pickle.dumps(_Report(result, perf_counter() - start, rows.waited))
        yield pa.RecordBatch.from_arrays([pa.array([done], pa.binary())], names=["report"])

    return report


class _Waiting:
    """Batches that are passed on once; ``waited`` is how many seconds their reader has waited for them."""

    def __init__(self, batches: Iterable[pa.RecordBatch]) -> None:
        self.waited = 0.0
        self._batches = iter(batches)

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        return self

    def __next__(self) -> pa.RecordBatch:
        start = perf_counter()
        try:
            return next(self._batches)
        finally:
            self.waited += perf_counter() - start


def _acknowledged(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The batches as they come, each acknowledged at once, which spares a task 40 ms.

    Spark writes a frame's end in a few bytes of their own. TCP keeps a small write back until what was sent before is
    acknowledged (Nagle's algorithm), and Linux delays that by 40 ms where the reader sends nothing, as a task that waits for
    rows. Spark has no setting for it. Source: tcp(7), TCP_QUICKACK, which holds for a moment only; measured in
    docs/decisions/0009-small-batches.md.
    """
    descriptor = _input_of_worker() if hasattr(socket, "TCP_QUICKACK") else None
    if descriptor is None:
        yield from batches
        return
    # A duplicate can be closed without harm to Spark's connection.
    with socket.socket(fileno=os.dup(descriptor)) as connection:
        for batch in batches:
            # Spark may use a Unix socket, which has no such option.
            with suppress(OSError):
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            yield batch


def _input_of_worker() -> int | None:
    """The descriptor of the connection by which Spark sends rows to this worker; None outside of a worker.

    It is the ``infile`` of ``main`` in pyspark/worker.py, which no public name gives.
    """
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        if frame.f_code.co_name == "main" and "infile" in frame.f_locals:
            with suppress(OSError, AttributeError, ValueError):
                descriptor = int(frame.f_locals["infile"].fileno())
                return descriptor if stat.S_ISSOCK(os.fstat(descriptor).st_mode) else None
    return None


def exhaust(batches: Iterable[pa.RecordBatch]) -> None:
    """Read and drop what is left."""
    for _ in batches:
        pass


def attempt() -> tuple[int, int]:
    """The running task's attempt id (unique) and its attempt number (0 for the first try)."""
    from pyspark import TaskContext

    context = TaskContext.get()
    return (context.taskAttemptId(), context.attemptNumber()) if context is not None else (0, 0)


def refusal(text: str) -> Column:
    """An expression that fails the job with a text, which :func:`job_error` makes a :class:`WriteFailed`."""
    from pyspark.sql import functions as F

    return F.raise_error(F.lit(f"{REFUSAL}{text} {NOTHING_WRITTEN}"))


def backticked(name: str) -> str:
    """A column's name as Spark's SQL takes it whole, dots and all."""
    return "`" + name.replace("`", "``") + "`"


def job_error(error: Exception) -> ForeachOnceError:
    """The error of this library for a failed Spark job."""
    missing = re.search(r"ModuleNotFoundError: (No module named '[\w.]+')", str(error))
    if missing:
        return ConfigurationError(
            f"Spark's Python workers lack a package: {missing[1]}. They run PYSPARK_PYTHON, by default the first python3 on "
            "the path: before the session is made, set it to a Python that has foreachonce and all that the job imports."
        )
    if refused := _REFUSED.search(str(error)):
        return WriteFailed(refused[1])
    if _LOST.search(str(error)):
        return CommitInDoubt(f"the Spark job that wrote the batch was lost: {excerpt(str(error))}")
    return BatchFailed(f"the Spark job of the batch failed: {excerpt(str(error))}\n{NOTHING_WRITTEN}")


def excerpt(text: str) -> str:
    """An error's text without Java's stack; of a long Python traceback its beginning and its end."""
    lines = [line for line in text.splitlines() if line.strip() and not re.match(r"\s*at [\w.$]+", line)]
    return "\n".join(lines if len(lines) <= SHOWN else [*lines[:3], "…", *lines[3 - SHOWN :]])


T = TypeVar("T")


def peeked(batches: Iterable[pa.RecordBatch]) -> tuple[pa.RecordBatch | None, Iterator[pa.RecordBatch]]:
    """The first batch, None where there is none; and all of them."""
    rest = iter(batches)
    first = next(rest, None)
    return first, rest if first is None else chain([first], rest)


class Counted:
    """Arrow batches that are passed on; ``rows`` is the number of rows so far."""

    def __init__(self, batches: Iterable[pa.RecordBatch]) -> None:
        self.rows = 0
        self._batches = batches

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        for batch in self._batches:
            self.rows += batch.num_rows
            yield batch


def each_in_background(work: Callable[[T], None], items: Iterable[T], *, depth: int = 4) -> None:
    """Call ``work`` with each item, in order, on one other thread; at most ``depth`` items wait.

    So Spark computes the next batch while this one is sent. Measured on 2 cores with 1.2 million rows by COPY: 3.7 s,
    without the thread 4.1 s.
    """
    pending: deque[Future[None]] = deque()
    with ThreadPoolExecutor(max_workers=1) as thread:
        for item in items:
            pending.append(thread.submit(work, item))
            if len(pending) > depth:
                pending.popleft().result()
        for left in pending:
            left.result()


def is_bytes(kind: pa.DataType) -> bool:
    """Whether a column holds bytes."""
    import pyarrow as pa

    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def is_text(kind: pa.DataType) -> bool:
    """Whether a column holds text, in any of Arrow's three types for it."""
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))
