"""Named points where a test can stop a writer. Off unless the environment says so: then one dictionary look-up a point.

``FOREACHONCE_FAULT=<point>:<folder>`` makes the process that reaches the point write ``<folder>/<point>`` and stand
still, so that a test can kill whatever it wants to, or let the process go on by removing that file.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Literal

Point = Literal[
    "epoch-resolved",
    "head-read",
    "rows-half",
    "rows-written",
    "entry-written",
    "committed",
    "rows-staged",
    "function-done",
]

VARIABLE = "FOREACHONCE_FAULT"


def fault(point: Point) -> None:
    """Stand still here if a test asked for it."""
    armed = os.environ.get(VARIABLE)
    if armed:
        _stand_still(point, *armed.split(":", 1))


def _stand_still(point: Point, wanted: str, folder: str) -> None:
    marker = Path(folder, point)
    # A point stops the first that comes by: the file is made once, and a restarted driver goes on.
    if point != wanted or Path(folder, f"{point}.done").exists():
        return
    Path(folder, f"{point}.done").touch()
    marker.write_text(str(os.getpid()))
    while marker.exists():
        time.sleep(0.01)
