"""A real driver in a process of its own, to be stopped at a named point and killed.

``python -m foreachonce.testing.driver JOB`` is the driver; :class:`Driver` starts it and kills it.
"""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Literal

import psutil

from foreachonce.faults import VARIABLE, Point
from foreachonce.testing.archive import environment
from foreachonce.testing.spark import session
from foreachonce.testing.stream import BatchFunction, open_stream

Victim = Literal["python", "jvm", "all", "executors"]
PATIENCE = 300


@dataclass(frozen=True, slots=True)
class Job:
    """What a driver runs: every batch that is in ``source``, through ``function``, then it ends.

    Args:
        function: a foreachBatch function that pickles, such as a sink.
        source, checkpoint: folders.
        limit: files a batch.
        master: Spark's master.
        gate: a file to wait for before the query starts, so that two drivers start at the same moment.
        settings: Spark settings, with ``_`` for each dot of their names.
    """

    function: BatchFunction
    source: Path
    checkpoint: Path
    limit: int = 1
    master: str = "local[2]"
    gate: Path | None = None
    settings: dict[str, str] = field(default_factory=dict)


class Driver:
    """A driver process. Use it as a context: whatever is left of it is killed at the end.

    Args:
        job: what it runs.
        fault: the point at which it stands still, if any.
    """

    def __init__(self, job: Job, fault: Point | None = None) -> None:
        self._folder = Path(mkdtemp(prefix="foreachonce-driver-"))
        self._fault = fault
        (self._folder / "job").write_bytes(pickle.dumps(job))
        self._log = (self._folder / "log").open("wb")
        variables = environment(self._folder)
        if fault:
            variables[VARIABLE] = f"{fault}:{self._folder}"
        self._process = subprocess.Popen(  # noqa: S603 - our own arguments
            [sys.executable, "-m", "foreachonce.testing.driver", str(self._folder / "job")],
            stdout=self._log, stderr=subprocess.STDOUT, env=variables, start_new_session=True,
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
    def is_ready(self) -> bool:
        """Whether the driver's session is up; it then waits for its gate."""
        return (self._folder / "ready").exists()

    @property
    def is_running(self) -> bool:
        """Whether the driver's Python is alive."""
        return self._process.poll() is None

    def log(self) -> str:
        """What the driver has printed."""
        return (self._folder / "log").read_text(errors="replace")

    def wait(self) -> int:
        """Wait for the driver's end; return its exit code, 0 where every batch went through."""
        return self._process.wait(PATIENCE)

    def wait_until_ready(self) -> None:
        """Wait for the driver's session."""
        self._wait_for(lambda: self.is_ready, "has no session")

    def wait_at_point(self) -> int:
        """Wait until the driver, or a worker of it, stands at its point; return the process that does."""
        marker = self._folder / str(self._fault)
        self._wait_for(lambda: marker.exists() and bool(marker.read_text()), f"never came to {self._fault}")
        return int(marker.read_text())

    def go_on(self) -> None:
        """Let what stands at the point go on."""
        (self._folder / str(self._fault)).unlink()

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
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if not self.is_running or time.monotonic() > deadline:
                raise AssertionError(f"the driver {what} (exit code {self._process.poll()}):\n{self.log()[-6000:]}")
            time.sleep(0.005)


def _name(process: psutil.Process) -> str:
    try:
        return str(process.name())
    except psutil.NoSuchProcess:
        return ""


def run(job: Job, folder: Path) -> None:
    """Run a job in this process."""
    spark = session(job.master, **job.settings)
    frame = open_stream(spark, job.source, limit=job.limit)
    (folder / "ready").touch()
    while job.gate is not None and not job.gate.exists():
        time.sleep(0.002)
    writer = frame.writeStream.foreachBatch(job.function).option("checkpointLocation", str(job.checkpoint))
    writer.trigger(availableNow=True).start().awaitTermination()


if __name__ == "__main__":
    path = Path(sys.argv[1])
    run(pickle.loads(path.read_bytes()), path.parent)  # noqa: S301 - written by Driver
