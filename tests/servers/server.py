"""What starting a server for the tests takes, whichever it is."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from contextlib import ExitStack


def has_docker() -> bool:
    """Whether a Docker engine answers."""
    docker = shutil.which("docker")
    if docker is None:
        return False
    return subprocess.run([docker, "info"], capture_output=True, check=False).returncode == 0


def server_user(packaged: str) -> str | None:
    """Database servers do not run as root: then as the user that their packages make, or as nobody."""
    import pwd

    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return packaged if packaged in names else "nobody"


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """So many of them; one that was given back at once might come again."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
