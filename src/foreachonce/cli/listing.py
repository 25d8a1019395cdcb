"""``foreachonce ledger list`` and ``ledger show``: the streams of a ledger, and the entries of one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Annotated, Any

import typer

from foreachonce.cli import output
from foreachonce.cli.opening import require_stream
from foreachonce.cli.options import Shared, Stream
from foreachonce.cli.timeline import Step, rate, steps
from foreachonce.cli.words import SHOWN, cut, decision_text, duration, entry_fields, number, plural, short
from foreachonce.entry import Entry
from foreachonce.ledger import Ledger

# The number of newest batches that a stream's rate is computed from.
RECENT = 20
# The first batch shown is timed from the batch before it; repairs may stand between the two.
_BEFORE = 5


def list_streams(shared: Shared) -> None:
    """List the streams: the newest batch of each, its age, and the rate of the newest 20."""
    with shared.opened() as ledger:
        streams = [_summary(ledger, stream) for stream in ledger.streams()]
    if shared.as_json:
        output.give(streams)
    elif not streams:
        output.say(f"The ledger at {shared.address.shown} has no stream.")
    else:
        columns: dict[str, output.Justify] = {
            "stream": "left", "batch": "right", "seq": "right", "rows": "right", "age": "right", "rows/s": "right",
        }  # fmt: skip
        output.table(columns, map(_row, streams))


def show(
    stream: Stream,
    shared: Shared,
    last: Annotated[int, typer.Option(min=1, help="How many of the newest entries.")] = 20,
) -> None:
    """Show the newest entries of a stream: offsets, rows, and what happened."""
    with shared.opened() as ledger:
        require_stream(ledger, shared.address, stream)
        newest = newest_steps(ledger, stream, last)
    if shared.as_json:
        output.give([_fields(step) for step in newest])
        return
    columns: dict[str, output.Justify] = {
        "seq": "right", "batch": "right", "rows": "right", "after": "right", "rows/s": "right",
        "time (UTC)": "left", "offsets": "left", "marks": "left", "decision": "left",
    }  # fmt: skip
    title = f"The last {plural(len(newest), 'entry', 'entries')} of {stream}"
    output.table(columns, map(_cells, newest), title=title)


def newest_steps(ledger: Ledger, stream: str, count: int) -> list[Step]:
    """The newest steps of a stream, oldest first."""
    head = ledger.head(stream)
    if head is None:
        return []
    return list(steps(ledger.entries(stream, after=head.seq - count - _BEFORE)))[-count:]


def batch_of(entry: Entry) -> str:
    """An entry's batch id for people; a repair has none."""
    return "-" if entry.is_repair else str(entry.batch_id)


def _summary(ledger: Ledger, stream: str) -> dict[str, Any]:
    newest = newest_steps(ledger, stream, RECENT)
    if not newest:
        nothing = dict.fromkeys(("seq", "query_id", "batch_id", "rows", "time", "age_seconds", "rows_per_second"))
        return {"stream": stream, **nothing}
    batches = [step for step in newest if not step.entry.is_repair]
    entry = (batches or newest)[-1].entry
    age = (datetime.now(timezone.utc) - entry.time).total_seconds()
    return {
        "stream": stream,
        "seq": newest[-1].entry.seq,
        "query_id": entry.query_id,
        "batch_id": None if entry.is_repair else entry.batch_id,
        "rows": entry.rows,
        "time": entry.time.isoformat(),
        "age_seconds": round(max(0.0, age), 3),
        "rows_per_second": _rounded(rate(batches)),
    }


def _row(summary: dict[str, Any]) -> Sequence[str]:
    return (
        str(summary["stream"]),
        "-" if summary["batch_id"] is None else str(summary["batch_id"]),
        "-" if summary["seq"] is None else str(summary["seq"]),
        number(summary["rows"]),
        duration(summary["age_seconds"]),
        number(summary["rows_per_second"]),
    )


def _fields(step: Step) -> dict[str, Any]:
    return entry_fields(step.entry) | {
        "rows": step.entry.rows,
        "seconds": _rounded(step.seconds),
        "rows_per_second": _rounded(step.rate),
        "marks": list(step.marks),
    }


def _cells(step: Step) -> Sequence[str]:
    entry = step.entry
    decision = decision_text(entry)
    return (
        str(entry.seq),
        batch_of(entry),
        number(entry.rows),
        duration(step.seconds),
        number(step.rate),
        f"{entry.time.astimezone(timezone.utc):%F %T}",
        "" if entry.is_repair else short(entry.position),
        ", ".join(step.marks),
        "" if decision == "write" else cut(decision, SHOWN),
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
