"""Named points where a test can hurt a writer. Off unless the environment says so: then one dictionary look-up a point.

``FOREACHONCE_FAULTS`` names a folder. A file ``<point>`` in it arms a point, and its text says what happens to the process
that comes there first:

- ``stop``: it stands still, as if paused, until ``<point>.met`` (which holds its process id) is removed, or it is killed;
- ``kill``: it gets SIGKILL;
- ``raise``: an error is raised that is none of this library's;
- ``lose``: the connection is lost, as far as the process can tell.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Literal, NoReturn

from foreachonce.errors import CommitInDoubt

Point = Literal[
    "epoch-resolved",
    "head-read",
    "stream-taken",
    "fence-begun",
    "fenced",
    "transaction-begun",
    "rows-half",
    "part-staged",
    "rows-staged",
    "intent-written",
    "function-called",
    "rows-written",
    "entry-written",
    "commit-begun",
    "committed",
    "entry-copied",
    "function-done",
    "checkpoint-written",
    "repair-appended",
    "checkpoint-aside",
    "checkpoint-mended",
]
Action = Literal["stop", "kill", "raise", "lose"]

VARIABLE = "FOREACHONCE_FAULTS"


class InjectedFault(Exception):
    """What an armed point raises."""


def fault(point: Point) -> None:
    """Do here what a test has asked for, if any."""
    folder = os.environ.get(VARIABLE)
    if folder:
        _meet(point, Path(folder))


def _meet(point: Point, folder: Path) -> None:
    armed, met = folder / point, folder / f"{point}.met"
    try:
        action = armed.read_text()
        # Only one process can take the file away, and only once.
        armed.rename(folder / f"{point}.taken")
    except FileNotFoundError:
        return
    met.write_text(str(os.getpid()))
    if action == "stop":
        while met.exists():
            time.sleep(0.01)
    else:
        _hurt(point, action)


def _hurt(point: Point, action: str) -> NoReturn:
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if action == "lose":
        raise CommitInDoubt(f"the connection was lost at {point}")
    raise InjectedFault(f"a test asked for an error at {point}")
