"""What every ledger tells of a stream that it does not have."""

from __future__ import annotations

import pytest

from foreachonce import DeltaLedger, SqlLedger
from foreachonce.delta import ledger as delta_ledger


@pytest.mark.parametrize("kind", ["sql", "delta"])
def test_what_nobody_has_written_reads_as_empty(kind, sqlite_url, tmp_path, monkeypatch):
    monkeypatch.setattr(delta_ledger, "_active_session", lambda: None)
    ledger = SqlLedger(sqlite_url) if kind == "sql" else DeltaLedger(str(tmp_path / "none"))
    assert (ledger.head("s"), list(ledger.entries("s")), ledger.streams()) == (None, [], [])
    assert not (tmp_path / "none").exists()
