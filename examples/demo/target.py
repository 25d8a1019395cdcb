"""What the demo asks of the place that a side writes to, be it a table or a topic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from flights import TOTAL
from foreachonce import Entry


@dataclass(frozen=True)
class Count:
    """What a side has written."""

    written: int
    different: int

    @property
    def duplicated(self) -> int:
        """The rows that are there once too often."""
        return self.written - self.different

    @property
    def lost(self) -> int:
        """The flights that are not there."""
        return TOTAL - self.different


class Target(Protocol):
    """Where one side writes. It is made by the demo, so that both sides start with the same."""

    @property
    def variables(self) -> Mapping[str, str]:
        """What the job finds in its environment: what no command line should show."""

    def command(self, checkpoint: Path) -> list[str]:
        """The command line of the job that writes here."""

    def count(self) -> Count:
        """Count all rows, and the different flights among them. Only what is committed counts."""

    def held(self, flight_ids: range) -> int:
        """Count how many of these flights are there."""

    def entries(self) -> list[Entry]:
        """What foreachonce's ledger says of the stream that writes here."""
