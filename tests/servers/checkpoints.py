"""Checkpoints that Spark has written, of its versions from 2.1 on: those of its own tests, in jars that are fetched once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import ZipFile

import pyspark

from tests.servers.alone import alone

VERSION = "4.2.0"
PACKAGES = ("spark-sql_2.13", "spark-sql-kafka-0-10_2.13")
HOME = Path(sys.prefix, f"spark-tests-{VERSION}")
FOLDER = "structured-streaming/"
# spark.jars.packages takes no classifier, so the Ivy that Spark brings is asked itself.
_WANTED = """<ivy-module version="2.0" xmlns:m="http://ant.apache.org/ivy/maven">
  <info organisation="foreachonce" module="spark-tests"/>
  <dependencies>{}</dependencies>
</ivy-module>
"""
_PACKAGE = """
    <dependency org="org.apache.spark" name="{name}" rev="{version}" transitive="false">
      <artifact name="{name}" type="jar" m:classifier="tests"/>
    </dependency>"""


class NoCheckpoints(Exception):
    """The jars of Spark's tests could not be fetched from Maven Central."""


def spark_checkpoints() -> dict[str, bytes]:
    """The content of every file of a checkpoint, or a part of one, in the tests of Spark and of its Kafka source, by path.

    Raises:
        NoCheckpoints: they are not there, and could not be fetched.
    """
    found: dict[str, bytes] = {}
    for jar in jars():
        with ZipFile(jar) as archive:
            names = [name for name in archive.namelist() if name.startswith(FOLDER) and not name.endswith("/")]
            found |= {name.removeprefix(FOLDER): archive.read(name) for name in names}
    return found


def jars() -> list[Path]:
    """The jars; Ivy fetches them where they are not there yet.

    Raises:
        NoCheckpoints: it could not.
    """
    HOME.mkdir(exist_ok=True)
    found = [HOME / f"{package}-{VERSION}-tests.jar" for package in PACKAGES]
    with alone(HOME / "lock"):
        if not all(jar.exists() for jar in found):
            words = _fetch()
            if not all(jar.exists() for jar in found):
                raise NoCheckpoints(f"Ivy could not fetch the jars of Spark's tests {', '.join(PACKAGES)}: {words[-5000:]}")
    return found


def _fetch() -> str:
    (ivy,) = Path(pyspark.__file__).parent.glob("jars/ivy-*.jar")
    with TemporaryDirectory(prefix="foreachonce-ivy-") as folder:
        wanted = Path(folder, "ivy.xml")
        wanted.write_text(_WANTED.format("".join(_PACKAGE.format(name=name, version=VERSION) for name in PACKAGES)))
        places = ["-cache", folder, "-retrieve", f"{HOME}/[artifact]-[revision]-[classifier].[ext]"]
        command = ["java", "-cp", str(ivy), "org.apache.ivy.Main", "-ivy", str(wanted), *places]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr
