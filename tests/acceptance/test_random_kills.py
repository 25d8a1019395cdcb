"""A few rounds of the soak; ``make soak`` runs fifty on each database."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.soak import soak

SEED = 20261123


@pytest.mark.parametrize(("place", "path", "rounds"), [
    ("sqlite_url", "auto", 3), ("postgres_url", "direct", 4), ("postgres_url", "staged", 2),
    ("mariadb_url", "direct", 2),
])  # fmt: skip
def test_random_kills_lose_and_repeat_nothing(place, path, rounds, request, tmp_path: Path):
    report = soak(request.getfixturevalue(place), tmp_path, rounds=rounds, seed=SEED, path=path)
    assert report.is_clean, report
    assert sum(report.kills.values()) == rounds
