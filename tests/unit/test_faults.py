"""A fault point is off unless the environment says so; then the first that reaches it stands still until it may go on."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import get_args

import pytest

from foreachonce.faults import VARIABLE, Point, fault

pytestmark = pytest.mark.timeout(60)  # a point that wrongly stands still would stand for ever


@pytest.fixture
def armed(tmp_path, monkeypatch) -> Path:
    """The folder of a fault at the point ``committed``."""
    monkeypatch.setenv(VARIABLE, f"committed:{tmp_path}")
    return tmp_path


@contextmanager
def standing(folder: Path) -> Iterator[Future[None]]:
    """Something that stands at the point ``committed``; it may go on when the block ends."""
    marker, deadline = folder / "committed", time.monotonic() + 20
    with ThreadPoolExecutor() as other:
        stopped = other.submit(fault, "committed")
        try:
            while not (marker.exists() and marker.read_text()):
                assert time.monotonic() < deadline, "nothing stands at the point"
                time.sleep(0.002)
            yield stopped
        finally:
            marker.unlink(missing_ok=True)
        stopped.result(timeout=20)


@pytest.mark.parametrize("point", get_args(Point))
def test_no_point_stops_anything_by_default(point, tmp_path, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)
    fault(point)
    assert list(tmp_path.iterdir()) == []


def test_empty_variable_is_off(monkeypatch):
    monkeypatch.setenv(VARIABLE, "")
    fault("committed")


def test_other_points_are_passed(armed):
    for point in get_args(Point):
        if point != "committed":
            fault(point)
    assert list(armed.iterdir()) == []


def test_point_stands_still_tells_its_process_and_goes_on(armed):
    with standing(armed) as stopped:
        assert (armed / "committed").read_text() == str(os.getpid())
        time.sleep(0.05)
        assert not stopped.done()


def test_point_stops_the_first_only(armed):
    with standing(armed):
        fault("committed")  # a second one passes while the first stands
    fault("committed")  # and a restarted one passes afterwards


def test_folder_may_have_a_colon_in_its_name(tmp_path, monkeypatch):
    folder = tmp_path / "a:b"
    folder.mkdir()
    monkeypatch.setenv(VARIABLE, f"committed:{folder}")
    with standing(folder):
        pass
