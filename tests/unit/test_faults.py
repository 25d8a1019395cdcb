"""A fault point is off unless the environment says so; then the first that comes to it meets what a test has asked for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import get_args

import pytest

from foreachonce.errors import CommitInDoubt
from foreachonce.faults import VARIABLE, InjectedFault, Point, fault
from foreachonce.testing.faults import Faults

pytestmark = pytest.mark.timeout(60)  # a point that wrongly stands still would stand for ever


@pytest.fixture
def faults(tmp_path, monkeypatch) -> Faults:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "faults"))
    return Faults(tmp_path / "faults")


@pytest.mark.parametrize("point", get_args(Point))
def test_no_point_hurts_by_default(point, faults, monkeypatch):
    faults.arm(point, "raise")
    monkeypatch.delenv(VARIABLE)
    fault(point)
    assert faults.met(point) is None


def test_other_points_are_passed(faults):
    faults.arm("committed", "raise")
    for point in get_args(Point):
        if point != "committed":
            fault(point)
    assert faults.met("committed") is None


def test_stop_stands_still_tells_its_process_and_goes_on(faults):
    faults.arm("committed", "stop")
    with ThreadPoolExecutor() as other:
        stopped = other.submit(fault, "committed")
        assert faults.wait("committed") == os.getpid()
        time.sleep(0.05)
        assert not stopped.done()
        fault("committed")  # a second one passes while the first stands
        faults.release("committed")
        stopped.result(timeout=20)
    fault("committed")  # and a restarted one passes afterwards


def test_hold_lets_everybody_stand_still(faults):
    faults.arm("committed", "hold")
    with ThreadPoolExecutor() as others:
        held = [others.submit(fault, "committed") for _ in range(3)]
        faults.wait_for_all("committed", 3)
        time.sleep(0.05)
        assert not any(each.done() for each in held)
        faults.clear()
        for each in held:
            each.result(timeout=20)


def test_raise_raises_what_is_none_of_the_librarys_errors(faults):
    faults.arm("rows-half", "raise")
    with pytest.raises(InjectedFault, match="rows-half"):
        fault("rows-half")
    fault("rows-half")


def test_lose_loses_the_connection(faults):
    faults.arm("committed", "lose")
    with pytest.raises(CommitInDoubt, match="committed"):
        fault("committed")


def test_kill_kills(faults):
    faults.arm("committed", "kill")
    code = "from foreachonce.faults import fault; fault('committed'); print('alive')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, "")
