"""JDBC drivers of PostgreSQL and MySQL for Spark's own writer: their jars, and addresses in their form."""

from __future__ import annotations

import os
import subprocess
import sys
from fcntl import LOCK_EX, flock
from pathlib import Path

from foreachonce.sql.url import parse_url

# By the address's name. MySQL's driver speaks to MariaDB too; MariaDB's own is not one that Spark has a dialect for.
PACKAGES = {"postgresql": "org.postgresql:postgresql:42.7.7", "mysql": "com.mysql:mysql-connector-j:9.4.0"}
DRIVERS = {"postgresql": "org.postgresql.Driver", "mysql": "com.mysql.cj.jdbc.Driver"}
IVY = Path(sys.prefix, "ivy")
JARS = [IVY / "jars" / f"{'_'.join(package.split(':')[:2])}-{package.split(':')[2]}.jar" for package in PACKAGES.values()]

# Runs in a process of its own, once: a session starts faster with a jar than with a package to resolve.
_FETCH = """
import sys
from pyspark.sql import SparkSession
builder = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false")
builder.config("spark.jars.packages", sys.argv[1]).config("spark.jars.ivy", sys.argv[2]).getOrCreate()
"""


class NoDriver(Exception):
    """Spark could not fetch a driver from Maven Central."""


def offer_drivers() -> None:
    """Give the drivers to every session that this process and its children start from now on.

    Raises:
        NoDriver: one is not there, and could not be fetched.
    """
    IVY.mkdir(exist_ok=True)
    with (IVY / "lock").open("w") as lock:
        # Of two test processes that start at once, one fetches them and the other waits.
        flock(lock, LOCK_EX)
        if not _are_there():
            _fetch()
    os.environ["PYSPARK_SUBMIT_ARGS"] = f"--jars {','.join(map(str, JARS))} pyspark-shell"


def _are_there() -> bool:
    return all(jar.exists() for jar in JARS)


def _fetch() -> None:
    packages = ",".join(PACKAGES.values())
    command = [sys.executable, "-c", _FETCH, packages, str(IVY)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own arguments
    if not _are_there():
        raise NoDriver(f"Spark could not fetch the JDBC drivers {packages}: {done.stderr[-2000:]}")


def options(url: str) -> dict[str, str]:
    """A PostgreSQL's or MariaDB's address as options of Spark's JDBC writer."""
    place = parse_url(url)
    name = place.get_backend_name()
    return {
        "url": f"jdbc:{name}://{place.host}{f':{place.port}' if place.port else ''}/{place.database}",
        "driver": DRIVERS[name],
        "user": place.username or "",
        "password": place.password or "",
    }
