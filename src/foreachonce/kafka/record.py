"""What stands in a stream's ledger topic: a run's taking of the stream, and the entries of its epochs. Pure.

A record is JSON in the form that :func:`to_bytes` gives it. The record with the greatest token names the run that holds the
stream.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

from foreachonce.entry import Entry
from foreachonce.errors import LedgerError

# The key that tells a record of this library, and the version of what stands beside it.
MARKER = "foreachonce"
FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A run has taken the stream over.

    Args:
        run_id, query_id: Spark's, of the run.
        time: when, in UTC.
        token: 0, 1, 2, … in the order of taking over; the greatest is the one that may write.
        ids: how many transactional ids the stream's runs have ever used; who takes it next must fence them all.
    """

    run_id: str
    query_id: str
    time: datetime
    token: int
    ids: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """An epoch's entry, in the transaction of its rows. An epoch has one for each of its transactions.

    Args:
        entry: the epoch's entry; its rows are None here.
        part: which of the epoch's transactions, from 0.
        parts: how many transactions the epoch is made of.
        rows: how many records of the user's are in this one.
        token, ids: as in :class:`Taken`.
    """

    entry: Entry
    part: int
    parts: int
    rows: int
    token: int
    ids: int

    @property
    def run_id(self) -> str:
        """The run that wrote it."""
        return self.entry.run_id

    @property
    def query_id(self) -> str:
        """The run's query."""
        return self.entry.query_id

    @property
    def time(self) -> datetime:
        """When it was written, in UTC."""
        return self.entry.time


Record: TypeAlias = Taken | Part


def to_bytes(stream: str, record: Record) -> bytes:
    """The record's value."""
    fields: dict[str, Any] = {MARKER: FORMAT, "stream": stream, "token": record.token, "ids": record.ids}
    if isinstance(record, Part):
        fields |= {"kind": "entry", "part": record.part, "parts": record.parts, "rows": record.rows}
        fields |= record.entry.to_fields()
    else:
        fields |= {"kind": "taken", "run_id": record.run_id, "query_id": record.query_id, "time": record.time.isoformat()}
    return json.dumps(fields, ensure_ascii=False).encode()


def from_bytes(stream: str, value: bytes | None) -> Record:
    """The record of a value.

    Raises:
        LedgerError: it is none of this library's, another stream's, or of a version that is not known.
    """
    try:
        fields = json.loads(value or b"null")
    except ValueError:
        fields = None
    if not isinstance(fields, dict) or MARKER not in fields or fields.get("stream") != stream:
        raise LedgerError(
            f"stream {stream!r}: its ledger topic holds a record that is none of this stream's entries; nothing else may "
            "write that topic. Move it away, or give the sink another ledger_prefix=."
        )
    if fields[MARKER] != FORMAT:
        raise LedgerError(
            f"stream {stream!r}: its ledger topic holds a record of format {fields[MARKER]!r}, this version knows {FORMAT}: "
            "it was written by a newer foreachonce. Update this one."
        )
    token, ids = int(fields["token"]), int(fields["ids"])
    if fields["kind"] == "taken":
        time = datetime.fromisoformat(fields["time"])
        return Taken(run_id=fields["run_id"], query_id=fields["query_id"], time=time, token=token, ids=ids)
    part, parts, rows = int(fields["part"]), int(fields["parts"]), int(fields["rows"])
    return Part(entry=Entry.from_fields(fields), part=part, parts=parts, rows=rows, token=token, ids=ids)
