"""What is published installs into an empty environment with every extra, and runs the tutorial there."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.acceptance.test_tutorial import JOB, blocks, commands_of_step_2, edited

ROOT = Path(__file__).parents[2]


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command as a user who has Java, and nothing else of the tests' settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PY", "SPARK_", "FOREACHONCE_"))}
    variables = kept | {"SPARK_LOCAL_IP": "127.0.0.1"}
    return subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)


def checked(command: list[str], folder: Path) -> str:
    done = run(command, folder)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sdist, and the wheel that is built from it."""
    folder = tmp_path_factory.mktemp("dist")
    checked([sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT)], folder)
    return folder


def test_wheel_holds_the_package_and_nothing_else(dist: Path):
    (wheel,) = dist.glob("*.whl")
    names = {Path(name) for name in zipfile.ZipFile(wheel).namelist()}
    package = {name for name in names if name.parts[0] == "foreachonce"}
    sources = (path for path in (ROOT / "src/foreachonce").rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    assert package == {path.relative_to(ROOT / "src") for path in sources}
    assert Path("foreachonce/py.typed") in package
    assert {name.parts[0] for name in names - package} == {wheel.name.removesuffix("-py3-none-any.whl") + ".dist-info"}


@pytest.mark.slow
def test_wheel_runs_the_tutorial_in_an_empty_environment(dist: Path, tmp_path: Path):
    (wheel,) = dist.glob("*.whl")
    checked([sys.executable, "-m", "venv", "env"], tmp_path)
    python = str(tmp_path / "env/bin/python")
    lock = str(ROOT / "requirements.lock")
    checked([python, "-m", "pip", "install", "--quiet", f"{wheel}[all]", "--constraint", lock], tmp_path)
    assert "foreachonce 0.1.0" in checked([str(tmp_path / "env/bin/foreachonce"), "--version"], tmp_path)

    (tmp_path / "job.py").write_text(JOB)
    script = [f'python() {{ {python} "$@"; }}', *commands_of_step_2()]
    assert "[(1, 9.5), (2, 3.0)]" in checked(["bash", "-ec", "\n".join(script)], tmp_path)
    step = "## 4. Delete the checkpoint"
    lose, again = blocks(step, "sh")
    assert "foreachonce.errors.Mismatch" in run(["bash", "-ec", "\n".join([script[0], lose])], tmp_path).stderr
    (tmp_path / "job.py").write_text(edited(JOB, *blocks(step, "python")))
    assert "repair: checkpoint" in checked(["bash", "-ec", "\n".join([script[0], again])], tmp_path)
