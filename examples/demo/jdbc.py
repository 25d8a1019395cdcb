"""What Spark's own JDBC writer needs: a driver's jar, and the address in its form."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from sqlalchemy.engine import make_url

PACKAGES = {"postgres": "org.postgresql:postgresql:42.7.7", "sqlite": "org.xerial:sqlite-jdbc:3.50.3.0"}
IVY = Path(sys.prefix, "ivy")

# Runs in a process of its own, once: the drivers start faster with a jar than with a package to resolve.
_FETCH = """
import sys
from pyspark.sql import SparkSession
builder = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false")
builder.config("spark.jars.packages", sys.argv[1]).config("spark.jars.ivy", sys.argv[2]).getOrCreate()
"""


def options(url: str) -> dict[str, str]:
    """A database's address as options of ``format("jdbc")``."""
    parts = make_url(url)
    if parts.get_backend_name() == "sqlite":
        # SQLite has one writer at a time: a task waits until the one before has committed.
        return {"url": f"jdbc:sqlite:{parts.database}?busy_timeout=60000", "driver": "org.sqlite.JDBC"}
    return {
        "url": f"jdbc:postgresql://{parts.host}:{parts.port or 5432}/{parts.database}",
        "driver": "org.postgresql.Driver",
        "user": parts.username or "",
        "password": parts.password or "",
    }


def driver_jar(sink: str) -> Path:
    """The database's JDBC driver; Spark fetches it from Maven Central where it is not there yet."""
    group, artifact, version = PACKAGES[sink].split(":")
    jar = IVY / "jars" / f"{group}_{artifact}-{version}.jar"
    if not jar.exists():
        fetch = [sys.executable, "-c", _FETCH, PACKAGES[sink], str(IVY)]
        done = subprocess.run(fetch, capture_output=True, text=True, check=False)
        if not jar.exists():
            sys.exit(f"{done.stderr[-5000:]}\nSpark could not fetch the JDBC driver {PACKAGES[sink]}; its words are above.")
    return jar
