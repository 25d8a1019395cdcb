from __future__ import annotations

import os
import socket
import sys
from contextlib import suppress

import pytest

from foreachonce.spark import quickack


@pytest.fixture
def pair():
    """Two ends of a TCP connection."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as one:
        other, _ = server.accept()
        with other:
            yield one, other


def test_batches_come_as_they_are():
    assert list(quickack.acknowledged(iter("abc"))) == ["a", "b", "c"]


def duplicates(connection: socket.socket) -> int:
    """How many descriptors of this process are the connection; other threads open and close others meanwhile."""
    found = 0
    for descriptor in map(int, os.listdir("/proc/self/fd")):
        with suppress(OSError):
            found += os.path.sameopenfile(descriptor, connection.fileno())
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has it")
def test_a_connection_is_found_and_stays_open(pair):
    rows = quickack.acknowledged(iter("ab"))
    assert next(rows) == "a"
    assert [duplicates(end) for end in pair] == [2, 2]
    found = quickack._tcp_sockets()
    assert {end.getsockname() for end in pair} <= {each.getsockname() for each in found}
    for each in found:
        each.close()
    assert list(rows) == ["b"]
    assert [duplicates(end) for end in pair] == [1, 1]
    pair[0].sendall(b"x")
    assert pair[1].recv(1) == b"x"


def test_elsewhere_nothing_is_done(monkeypatch, tmp_path):
    monkeypatch.setattr(quickack, "DESCRIPTORS", tmp_path / "none")
    assert quickack._tcp_sockets() == []
