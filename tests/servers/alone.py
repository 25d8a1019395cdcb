"""What test processes make once and share: of two that start at once, one makes it and the other waits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import LOCK_EX, flock
from pathlib import Path


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Hold the lock file until the block ends."""
    with lock.open("w") as file:
        flock(file, LOCK_EX)
        yield
