"""A real driver in a process of its own, to be stopped at a named point and killed.

``python -m foreachonce.testing.driver FOLDER`` is the driver; :class:`Driver` starts it and kills it.
"""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any, Literal

import psutil
from pyspark.errors import PySparkException

from foreachonce.errors import ForeachOnceError
from foreachonce.faults import VARIABLE, Point
from foreachonce.polling import wait_until
from foreachonce.testing.faults import PATIENCE, Faults
from foreachonce.testing.spark import JAVA, session
from foreachonce.testing.stream import BatchFunction, KafkaSource, open_stream

if TYPE_CHECKING:
    from pyspark.sql import DataFrame
    from pyspark.sql.streaming.query import StreamingQuery

Victim = Literal["python", "jvm", "all", "executors"]
# What would make a session one of Spark Connect. A driver's is a classic one, also where the tests run on Connect.
CONNECT = {"SPARK_REMOTE", "SPARK_LOCAL_REMOTE", "SPARK_CONNECT_MODE_ENABLED", "SPARK_API_MODE", "SPARK_CONNECT_MODE"}


@dataclass(frozen=True, slots=True)
class Job:
    """What a driver runs: every batch that is in ``source``, through ``function``, then it ends.

    Args:
        function: a foreachBatch function that pickles, such as a sink.
        source: a folder, or a topic.
        checkpoint: a folder.
        limit: files a batch, or what takes their place.
        master: Spark's master; by default a task is repeated, as on a cluster.
        heal: let the function start the query, which mends its checkpoint first.
        gate: a file to wait for before the query starts, so that two drivers start at the same moment.
        settings: Spark settings, with ``_`` for each dot of their names.
    """

    function: BatchFunction
    source: Path | KafkaSource
    checkpoint: Path
    limit: int = 1
    master: str = "local[2,4]"
    heal: bool = False
    gate: Path | None = None
    settings: dict[str, str] = field(default_factory=dict)


class Driver:
    """A driver process. Use it as a context: whatever is left of it is killed at the end.

    Args:
        jobs: what it runs, all at once, and then it ends. None: it waits for jobs, and runs one after the other in one
            session.
        fault: the point at which it stands still, if any.
    """

    def __init__(self, *jobs: Job, fault: Point | None = None) -> None:
        self._folder = Path(mkdtemp(prefix="foreachonce-driver-"))
        self.faults = Faults(self._folder / "faults")
        self._fault, self._jobs = fault, 0
        if fault:
            self.faults.arm(fault, "stop")
        if jobs:
            self.submit(*jobs)
            (self._folder / "last").touch()
        self._log = (self._folder / "log").open("wb")
        self._process = subprocess.Popen(  # noqa: S603 - our own arguments
            [sys.executable, "-m", "foreachonce.testing.driver", str(self._folder)],
            stdout=self._log, stderr=subprocess.STDOUT, start_new_session=True,
            env={**environment(self._folder), VARIABLE: str(self.faults.folder)},
        )  # fmt: skip

    def __enter__(self) -> Driver:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill("all")
        # A driver that has come to its end leaves its JVM to shut down for seconds; nobody waits for that.
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._log.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def is_running(self) -> bool:
        """Whether the driver's Python is alive."""
        return self._process.poll() is None

    @property
    def is_busy(self) -> bool:
        """Whether the newest job has not ended."""
        return self.is_running and not (self._folder / f"result-{self._jobs - 1}").exists()

    def log(self) -> str:
        """What the driver has printed."""
        return (self._folder / "log").read_text(errors="replace")

    def submit(self, *jobs: Job) -> None:
        """Hand over one more job, or several that run at the same time."""
        half = self._folder / "half"
        half.write_bytes(pickle.dumps(jobs))
        half.rename(self._folder / f"job-{self._jobs}")
        self._jobs += 1

    def result(self) -> str:
        """Wait for the newest job's end; return the error that ended it, empty where every batch went through."""
        place = self._folder / f"result-{self._jobs - 1}"
        self._wait_for(place.exists, "did not end its job")
        return place.read_text()

    def wait(self) -> int:
        """Wait for the end of a driver that was made with a job; return its exit code, 0 where every batch went through."""
        return self._process.wait(PATIENCE)

    def wait_until_ready(self) -> None:
        """Wait until the newest job has its session, and would start its query as soon as its gate is open."""
        self._wait_for((self._folder / f"ready-{self._jobs - 1}").exists, "has no session")

    def wait_at_point(self) -> int:
        """Wait until the driver, or a worker of it, stands at its point; return the process that does."""
        assert self._fault is not None
        try:
            return self.faults.wait(self._fault, lambda: self.is_running)
        except AssertionError as error:
            raise AssertionError(f"{error} (exit code {self._process.poll()}):\n{self.log()[-6000:]}") from None

    def kill(self, victim: Victim) -> None:
        """SIGKILL a part of the driver, or all of it with every process below."""
        for process in self._victims(victim):
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        if victim in ("python", "all"):
            self._process.wait(PATIENCE)

    def _victims(self, victim: Victim) -> list[psutil.Process]:
        try:
            driver = psutil.Process(self._process.pid)
            below = driver.children(recursive=True)
        except psutil.NoSuchProcess:
            return []
        machines = [process for process in below if "java" in _name(process)]
        if victim == "python":
            return [driver]
        if victim == "jvm":
            return machines[:1]
        # A local cluster's executors are Java processes below the driver's own.
        return machines[1:] if victim == "executors" else [driver, *below]

    def _wait_for(self, condition: Any, what: str) -> None:
        wait_until(lambda: condition() or not self.is_running, PATIENCE, pause=0.005)
        if not condition():
            raise AssertionError(f"the driver {what} (exit code {self._process.poll()}):\n{self.log()[-6000:]}")


