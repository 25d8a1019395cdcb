"""What else the machine does: figures of a busy machine say little, and are not kept."""

from __future__ import annotations

import os
import time
from pathlib import Path

STAT = Path("/proc/stat")
# How long one look takes, in seconds, and from what share of all cores on a machine counts as busy.
LOOK, BUSY = 0.3, 0.15


def others() -> float:
    """The share of the cores, 0 to 1, that is used while this process and its children have nothing to do."""
    if not STAT.exists():  # macOS
        return min(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
    before = _times()
    time.sleep(LOOK)
    used, total = (after - earlier for after, earlier in zip(_times(), before, strict=True))
    return used / total if total else 0.0


def _times() -> tuple[int, int]:
    """Ticks that were used, a hypervisor's for other machines too, and all."""
    user, nice, system, idle, waiting, *rest = map(int, STAT.read_text().split("\n", 1)[0].split()[1:9])
    return user + nice + system + sum(rest), user + nice + system + idle + waiting + sum(rest)
