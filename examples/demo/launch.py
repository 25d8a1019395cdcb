"""How a driver is launched: its command and environment, the same for both sides, and classes that load fast."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

from jdbc import driver_jar
from job import FILES_A_BATCH

import flights
from foreachonce.testing.jdbc import IVY

# The demo starts a dozen drivers, and most of a start is Java reading Spark's classes: they are kept in an archive that
# is mapped into memory. A Java that did not write it passes over it.
ARCHIVE = IVY / f"spark-{version('pyspark')}.jsa"
JAVA = "-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:-UsePerfData"


def command(side: str, sink: str, source: Path, checkpoint: Path) -> list[str]:
    """The driver's command line."""
    job = Path(__file__).with_name("job.py")
    return [sys.executable, str(job), side, str(source), str(checkpoint), str(driver_jar(sink))]


def environment(url: str, scratch: Path, archive: str = "") -> dict[str, str]:
    """The driver's environment. What a killed driver leaves behind stays in ``scratch``."""
    if not archive and ARCHIVE.exists():
        archive = f"-XX:SharedArchiveFile={ARCHIVE}"
    return {
        **os.environ,
        "DATABASE_URL": url,
        "PYSPARK_PYTHON": sys.executable,
        "SPARK_LAUNCHER_OPTS": JAVA,
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_LOCAL_DIRS": str(scratch),
        "SPARK_SUBMIT_OPTS": f"{JAVA} -Djava.io.tmpdir={scratch} {archive}",
        "TMPDIR": str(scratch),
    }


def prepare(sink: str) -> None:
    """Fetch the JDBC driver, and run the job once for Java to write its archive; where both are there, do nothing."""
    driver_jar(sink)
    if ARCHIVE.exists():
        return
    with TemporaryDirectory(prefix="foreachonce-demo-") as name:
        folder, fresh = Path(name), ARCHIVE.with_suffix(".new")
        flights.write_files(folder / "input", FILES_A_BATCH)
        variables = environment(f"sqlite:///{folder}/sink.db", folder, f"-XX:ArchiveClassesAtExit={fresh}")
        arguments = command("foreachonce", sink, folder / "input", folder / "checkpoint")
        # Its output ends when its Java has ended too, with the archive written.
        done = subprocess.run(arguments, env=variables, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{done.stderr[-5000:]}\nThe job does not run even without kills; its words are above.")
        if fresh.exists():
            fresh.replace(ARCHIVE)
