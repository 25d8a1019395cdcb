"""The tests of Spark Connect pass, in a process of their own.

Each query there starts a worker, which takes seconds: what depends least on the kind of session is left to ``make connect``,
which runs all of them.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers.postgres import VARIABLE as POSTGRES

FOLDER = Path(__file__).parent.parent / "connect"

CHOSEN = (
    "(first_write or replay_is or lost_checkpoint_is_refused or transaction or test_function or asks_for_it "
    "or append_replay or merge_is_refused) and not by_sparks"
)


@pytest.mark.timeout(900)
def test_contract_holds_on_connect(postgres_server):
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-k", CHOSEN, str(FOLDER)]
    variables = {**os.environ, POSTGRES: postgres_server}
    done = subprocess.run(command, cwd=FOLDER.parent.parent, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-20000:] + done.stderr[-3000:]
