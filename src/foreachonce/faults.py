"""Named points where a test can hurt a writer. They cost one dictionary look-up each, unless the environment arms them.

``FOREACHONCE_FAULTS`` names a folder. A file ``<point>`` in it arms a point. Its text is what happens to the process that
comes there first; with ``hold``, to each that comes:

- ``stop``: it stands still, as if paused, until ``<point>.met`` (which holds its process id) is removed, or it is killed;
- ``hold``: it stands still, with a file ``<point>.met-…`` of its own, until ``<point>`` is removed, or it is killed;
- ``kill``: it gets SIGKILL;
- ``raise``: an error is raised that is none of this library's;
- ``lose``: the connection is lost, as far as the process can tell.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from threading import get_ident
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
Action = Literal["stop", "hold", "kill", "raise", "lose"]

VARIABLE = "FOREACHONCE_FAULTS"


class InjectedFault(Exception):
    """What an armed point raises."""


def fault(point: Point) -> None:
    """Do here what a test has armed, if anything."""
    folder = os.environ.get(VARIABLE)
    if folder:
        _meet(point, Path(folder))


def _meet(point: Point, folder: Path) -> None:
    armed, met = folder / point, folder / f"{point}.met"
    try:
        action = armed.read_text()
        if action == "hold":
            _hold(armed)
            return
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


def _hold(armed: Path) -> None:
    armed.with_name(f"{armed.name}.met-{os.getpid()}-{get_ident()}").touch()
    while armed.exists():
        time.sleep(0.01)


def _hurt(point: Point, action: str) -> NoReturn:
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if action == "lose":
        raise CommitInDoubt(f"the connection was lost at {point}")
    raise InjectedFault(f"a test asked for an error at {point}")
