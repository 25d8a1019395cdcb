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

from foreachonce.testing.alone import alone

ARCHIVE = Path(sys.prefix, f"foreachonce-spark-{version('pyspark')}.jsa")
CONNECT = {"SPARK_REMOTE", "SPARK_LOCAL_REMOTE", "SPARK_CONNECT_MODE_ENABLED", "SPARK_API_MODE", "SPARK_CONNECT_MODE"}
JAVA = "-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:-UsePerfData -Xlog:cds=off -Xlog:cds+dynamic=off"


def environment(scratch: Path, archive: str | None = None) -> dict[str, str]:
    """The environment of a driver that lives for seconds; its scratch files go where they are removed with it."""
    archive = archive or f"-XX:SharedArchiveFile={class_archive()}"
    # A driver is a classic one, also where the tests themselves run on Spark Connect.
    inherited = {name: value for name, value in os.environ.items() if name not in CONNECT}
    return {
        **inherited,
        "SPARK_LOCAL_DIRS": str(scratch),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_LAUNCHER_OPTS": JAVA,
        "SPARK_SUBMIT_OPTS": f"{JAVA} -Djava.io.tmpdir={scratch} {archive}",
    }


@cache
def class_archive() -> Path:
    """The archive's path; where there is none, a driver is run for Java to write it at its end."""
    with alone(ARCHIVE.with_suffix(".lock")):
        if not ARCHIVE.exists():
            with TemporaryDirectory(prefix="foreachonce-archive-", ignore_cleanup_errors=True) as folder:
                _write(Path(folder))
    return ARCHIVE


def _write(folder: Path) -> None:
    from foreachonce import JdbcSink
    from foreachonce.testing.driver import Job
    from foreachonce.testing.stream import FileStream

    stream = FileStream(None, folder)
    stream.feed([1], [2])
    sink = JdbcSink(f"sqlite:///{folder}/sink.db", table="events", stream="s")
    (folder / "job-0").write_bytes(pickle.dumps(Job(sink, stream.source, stream.checkpoint)))
    (folder / "last").touch()
    fresh = folder / "fresh.jsa"
    command = [sys.executable, "-m", "foreachonce.testing.driver", str(folder)]
    variables = environment(folder, f"-XX:ArchiveClassesAtExit={fresh}")
    # The output ends when Java has ended too, with the archive written.
    subprocess.run(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)  # noqa: S603
    if fresh.exists():
        half = ARCHIVE.with_suffix(".new")
        half.write_bytes(fresh.read_bytes())
        half.replace(ARCHIVE)
