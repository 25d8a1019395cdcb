"""A real MariaDB, from the first place that has one.

In this order: the address in ``FOREACHONCE_MARIADB_URL``, which may be a MySQL's; Docker, through testcontainers; server
binaries on this machine.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import sqlalchemy as sa

from foreachonce.sql.url import parse_url
from tests.servers.server import free_port, has_docker, server_user

VARIABLE = "FOREACHONCE_MARIADB_URL"
PASSWORD = "for-tests-only"
# A named server's files need not outlive a power cut.
SETTINGS = (
    "--max-connections=200",
    "--innodb-buffer-pool-size=256M",
    "--innodb-flush-log-at-trx-commit=2",
    "--character-set-server=utf8mb4",
    "--skip-name-resolve",
    # Where nobody can end the session that holds a lock, a test waits for this to pass; it is 50 seconds by default.
    "--innodb-lock-wait-timeout=10",
)
# For a server whose data nobody needs after a power cut.
FAST = ("--innodb-flush-log-at-trx-commit=0", "--skip-innodb-doublewrite", "--innodb-flush-method=nosync")
START_SECONDS = 60
_ELSEWHERE = ("/usr/sbin", "/usr/libexec", "/usr/local/sbin", "/opt/homebrew/bin", "/usr/local/bin")


class NoMariaDb(Exception):
    """No MariaDB can be had here; the message says what was tried."""


@contextmanager
def mariadb(*settings: str) -> Iterator[str]:
    """Yield the address of a superuser's database on a MariaDB that is there, or is started and stopped again.

    Args:
        settings: more arguments for one that is started from this machine's binaries.

    Raises:
        NoMariaDb: none can be had, with what was tried.
    """
    given = os.environ.get(VARIABLE)
    server, installer = _program("mariadbd", "mysqld"), _program("mariadb-install-db", "mysql_install_db")
    if given:
        yield given
    elif has_docker():
        with _container() as url:
            yield url
    elif server is not None and installer is not None:
        with _server(server, installer, (*SETTINGS, *settings)) as url:
            yield url
    else:
        raise NoMariaDb(
            f"no MariaDB: {VARIABLE} is not set, no Docker engine answers, and mariadbd and mariadb-install-db are not on "
            "this machine. Any one of them will do; tools/mariadb.sh installs the last."
        )


@contextmanager
def database(admin: str) -> Iterator[str]:
    """Yield the address of a new, empty database on the server of ``admin``; it is dropped afterwards."""
    url = parse_url(admin)
    name = f"foreachonce_{uuid4().hex[:12]}"
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
    try:
        yield url.set(drivername="mysql", database=name).render_as_string(hide_password=False)
    finally:
        with engine.connect() as connection:
            _end_sessions(connection, name)
            connection.exec_driver_sql(f"DROP DATABASE IF EXISTS {name}")


def _end_sessions(connection: sa.Connection, name: str) -> None:
    """A driver that stands still would keep the database from being dropped."""
    sessions = sa.text("select id from information_schema.processlist where db = :name and id <> connection_id()")
    for session in list(connection.execute(sessions, {"name": name}).scalars()):
        try:
            connection.exec_driver_sql(f"KILL CONNECTION {session}")
        except sa.exc.DBAPIError:
            continue  # it has ended by itself


@contextmanager
def _container() -> Iterator[str]:
    from testcontainers.mysql import MySqlContainer

    container = MySqlContainer("mariadb:10.11", username="root", root_password=PASSWORD, password=PASSWORD, dbname="admin")
    with container.with_command(" ".join(SETTINGS)):
        host, port = container.get_container_host_ip(), container.get_exposed_port(3306)
        yield f"mysql://root:{PASSWORD}@{host}:{port}/admin"


def _program(*names: str) -> str | None:
    """Servers are often not on the path."""
    places = os.pathsep.join([os.environ.get("PATH", ""), *_ELSEWHERE])
    return next((found for name in names if (found := shutil.which(name, path=places))), None)


@contextmanager
def _server(server: str, installer: str, settings: tuple[str, ...]) -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="foreachonce-mariadb-", ignore_cleanup_errors=True) as folder:
        home, user, port = Path(folder), server_user("mysql"), free_port()
        as_user = [] if user is None else [f"--user={user}"]
        if user is not None:
            shutil.chown(home, user)
        _install(installer, home, as_user)
        (home / "init.sql").write_text(
            f"CREATE OR REPLACE USER root@'127.0.0.1' IDENTIFIED BY '{PASSWORD}';\n"
            "GRANT ALL ON *.* TO root@'127.0.0.1' WITH GRANT OPTION;\nCREATE DATABASE admin;\n"
        )
        places = [f"--datadir={home / 'data'}", f"--socket={home / 'socket'}", f"--pid-file={home / 'pid'}"]
        net = [f"--port={port}", "--bind-address=127.0.0.1", f"--init-file={home / 'init.sql'}"]
        with (home / "log").open("wb") as log:
            process = subprocess.Popen(
                [server, "--no-defaults", *as_user, *places, *net, *settings], cwd="/", stdout=log, stderr=log
            )
        try:
            url = f"mysql://root:{PASSWORD}@127.0.0.1:{port}/admin"
            _wait(url, process, home / "log")
            yield url
        finally:
            process.kill()
            process.wait()


def _install(installer: str, home: Path, as_user: list[str]) -> None:
    done = subprocess.run(
        [installer, "--no-defaults", f"--datadir={home / 'data'}", "--skip-test-db", *as_user],
        cwd="/", capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise NoMariaDb(f"mariadb-install-db failed ({done.returncode}): {done.stdout.strip()} {done.stderr.strip()}")


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    engine = sa.create_engine(parse_url(url), poolclass=sa.NullPool)
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            engine.connect().close()
        except sa.exc.DBAPIError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise NoMariaDb(f"mariadbd did not start: {log.read_text()[-2000:]}") from None
            time.sleep(0.1)
        else:
            return
