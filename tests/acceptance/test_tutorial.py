"""The tutorial's commands do what it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from itertools import groupby
from pathlib import Path

import pytest
import sqlalchemy as sa

from foreachonce.sql.url import parse_url
from foreachonce.testing.driver import environment
from tests.pages import BLOCK
from tests.servers.delta import PACKAGES
from tests.servers.jdbc import offer_drivers

TUTORIAL = (Path(__file__).parents[2] / "docs" / "tutorial.md").read_text()
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


def test_steps_2_to_7_run_as_written(tmp_path: Path, postgres_url: str):
    job = tmp_path / "job.py"
    job.write_text(JOB)
    expect(run([*commands_of_step_2()], tmp_path), *blocks("## 2. A stream into SQLite", "")[1].splitlines())

    replay = "## 3. A crash, and a replay"
    expect(run(blocks(replay, "sh"), tmp_path), *blocks(replay, ""))

    lost = "## 4. Delete the checkpoint"
    lose, again = blocks(lost, "sh")
    refused = run([lose], tmp_path)
    assert refused.returncode == 1
    assert "foreachonce.errors.Mismatch: stream 'orders': batch 0 is refused" in refused.stderr
    job.write_text(edited(JOB, *blocks(lost, "python")))
    expect(run([again], tmp_path), *(line.partition(" in /")[0] for line in blocks(lost, "")[1].splitlines()))

    change = "## 5. Change the rows on the way"
    job.write_text(decorated(job.read_text(), *blocks(change, "python")))
    expect(run(blocks(change, "sh"), tmp_path), *blocks(change, "")[0].splitlines())

    server = "## 6. PostgreSQL"
    export = blocks(server, "sh")[0].replace("postgresql://postgres:tutorial@localhost:5432/postgres", postgres_url)
    expect(run([without_docker(export)], tmp_path), *blocks(server, "")[0].splitlines())
    assert sql(postgres_url, "select order_id, amount from orders order by 1") == [(1, 9.5), (2, 3.0), (4, 7.25)]

    upsert = "## 7. Upsert"
    job.write_text(edited(job.read_text(), *blocks(upsert, "python")))
    (script,) = blocks(upsert, "sh")
    expect(run([f"export URL='{postgres_url}'", without_docker(script)], tmp_path))
    rows = [tuple(map(float, line.split("|"))) for line in blocks(upsert, "")[0].splitlines()[2:]]
    assert sql(postgres_url, "select * from latest order by order_id") == rows


def expect(done: subprocess.CompletedProcess[str], *lines: str) -> None:
    assert done.returncode == 0, done.stderr[-3000:]
    said = done.stdout + done.stderr
    for line in lines:
        assert line.strip() in said, said[-3000:]


def decorated(job: str, function: str) -> str:
    """The job with the function of step 5, as the step says in words."""
    job = job.replace("from foreachonce import JdbcSink", "from foreachonce import JdbcSink, exactly_once")
    job = re.sub(r"^orders = .*$", lambda found: f"{found[0]}\n\n\n{function}", job, flags=re.MULTILINE)
    return job.replace("orders.start(", "paid.start(")


def without_docker(script: str) -> str:
    """The tests have a server, and ask it themselves."""
    return "\n".join(line for line in script.splitlines() if not line.startswith("docker "))


def sql(url: str, statement: str) -> list[tuple[float, ...]]:
    with sa.create_engine(parse_url(url), poolclass=sa.NullPool).connect() as connection:
        return [tuple(map(float, row)) for row in connection.execute(sa.text(statement))]


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
