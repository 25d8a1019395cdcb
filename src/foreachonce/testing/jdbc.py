"""The JDBC driver of PostgreSQL for Spark's own writer: its jar, and the address in its form."""

from __future__ import annotations

import os
import subprocess
import sys
from fcntl import LOCK_EX, flock
from pathlib import Path

from foreachonce.sql.url import parse_url

PACKAGE = "org.postgresql:postgresql:42.7.7"
IVY = Path(sys.prefix, "ivy")
JAR = IVY / "jars" / "org.postgresql_postgresql-42.7.7.jar"

# Runs in a process of its own, once: a session starts faster with a jar than with a package to resolve.
_FETCH = """
import sys
from pyspark.sql import SparkSession
builder = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false")
builder.config("spark.jars.packages", sys.argv[1]).config("spark.jars.ivy", sys.argv[2]).getOrCreate()
"""


class NoDriver(Exception):
    """Spark could not fetch the driver from Maven Central."""


def offer_driver() -> None:
    """Give the driver to every session that this process and its children start from now on.

    Raises:
        NoDriver: it is not there, and could not be fetched.
    """
    IVY.mkdir(exist_ok=True)
    with (IVY / "lock").open("w") as lock:
        # Of two test processes that start at once, one fetches it and the other waits.
        flock(lock, LOCK_EX)
        if not JAR.exists():
            _fetch()
    os.environ["PYSPARK_SUBMIT_ARGS"] = f"--jars {JAR} pyspark-shell"


def _fetch() -> None:
    command = [sys.executable, "-c", _FETCH, PACKAGE, str(IVY)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own arguments
    if not JAR.exists():
        raise NoDriver(f"Spark could not fetch the JDBC driver {PACKAGE}: {done.stderr[-2000:]}")


def options(url: str) -> dict[str, str]:
    """A PostgreSQL's address as options of Spark's JDBC writer."""
    place = parse_url(url)
    return {
        "url": f"jdbc:postgresql://{place.host}:{place.port or 5432}/{place.database}",
        "driver": "org.postgresql.Driver",
        "user": place.username or "",
        "password": place.password or "",
    }
