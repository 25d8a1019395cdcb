"""How every ledger reads, whatever the sink."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from foreachonce.entry import Entry


class Ledger(Protocol):
    """A view of the entries that a sink has committed. Reading changes no entry; a ledger that is not there is made."""

    def streams(self) -> list[str]:
        """The names of all streams."""

    def head(self, stream: str) -> Entry | None:
        """The stream's newest entry; None where it has none, as a name that is spelt wrong."""

    def entries(self, stream: str, *, after: int = -1) -> Iterator[Entry]:
        """Yield the stream's entries of a greater seq than ``after``, in order; none for a name that no stream has."""
