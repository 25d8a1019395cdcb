"""A ledger entry as fields of JSON, for ledgers that are not tables. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from foreachonce.entry import Entry
from foreachonce.position import Position


def fields_of(entry: Entry) -> dict[str, Any]:
    """The entry's fields, but for its rows, which each ledger has its own way to tell."""
    return {
        "stream": entry.stream,
        "seq": entry.seq,
        "query_id": entry.query_id,
        "batch_id": entry.batch_id,
        "run_id": entry.run_id,
        "time": entry.time.isoformat(),
        "start_offsets": entry.position.starts,
        "end_offsets": entry.position.ends,
        "source_log": entry.position.source_log,
        "offset_log": entry.offset_log,
        "is_stateful": entry.is_stateful,
        "sink": entry.sink,
        "versions": entry.versions,
        "decision": entry.decision,
    }


def entry_of(fields: Mapping[str, Any], rows: int | None = None) -> Entry:
    """The entry that :func:`fields_of` was asked for."""
    return Entry(
        stream=fields["stream"],
        seq=int(fields["seq"]),
        query_id=fields["query_id"],
        batch_id=int(fields["batch_id"]),
        run_id=fields["run_id"],
        position=Position.restore(fields["start_offsets"], fields["end_offsets"], fields["source_log"]),
        offset_log=fields["offset_log"],
        is_stateful=bool(fields.get("is_stateful", False)),
        rows=rows,
        time=datetime.fromisoformat(fields["time"]),
        sink=fields["sink"],
        versions=fields["versions"],
        decision=fields["decision"],
    )
