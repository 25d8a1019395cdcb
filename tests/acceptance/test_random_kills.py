"""A few rounds of the soak; ``make soak`` runs fifty on each place."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.soak import soak

SEED = 20261123


@pytest.mark.parametrize(("place", "rounds"), [
    ("sqlite_url", 2), ("postgres_url", 3), ("mariadb_url", 2), ("delta_path", 2),
    ("kafka_place", 3),
])  # fmt: skip
def test_random_kills_lose_and_repeat_nothing(place, rounds, request, tmp_path: Path):
    report = soak(request.getfixturevalue(place), tmp_path, rounds=rounds, seed=SEED)
    assert report.is_clean, report
    assert sum(report.kills.values()) == rounds
