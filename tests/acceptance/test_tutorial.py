"""The tutorial's commands do what it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from itertools import groupby
from pathlib import Path

import pytest

from foreachonce.testing.driver import environment
from tests.servers.delta import PACKAGES
from tests.servers.jdbc import offer_drivers

TUTORIAL = (Path(__file__).parents[2] / "docs" / "tutorial.md").read_text()
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
JOB = next(text for language, text in BLOCK.findall(TUTORIAL) if language == "python")


@pytest.fixture(autouse=True)
def plain_files(jdbc_driver: None, monkeypatch):
    """These sessions write their checkpoints as anybody's do."""
    monkeypatch.setenv("PYSPARK_SUBMIT_ARGS", os.environ["PYSPARK_SUBMIT_ARGS"])  # it is put back at the end
    offer_drivers()


def run(script: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    python = f'python() {{ {sys.executable} "$@"; }}'
    variables = environment(folder) | {"PYSPARK_PYTHON": sys.executable}
    command = ["bash", "-c", "\n".join([python, "set -e", *script])]
    return subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)


def edited(job: str, lines: str) -> str:
    """The job with these lines in the place of those that give the same names a value, or import from the same package."""
    for start, found in groupby(
        filter(None, lines.splitlines()), lambda line: re.match(r"\w+ = |from \w+ import ", line).group()
    ):
        text = "\n".join(found)
        job, count = re.subn(rf"^{start}.*$(\n{start}.*$)*", lambda _, text=text: text, job, flags=re.MULTILINE)
        assert count == 1, start
    return job


def blocks(heading: str, language: str) -> list[str]:
    (section,) = re.findall(rf"^{re.escape(heading)}\n(.*?)^## ", TUTORIAL, re.DOTALL | re.MULTILINE)
    return [text for found, text in BLOCK.findall(section) if found == language]


def commands_of_step_2() -> list[str]:
    """Two files, one run, one look."""
    commands = [line for language, text in BLOCK.findall(TUTORIAL) if not language for line in text.splitlines()]
    first = commands.index("mkdir incoming")
    return commands[first : first + 6]


def test_tutorial_runs_as_written_and_goes_on_without_its_checkpoint(tmp_path: Path):
    (tmp_path / "job.py").write_text(JOB)
    step = "## 4. Delete the checkpoint"
    lose, again = blocks(step, "sh")
    done = run([*commands_of_step_2(), lose], tmp_path)
    assert '0 batch 0 rows 1 0:- -> 0:{"logOffset":0}' in done.stdout, done.stderr[-3000:]
    assert "[(1, 9.5), (2, 3.0)]" in done.stdout
    assert done.returncode == 1
    assert "foreachonce.errors.Mismatch: stream 'orders': batch 0 is refused" in done.stderr
    (tmp_path / "job.py").write_text(edited(JOB, *blocks(step, "python")))
    mended = run([again], tmp_path)
    for line in blocks(step, "")[1].splitlines():
        assert line.partition(" in /")[0] in mended.stdout, mended.stderr[-3000:]


HEADINGS = ["## 8. Replace a report", "## 9. Apply a stream of changes", "## 10. A Delta table"]


def test_last_step_of_the_tutorial_is_the_same_after_those_before_it():
    """Step 9 reads other files, by a schema of its own."""
    alone, in_sequence = edited(JOB, *blocks(HEADINGS[-1], "python")), JOB
    for heading in HEADINGS:
        in_sequence = edited(in_sequence, *blocks(heading, "python"))
    assert in_sequence == alone


@pytest.mark.parametrize("heading", HEADINGS)
def test_mode_of_the_tutorial_runs_as_written(jdbc_driver: None, tmp_path: Path, heading: str):
    (lines,), (commands,), (expected,) = (blocks(heading, language) for language in ("python", "sh", ""))
    if "spark.jars.packages" in lines:
        # Every session of the tests has this jar; Spark would fetch 100 MB beside it.
        assert PACKAGES[0] in lines
        lines = re.sub(r"^.*spark\.jars\.packages.*\n", "", lines, flags=re.MULTILINE)
    (tmp_path / "job.py").write_text(edited(JOB, lines))
    files = re.findall(r"^echo '[^']*' > incoming/.*$", TUTORIAL, re.MULTILINE)
    done = run(["mkdir incoming", *files, commands], tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    for line in expected.splitlines():
        assert line in (done.stdout + done.stderr).splitlines()
