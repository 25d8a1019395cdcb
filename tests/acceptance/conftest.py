"""What these tests start are drivers of their own; all of them have the same jars and start fast."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session", autouse=True)
def sessions_jars(jdbc_driver: None) -> None:
    """Offered before the first driver starts."""
