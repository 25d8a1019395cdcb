"""Classes that load fast: most of a driver's start is Java reading Spark's classes, and an archive of them halves it.

The archive (some 170 MB) is written once, into the virtual environment; a Java that did not write it passes over it.
Source: "Class Data Sharing" in the Java 17 documentation, ``-XX:ArchiveClassesAtExit``.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from functools import cache
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from zlib import crc32

from foreachonce import DeltaSink, JdbcSink
from foreachonce.testing.driver import Job, environment
from foreachonce.testing.spark import JAVA
from foreachonce.testing.stream import FileStream
from tests.servers import delta, files
from tests.servers.alone import alone
from tests.servers.jdbc import class_path, offer_drivers

QUIET = "-Xlog:cds=off -Xlog:cds+dynamic=off"


def offer_all() -> None:
    """Give the drivers, a local file system that starts no processes and the archive to sessions from now on.

    Raises:
        NoDriver: a jar is not there, and could not be fetched.
    """
    offer_drivers({**delta.SETTINGS, **files.SETTINGS})
    os.environ.setdefault("SPARK_SUBMIT_OPTS", f"{JAVA} {QUIET} -XX:SharedArchiveFile={class_archive()}")


@cache
def class_archive() -> Path:
    """The archive's path; where there is none, a driver is run for Java to write it at its end."""
    # Java takes an archive only for the class path that it was written for.
    archive = Path(sys.prefix, f"foreachonce-spark-{version('pyspark')}-{crc32(class_path().encode()):08x}.jsa")
    with alone(archive.with_suffix(".lock")):
        if not archive.exists():
            with TemporaryDirectory(prefix="foreachonce-archive-", ignore_cleanup_errors=True) as folder:
                _write(archive, Path(folder))
    return archive


def _write(archive: Path, folder: Path) -> None:
    stream = FileStream(None, folder)
    stream.feed([1], [2])
    jobs = [
        Job(JdbcSink(f"sqlite:///{folder}/sink.db", table="events", stream="s"), stream.source, folder / "checkpoint-0"),
        Job(DeltaSink(f"{folder}/table", stream="s"), stream.source, folder / "checkpoint-1"),
    ]
    for number, job in enumerate(jobs):
        (folder / f"job-{number}").write_bytes(pickle.dumps([job]))
    (folder / "last").touch()
    fresh = folder / "fresh.jsa"
    command = [sys.executable, "-m", "foreachonce.testing.driver", str(folder)]
    variables = environment(folder)
    variables["SPARK_SUBMIT_OPTS"] += f" {QUIET} -XX:ArchiveClassesAtExit={fresh}"
    # The output ends when Java has ended too, with the archive written.
    subprocess.run(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if fresh.exists():
        half = archive.with_suffix(".new")
        half.write_bytes(fresh.read_bytes())
        half.replace(archive)