def environment(scratch: Path) -> dict[str, str]:
    """The environment of a driver that lives for seconds: this process's, with scratch files where they go with the driver.

    Set ``SPARK_SUBMIT_OPTS`` for Java's options and ``PYSPARK_SUBMIT_ARGS`` for Spark's; drivers inherit both.
    """
    inherited = {name: value for name, value in os.environ.items() if name not in CONNECT}
    return {
        "SPARK_LAUNCHER_OPTS": JAVA,
        "SPARK_LOCAL_IP": "127.0.0.1",
        **inherited,
        "SPARK_LOCAL_DIRS": str(scratch),
        "SPARK_SUBMIT_OPTS": f"{inherited.get('SPARK_SUBMIT_OPTS', JAVA)} -Djava.io.tmpdir={scratch}",
    }


def _name(process: psutil.Process) -> str:
    try:
        return str(process.name())
    except psutil.NoSuchProcess:
        return ""


def run(jobs: Sequence[Job], ready: Path) -> None:
    """Run jobs at the same time in this process's session, each to its end; raise the first error."""
    frames = [open_stream(session(job.master, **job.settings), job.source, limit=job.limit) for job in jobs]
    ready.touch()
    queries = [_start(job, frame) for job, frame in zip(jobs, frames, strict=True)]
    errors = []
    for query in queries:
        try:
            query.awaitTermination()
        except PySparkException as failed:
            errors.append(failed)
    if errors:
        raise errors[0]


def _start(job: Job, frame: DataFrame) -> StreamingQuery:
    while job.gate is not None and not job.gate.exists():
        time.sleep(0.002)
    writer = frame.writeStream.trigger(availableNow=True)
    if job.heal:
        query: StreamingQuery = job.function.start(writer, str(job.checkpoint))  # type: ignore[attr-defined]  # a sink's
        return query
    return writer.foreachBatch(job.function).option("checkpointLocation", str(job.checkpoint)).start()


def serve(folder: Path) -> int:
    """Run the jobs that come into the folder; return the exit code."""
    for number in count():
        job, error = folder / f"job-{number}", ""
        while not job.exists():
            if (folder / "last").exists():
                return 0
            time.sleep(0.005)
        try:
            run(pickle.loads(job.read_bytes()), folder / f"ready-{number}")  # noqa: S301 - written by Driver
        except (PySparkException, ForeachOnceError) as failed:
            error = str(failed)
            traceback.print_exc()
        half = folder / "result"
        half.write_text(error)
        half.rename(folder / f"result-{number}")
        if error and (folder / "last").exists():
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(serve(Path(sys.argv[1])))
