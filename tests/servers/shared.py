"""One server of a kind for all workers of a test run: the first worker that needs it starts it, and stops it at the end."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TextIO

from tests.servers.alone import alone


@contextmanager
def shared(name: str, folder: Path, server: Callable[[], AbstractContextManager[str]]) -> Iterator[str]:
    """Yield the address of the run's server of this name.

    Args:
        name: the kind of server.
        folder: where the workers leave each other the address.
        server: starts one, and stops it when its block ends.
    """
    lock, address = folder / f"{name}.lock", folder / f"{name}.address"
    # Each user holds the file's lock together with the others, so a worker that is killed is no user any more.
    with (folder / f"{name}.users").open("w") as users:
        with alone(lock):
            fcntl.flock(users, fcntl.LOCK_SH)
            if address.exists():
                started, url = None, address.read_text()
            else:
                started = server()
                url = started.__enter__()
                address.write_text(url)
        try:
            yield url
        finally:
            if started is not None:
                _wait_for_the_others(lock, address, users)
                started.__exit__(None, None, None)


def _wait_for_the_others(lock: Path, address: Path, users: TextIO) -> None:
    """Wait until no other worker uses the server; whoever comes later starts one."""
    while True:
        with alone(lock):
            try:
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pass
            else:
                address.unlink()
                return
        time.sleep(0.1)
