"""What Spark reads and writes with: jars of JDBC drivers, of Delta and of Kafka's source, and addresses in JDBC's form."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pyspark

from foreachonce.sql.url import parse_url
from tests.servers import delta, files
from tests.servers.alone import alone

# By the address's name. MySQL's driver speaks to MariaDB too; MariaDB's own is not one that Spark has a dialect for.
PACKAGES = {"postgresql": "org.postgresql:postgresql:42.7.7", "mysql": "com.mysql:mysql-connector-j:9.4.0"}
DRIVERS = {"postgresql": "org.postgresql.Driver", "mysql": "com.mysql.cj.jdbc.Driver"}
IVY = Path(sys.prefix, "ivy")
_SCALA = "2.12" if pyspark.__version__.startswith("3.") else "2.13"
KAFKA = f"org.apache.spark:spark-sql-kafka-0-10_{_SCALA}:{pyspark.__version__}"

# Runs in a process of its own, once: a session starts faster with a jar than with a package to resolve.
_FETCH = """
import sys
from pyspark.sql import SparkSession
builder = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false")
builder.config("spark.jars.packages", sys.argv[1]).config("spark.jars.ivy", sys.argv[2]).getOrCreate()
"""


class NoDriver(Exception):
    """Spark could not fetch a driver from Maven Central."""


def offer_drivers(settings: Mapping[str, str] = delta.SETTINGS) -> None:
    """Give the drivers, Delta and Kafka to every session that this process and its children start from now on.

    Args:
        settings: what those sessions are set to, besides their classes.

    Raises:
        NoDriver: one is not there, and could not be fetched.
    """
    path = class_path()
    words = " ".join(
        f"--conf {name}={value}"
        for name, value in {**settings, "spark.driver.extraClassPath": path, "spark.executor.extraClassPath": path}.items()
    )
    os.environ["PYSPARK_SUBMIT_ARGS"] = f"{words} pyspark-shell"


@cache
def class_path() -> str:
    """The jars of the drivers, of Delta and of Kafka, as Java takes them.

    Raises:
        NoDriver: one is not there, and could not be fetched.
    """
    found = [*jars(files.PACKAGE, *PACKAGES.values(), *delta.PACKAGES), *with_all_they_need(KAFKA)]
    # Spark would copy what --jars names at each session's first task, and Java's archive holds the class path only.
    return ":".join(str(jar) for jar in found if not _is_sparks(jar))


def _is_sparks(jar: Path) -> bool:
    """Whether Spark brings the same file itself, whose name then lacks the group."""
    return Path(pyspark.__file__).with_name("jars").joinpath(jar.name.partition("_")[2]).exists()


def jars(*packages: str) -> list[Path]:
    """The jars of Maven's ``packages`` themselves; Spark fetches them where one is not there yet.

    Raises:
        NoDriver: it could not.
    """
    found = [IVY / "jars" / "{}_{}-{}.jar".format(*package.split(":")) for package in packages]
    IVY.mkdir(exist_ok=True)
    with alone(IVY / "lock"):
        if not all(jar.exists() for jar in found):
            words = fetch(",".join(packages), IVY)
            if not all(jar.exists() for jar in found):
                raise NoDriver(f"Spark could not fetch the JDBC drivers {', '.join(packages)}: {words[-5000:]}")
    return found


def with_all_they_need(package: str) -> list[Path]:
    """The jars of one of Maven's packages, and of what it needs.

    Raises:
        NoDriver: Spark could not fetch it.
    """
    home = Path(sys.prefix, package.split(":")[1])
    home.mkdir(exist_ok=True)
    with alone(home / "lock"):
        done = home / package.replace(":", "_")
        if not done.exists():
            words = fetch(package, home)
            if not (home / "jars" / "{}_{}-{}.jar".format(*package.split(":"))).exists():
                raise NoDriver(f"Spark could not fetch {package}: {words[-5000:]}")
            done.touch()
    return sorted((home / "jars").glob("*.jar"))


def fetch(packages: str, folder: Path) -> str:
    """Let Spark fetch Maven's packages, and all that they need, into ``jars`` of a folder; return what it said."""
    command = [sys.executable, "-c", _FETCH, packages, str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stderr


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
