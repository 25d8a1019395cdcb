"""What a failed Spark job is told as."""

from __future__ import annotations

import pytest
from pyspark.errors import PySparkException

from foreachonce.errors import BatchFailed, CommitInDoubt, ConfigurationError, WriteFailed
from foreachonce.spark.frames import SHOWN, run_tasks

TRACE = """\
Job aborted due to stage failure: Task 0 in stage 3.0 failed 1 times
Traceback (most recent call last):
{frames}
{last}

\tat org.apache.spark.api.python.BasePythonRunner$ReaderIterator.handlePythonException(PythonRunner.scala:581)
\tat java.base/java.lang.Thread.run(Thread.java:840)
"""
FRAMES = "\n".join(f'  File "worker.py", line {line}, in main' for line in range(50))


class Frame:
    """A frame whose job ends with an error."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def mapInArrow(self, *_):  # noqa: N802
        return self

    def collect(self):
        raise self._error


def _error_of(last: str) -> Exception:
    frame = Frame(PySparkException(TRACE.format(frames=FRAMES, last=last)))
    with pytest.raises(Exception) as caught:  # noqa: PT011
        run_tasks(frame, lambda batches: None)
    return caught.value


def test_workers_without_the_library_are_told_as_such():
    error = _error_of("ModuleNotFoundError: No module named 'foreachonce'")
    assert isinstance(error, ConfigurationError)
    assert "No module named 'foreachonce'" in str(error)
    assert "PYSPARK_PYTHON" in str(error)


def test_end_of_a_long_python_traceback_is_told_and_javas_stack_is_not():
    error = _error_of("ValueError: a function of the user's failed")
    assert isinstance(error, BatchFailed)
    assert str(error).endswith("ValueError: a function of the user's failed\nNothing was written.")
    assert "Job aborted" in str(error)
    assert "\tat" not in str(error)
    assert len(str(error).splitlines()) == SHOWN + 2


def test_error_that_is_not_sparks_passes():
    with pytest.raises(WriteFailed):
        run_tasks(Frame(WriteFailed("x")), lambda batches: None)


@pytest.mark.parametrize("last", [
    "EOFError", "InjectedFault: from foreachonce/faults.py", "Python worker exited unexpectedly (crashed)",
    "ExecutorLostFailure (executor 1 exited caused by one of the running tasks)", "java.lang.OutOfMemoryError: heap",
    "Job 3 cancelled part of cancelled job group", "SparkContext was shut down",
])  # fmt: skip
def test_job_that_was_lost_leaves_the_commit_in_doubt(last):
    last = last if last != "EOFError" else 'File "/x/foreachonce/spark/frames.py", line 1, in report\nEOFError'
    assert isinstance(_error_of(last), CommitInDoubt)


@pytest.mark.parametrize("last", [
    "ValueError: no such rate", "[DIVIDE_BY_ZERO] Division by zero. SQLSTATE: 22012", "KeyError: 'foreachonce'",
    "[FAILED_EXECUTE_UDF] User defined function failed", "org.apache.kafka.common.errors.OffsetOutOfRangeException",
])  # fmt: skip
def test_error_of_the_users_own_is_no_commit_in_doubt(last):
    assert isinstance(_error_of(last), BatchFailed)
