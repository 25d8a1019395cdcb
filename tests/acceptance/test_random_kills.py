"""A few rounds of the soak; ``make soak`` runs fifty."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.place import NAMES
from tests.acceptance.soak import soak

SEED = 20261123
ROUNDS = 2


@pytest.mark.timeout(1800)
def test_random_kills_lose_and_repeat_nothing(
    sqlite_url, postgres_url, mariadb_url, delta_path, kafka_place, tmp_path: Path
):
    """One driver at a time writes to every place, so each kill meets each of them at another step."""
    places = dict(zip(NAMES, (sqlite_url, postgres_url, mariadb_url, delta_path, kafka_place), strict=True))
    reports = soak(places, tmp_path / "streams", rounds=ROUNDS, seed=SEED)
    assert all(report.is_clean for report in reports.values()), reports
    assert all(sum(report.kills.values()) == ROUNDS for report in reports.values())
