"""Waiting for a condition that only asking again can show."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait_until(condition: Callable[[], bool], seconds: float, *, pause: float = 0.05) -> bool:
    """Wait until a condition holds, and return True; return False if it does not within the given time.

    Args:
        condition: is called at least once, whatever the time.
        seconds: after how long to give up.
        pause: how many seconds to wait between two calls.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)
    return True
