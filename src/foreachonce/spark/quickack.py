"""A Spark worker acknowledges rows as soon as it has read them, which spares each task 40 ms.

Spark writes a frame's end in a few bytes of their own. TCP keeps a small write back until what was sent before is
acknowledged (Nagle's algorithm), and Linux delays that by 40 ms where the reader has nothing to say, as a task that still
waits for rows. Spark has no setting for it. Source: tcp(7), TCP_QUICKACK, which holds for a moment only; the measurement is
in docs/decisions/0009-small-batches.md.
"""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

DESCRIPTORS = Path("/proc/self/fd")


def acknowledged(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The batches as they come; elsewhere than on Linux nothing is done beside."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(each) for each in _tcp_sockets()]
        for batch in batches:
            for each in sockets:
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            yield batch


def _tcp_sockets() -> list[socket.socket]:
    """This process's TCP connections: one of them is Spark's, and the others take no harm."""
    if not hasattr(socket, "TCP_QUICKACK") or not DESCRIPTORS.exists():
        return []
    found = (_tcp_socket(int(entry.name)) for entry in list(DESCRIPTORS.iterdir()))
    return [each for each in found if each is not None]


def _tcp_socket(descriptor: int) -> socket.socket | None:
    try:
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            return None
        # A duplicate can be closed without harm to the connection.
        each = socket.socket(fileno=os.dup(descriptor))
    except OSError:
        return None  # closed meanwhile
    if each.type == socket.SOCK_STREAM and each.family in (socket.AF_INET, socket.AF_INET6):
        return each
    each.close()
    return None
