"""One SQL statement of the user's, run in the transaction that commits a batch."""

from __future__ import annotations

import re
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from foreachonce.errors import ConfigurationError
from foreachonce.sql.databases.base import Database, Parameters

# What would end or split the transaction that the rows and the entry share.
_CONTROL = {"abort", "begin", "commit", "end", "prepare", "release", "rollback", "savepoint", "start"}
_COMMENT = re.compile(r"\s+|--[^\n]*(\n|$)|/\*.*?\*/", re.DOTALL)
SHOWN = 80


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement with named parameters (``:name``), checked when it is made.

    Raises:
        ConfigurationError: no text, a transaction's own command, or parameters that do not match.
    """

    text: str
    parameters: Parameters

    def __post_init__(self) -> None:
        if not isinstance(self.text, str) or not self.text.strip():
            raise ConfigurationError(f"tx.execute() takes one SQL statement as text, not {self.text!r}.")
        if first_word(self.text) in _CONTROL:
            raise ConfigurationError(
                f"tx.execute({self._shown!r}): the transaction is committed by foreachonce, with the ledger entry; leave "
                "this statement out."
            )
        wanted = set(sa.text(self.text).compile().params)
        if wanted != set(self.parameters):
            raise ConfigurationError(
                f"tx.execute({self._shown!r}): the statement names the parameters {sorted(wanted)}, given are "
                f"{sorted(self.parameters)}; write a colon that names none as \\:."
            )

    def run(self, connection: Connection, database: Database) -> int:
        """Run it in the connection's transaction; it brings no rows that are counted."""
        database.execute(connection, sa.text(self.text), self.parameters)
        return 0

    @property
    def _shown(self) -> str:
        first = self.text.strip().splitlines()[0]
        return first if len(first) <= SHOWN else f"{first[:SHOWN]}…"


def first_word(text: str) -> str:
    """A statement's first word in lower case, past blanks and comments; empty where it begins with none."""
    start = 0
    while found := _COMMENT.match(text, start):
        start = found.end()
    word = re.match(r"[a-z]+", text[start:].lower())
    return word.group() if word else ""
