"""The address of a Delta table's ledger: ``delta:/path`` or ``delta:catalog.table``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from foreachonce.address import (
    AddressOptions,
    Counts,
    Creation,
    LedgerAddress,
    Operation,
    SparkExtension,
    TableName,
    has_scheme,
    is_local,
    naming_option,
)
from foreachonce.delta.ledger import DeltaLedger
from foreachonce.delta.spark import NEEDED, PACKAGE, rows_of
from foreachonce.delta.target import check_place, is_path
from foreachonce.delta.target import shown as shown_place
from foreachonce.errors import ConfigurationError, LedgerError

_SCHEME = "delta:"


@dataclass(frozen=True)
class DeltaAddress(LedgerAddress):
    """A Delta table, by path or by name."""

    place: str

    forms = "delta:/path, delta:catalog.table"
    extension = SparkExtension("Delta Lake", PACKAGE, "io.delta.tables.DeltaTable", NEEDED)
    count_option = "--count"

    @classmethod
    def parse(cls, text: str, options: AddressOptions) -> DeltaAddress | None:
        """Understand ``delta:/path`` and ``delta:catalog.table``; a relative path becomes an absolute one."""
        if not text.startswith(_SCHEME):
            return None
        if text.startswith(f"{_SCHEME}//"):
            raise ConfigurationError("--ledger delta://… names a host, and a path has none: write delta:/path.")
        with naming_option("path_or_table="):
            place = check_place(text.removeprefix(_SCHEME))
        return cls(os.path.abspath(place) if is_path(place) and not has_scheme(place) else place)

    @property
    def shown(self) -> str:
        """See :class:`~foreachonce.address.LedgerAddress`."""
        return f"{_SCHEME}{shown_place(self.place)}"

    @property
    def arguments(self) -> Sequence[str]:
        """See :class:`~foreachonce.address.LedgerAddress`."""
        return ["--ledger", self.shown]

    def needs_spark(self, operation: Operation) -> bool:
        """Appending and counting always do; reading does in a catalog, or on another file system than this machine's."""
        return operation != "read" or not is_path(self.place) or not is_local(self.place)

    def ledger(self) -> DeltaLedger:
        """Open the ledger of a table that exists."""
        ledger = DeltaLedger(self.place)
        if not ledger.exists():
            raise LedgerError(
                f"there is no Delta table at {self.shown}. Is the address right? A sink's first batch creates it."
            )
        return ledger

    def create(self, user: str) -> Creation:
        """Nothing: the table's own log is the ledger."""
        return Creation("Nothing to create: a Delta table's ledger is its own log.")

    def count(self, stream: str, tables: Sequence[TableName]) -> Counts:
        """Count the table's rows."""
        return Counts(None, rows_of(self.place))
