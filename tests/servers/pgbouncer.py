"""A real PgBouncer before a PostgreSQL; ``tools/pgbouncer.sh`` gets it."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from foreachonce.polling import wait_until
from foreachonce.sql.url import parse_url
from tests.servers.server import free_port, server_user

START_SECONDS = 20
CONFIGURATION = """
[databases]
* = host={host} port={to} user={user} password={password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
default_pool_size = 4
logfile = {home}/log
"""


class NoPgBouncer(Exception):
    """No PgBouncer can be had here."""


@contextmanager
def pgbouncer(url: str, mode: Literal["transaction", "session"]) -> Iterator[str]:
    """Yield the address of a database through a PgBouncer that gives each transaction, or each session, a connection.

    Raises:
        NoPgBouncer: there is none.
    """
    program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin:/opt/homebrew/bin")
    if program is None:
        raise NoPgBouncer("no PgBouncer is on this machine: run tools/pgbouncer.sh, or sudo apt-get install pgbouncer")
    behind, port = parse_url(url), free_port()
    with tempfile.TemporaryDirectory(prefix="foreachonce-pgbouncer-") as folder:
        user, home = server_user("postgres"), Path(folder)
        settings = {"host": behind.host, "to": behind.port, "user": behind.username, "password": behind.password}
        (home / "ini").write_text(CONFIGURATION.format(port=port, mode=mode, home=home, **settings))
        if user is not None:
            for path in (home, home / "ini"):
                shutil.chown(path, user)
        with subprocess.Popen([program, "-q", home / "ini"], user=user, cwd="/") as process:
            try:
                assert wait_until(lambda: _listens(port), START_SECONDS), (home / "log").read_text()
                yield f"postgresql://app@127.0.0.1:{port}/{behind.database}"
            finally:
                process.terminate()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
