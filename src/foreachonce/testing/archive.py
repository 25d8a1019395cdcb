"""Classes that load fast: most of a driver's start is Java reading Spark's classes, and an archive of them halves it.

The archive (some 170 MB) is written once, into the virtual environment; a Java that did not write it passes over it.
Source: "Class Data Sharing" in the Java 17 documentation, ``-XX:ArchiveClassesAtExit``.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from zlib import crc32

from foreachonce.testing.alone import alone
from foreachonce.testing.jdbc import NoDriver, offer_drivers

CONNECT = {"SPARK_REMOTE", "SPARK_LOCAL_REMOTE", "SPARK_CONNECT_MODE_ENABLED", "SPARK_API_MODE", "SPARK_CONNECT_MODE"}
JAVA = "-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:-UsePerfData -Xlog:cds=off -Xlog:cds+dynamic=off"


def environment(scratch: Path, archive: str | None = None) -> dict[str, str]:
    """The environment of a driver that lives for seconds; its scratch files go where they are removed with it."""
    with suppress(NoDriver):
        offer_drivers()
    options = java_options() if archive is None else f"{JAVA} {archive}"
    # A driver is a classic one, also where the tests themselves run on Spark Connect.
    inherited = {name: value for name, value in os.environ.items() if name not in CONNECT}
    return {
        **inherited,
        "SPARK_LOCAL_DIRS": str(scratch),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_LAUNCHER_OPTS": JAVA,
        "SPARK_SUBMIT_OPTS": f"{options} -Djava.io.tmpdir={scratch}",
    }


def java_options() -> str:
    """Java's options for a session that is offered what it is now; it starts with the archive, and does not live long."""
    return f"{JAVA} -XX:SharedArchiveFile={class_archive()}"


@cache
def class_archive() -> Path:
    """The archive's path; where there is none, a driver is run for Java to write it at its end."""
    # Java takes an archive only for the class path that it was written for.
    path = crc32(os.environ.get("PYSPARK_SUBMIT_ARGS", "").encode())
    archive = Path(sys.prefix, f"foreachonce-spark-{version('pyspark')}-{path:08x}.jsa")
    with alone(archive.with_suffix(".lock")):
        if not archive.exists():
            with TemporaryDirectory(prefix="foreachonce-archive-", ignore_cleanup_errors=True) as folder:
                _write(archive, Path(folder))
    return archive


def _write(archive: Path, folder: Path) -> None:
    from foreachonce import DeltaSink, JdbcSink
    from foreachonce.testing.driver import Job
    from foreachonce.testing.stream import FileStream

    stream = FileStream(None, folder)
    stream.feed([1], [2])
    jobs = [
        Job(JdbcSink(f"sqlite:///{folder}/sink.db", table="events", stream="s"), stream.source, folder / "checkpoint-0"),
        Job(DeltaSink(f"{folder}/table", stream="s"), stream.source, folder / "checkpoint-1"),
    ]
    for number, job in enumerate(jobs):
        (folder / f"job-{number}").write_bytes(pickle.dumps(job))
    (folder / "last").touch()
    fresh = folder / "fresh.jsa"
    command = [sys.executable, "-m", "foreachonce.testing.driver", str(folder)]
    variables = environment(folder, f"-XX:ArchiveClassesAtExit={fresh}")
    # The output ends when Java has ended too, with the archive written.
    subprocess.run(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)  # noqa: S603
    if fresh.exists():
        half = archive.with_suffix(".new")
        half.write_bytes(fresh.read_bytes())
        half.replace(archive)
