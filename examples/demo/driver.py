"""A driver in a process of its own, which can be killed whole and started again."""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress
from pathlib import Path

import psutil
from checkpoint import Checkpoint


class DriverError(Exception):
    """The driver has ended by itself, with an error."""


class Driver:
    """One side's streaming job. Use it as a context: nothing of it is left at the end."""

    def __init__(self, command: list[str], environment: dict[str, str], checkpoint: Checkpoint, log: Path) -> None:
        self.checkpoint = checkpoint
        self._command, self._environment, self._log = command, environment, log
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Driver:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start it, with the checkpoint that is there."""
        self.checkpoint.expect_slow()
        with self._log.open("wb") as log:
            # A session of its own is what tells its processes from all others: Spark's Python workers leave its group.
            self._process = subprocess.Popen(
                self._command, env=self._environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )

    def is_running(self) -> bool:
        """Whether it is still at work; False where it has written everything."""
        code = self._process.poll() if self._process else 0
        if code:
            raise DriverError(f"a driver has failed ({code}):\n{self._log.read_text(errors='replace')[-5000:]}")
        return code is None

    def kill(self) -> None:
        """SIGKILL it: Python, its Java, and that one's Python workers, all at once."""
        while members := self._members():
            for member in members:
                with suppress(psutil.NoSuchProcess):
                    member.kill()
            psutil.wait_procs(members, timeout=1)

    def _members(self) -> list[psutil.Process]:
        return [process for process in psutil.process_iter() if self._process and _is_of(self._process.pid, process)]


def _is_of(session: int, process: psutil.Process) -> bool:
    try:
        return os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE
    except (OSError, psutil.Error):
        return False
