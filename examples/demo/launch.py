"""How a driver is launched: its command and environment, the same for both sides, and classes that load fast."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

from query import TASKS

import flights
from tests.servers.jdbc import IVY

# The demo starts a dozen drivers, and most of a start is Java reading Spark's classes: they are kept in an archive that
# is mapped into memory. A Java that did not write it passes over it.
ARCHIVE = IVY / f"spark-{version('pyspark')}.jsa"
JAVA = "-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:-UsePerfData"


def command(job: str, *arguments: object) -> list[str]:
    """The command line of a driver that runs one of this folder's jobs."""
    return [sys.executable, str(Path(__file__).with_name(job)), *map(str, arguments)]


def environment(variables: Mapping[str, str], scratch: Path, archive: str = "") -> dict[str, str]:
    """The driver's environment, with its job's variables. What a killed driver leaves behind stays in ``scratch``."""
    if not archive and ARCHIVE.exists():
        archive = f"-XX:SharedArchiveFile={ARCHIVE}"
    return {
        **os.environ,
        **variables,
        "PYSPARK_PYTHON": sys.executable,
        "SPARK_LAUNCHER_OPTS": JAVA,
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_LOCAL_DIRS": str(scratch),
        "SPARK_SUBMIT_OPTS": f"{JAVA} -Djava.io.tmpdir={scratch} {archive}",
        "TMPDIR": str(scratch),
    }


def prepare() -> None:
    """Run a job once for Java to write its archive; where it is there, do nothing."""
    if ARCHIVE.exists():
        return
    with TemporaryDirectory(prefix="foreachonce-demo-") as name:
        folder, fresh = Path(name), ARCHIVE.with_suffix(".new")
        flights.write_files(folder / "input", TASKS)
        variables = environment({"DATABASE_URL": f"sqlite:///{folder}/sink.db"}, folder, f"-XX:ArchiveClassesAtExit={fresh}")
        arguments = command("job.py", "foreachonce", folder / "input", folder / "checkpoint", "")
        # Its output ends when its Java has ended too, with the archive written.
        done = subprocess.run(arguments, env=variables, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{done.stderr[-5000:]}\nThe job does not run even without kills; its words are above.")
        if fresh.exists():
            fresh.replace(ARCHIVE)
