"""The epoch is resolved on Spark Connect too; a Connect session needs a process of its own."""

from __future__ import annotations

import subprocess
import sys


def test_connect_resolves_epochs_with_the_checkpoint_keyword(url, query, tmp_path):
    job = [sys.executable, "-m", "tests.contract.connect_job", url, str(tmp_path)]
    done = subprocess.run(job, capture_output=True, text=True, timeout=240, check=False)
    assert done.stdout.splitlines()[-4:] == ["written", "replayed", "refused", "asked for checkpoint="], done.stderr[-3000:]
    assert query("select id from events order by id") == [(1,), (2,), (3,)]
