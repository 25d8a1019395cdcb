"""The tutorial's commands do what it says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from foreachonce.testing.archive import environment

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorial.md"


def test_tutorial_runs_as_written(tmp_path: Path):
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", TUTORIAL.read_text(), re.DOTALL | re.MULTILINE)
    (tmp_path / "job.py").write_text(next(text for language, text in blocks if language == "python"))
    commands = [line for language, text in blocks if not language for line in text.splitlines()]
    first = commands.index("mkdir incoming")
    python = f'python() {{ {sys.executable} "$@"; }}'
    script = "\n".join([python, "set -e", *commands[first : first + 6], "rm -r checkpoint", "python job.py"])
    variables = environment(tmp_path) | {"PYSPARK_PYTHON": sys.executable}
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, env=variables, capture_output=True, text=True, check=False)
    assert '0 batch 0 rows 1 0:- -> 0:{"logOffset":0}' in done.stdout, done.stderr[-3000:]
    assert "[(1, 9.5), (2, 3.0)]" in done.stdout
    assert done.returncode == 1
    assert "foreachonce.errors.Mismatch: stream 'orders': batch 0 is refused" in done.stderr
