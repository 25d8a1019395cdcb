"""A few rounds of the soak; ``make soak`` runs fifty on each database."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.soak import VICTIMS, soak

SEED = 20261123


@pytest.mark.parametrize(("place", "path"), [("sqlite_url", "auto"), ("postgres_url", "direct"), ("postgres_url", "staged")])
def test_random_kills_lose_and_repeat_nothing(place, path, request, tmp_path: Path):
    rounds = len(VICTIMS) if path != "staged" else len(VICTIMS) - 1
    report = soak(request.getfixturevalue(place), tmp_path, rounds=rounds, seed=SEED, path=path)
    assert report.is_clean, report
    assert sum(report.kills.values()) == rounds
