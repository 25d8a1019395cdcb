"""What the README says runs as pasted, and leads where it says; so do its links and those of the pages."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from foreachonce.testing.driver import environment

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\((?!https?:)([^)#\s]+)(?:#[^)]*)?\)")
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def test_job_runs_as_pasted_and_outlives_its_checkpoint(jdbc_driver: None, tmp_path: Path):
    (tmp_path / "job.py").write_text(next(text for kind, text in BLOCK.findall(README) if kind == "python"))
    shell = [line for kind, text in BLOCK.findall(README) if kind == "sh" for line in text.splitlines()]
    wanted = [line for line in shell if line.startswith(("mkdir in", "python job.py", "rm -r checkpoint"))]
    assert len(wanted) == 3
    script = "\n".join([f'python() {{ {sys.executable} "$@"; }}', "set -e", *wanted])
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told = [line for line in done.stdout.splitlines() if line.startswith(("rows:", "entry"))]
    assert told == [
        "rows: 1",
        "entry 0: batch 0, 1 rows, write",
        "rows: 1",
        "entry 0: batch 0, 1 rows, write",
        "entry 1: batch -1, 0 rows, repair: checkpoint missing, mended to go on after batch 0",
    ]


def test_readme_is_short():
    assert len(README.splitlines()) <= 135


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path):
    broken = [target for target in LINK.findall(page.read_text()) if not (page.parent / target).exists()]
    assert broken == []
