"""``foreachonce ledger list`` and ``ledger show``: the streams of a ledger, and the entries of one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Annotated, Any

import typer

from foreachonce.cli import output
from foreachonce.cli.options import Address, Client, Conf, Json, Packages, Prefix, Schema, Stream
from foreachonce.cli.place import PREFIX, Place, place_of
from foreachonce.cli.reading import known, opened
from foreachonce.cli.spans import SHOWN, short
from foreachonce.cli.timeline import Step, rate, steps
from foreachonce.cli.words import cut, duration, number, plural
from foreachonce.entry import Entry
from foreachonce.ledger import Ledger

# A stream's rate is that of so many batches.
RECENT = 20
# The batch before the first one tells how long that took; repairs may stand between.
_BEFORE = 5


def list_streams(
    ledger: Address,
    ledger_schema: Schema = None,
    ledger_prefix: Prefix = PREFIX,
    client: Client = None,
    packages: Packages = None,
    conf: Conf = None,
    as_json: Json = False,
) -> None:
    """List the streams: the newest batch of each, its age, and the rate of the newest 20."""
    place = place_of(ledger, ledger_schema, ledger_prefix, client or ())
    with opened(place, packages, conf) as view:
        found = [_standing(view, stream) for stream in view.streams()]
    if as_json:
        output.give(found)
    elif not found:
        output.say(f"The ledger at {place.shown} has no stream.")
    else:
        columns: dict[str, output.Justify] = {
            "stream": "left", "batch": "right", "seq": "right", "rows": "right", "age": "right", "rows/s": "right",
        }  # fmt: skip
        output.table(columns, (_row(each) for each in found))


def show(
    stream: Stream,
    ledger: Address,
    last: Annotated[int, typer.Option(min=1, help="How many of the newest entries.")] = 20,
    ledger_schema: Schema = None,
    ledger_prefix: Prefix = PREFIX,
    client: Client = None,
    packages: Packages = None,
    conf: Conf = None,
    as_json: Json = False,
) -> None:
    """Show the newest entries of a stream: offsets, rows, and what happened."""
    place: Place = place_of(ledger, ledger_schema, ledger_prefix, client or ())
    with opened(place, packages, conf) as view:
        known(view, place, stream)
        found = newest(view, stream, last)
    if as_json:
        output.give([_fields(step) for step in found])
        return
    columns: dict[str, output.Justify] = {
        "seq": "right", "batch": "right", "rows": "right", "after": "right", "rows/s": "right",
        "time (UTC)": "left", "offsets": "left", "marks": "left", "decision": "left",
    }  # fmt: skip
    title = f"The last {plural(len(found), 'entry', 'entries')} of {stream}"
    output.table(columns, (_cells(step) for step in found), title=title)


def newest(ledger: Ledger, stream: str, count: int) -> list[Step]:
    """The newest steps of a stream, the oldest of them first."""
    head = ledger.head(stream)
    if head is None:
        return []
    return list(steps(ledger.entries(stream, after=head.seq - count - _BEFORE)))[-count:]


def batch_of(entry: Entry) -> str:
    """An entry's batch, for people; a repair has none."""
    return "-" if entry.is_repair else str(entry.batch_id)


def _standing(ledger: Ledger, stream: str) -> dict[str, Any]:
    found = newest(ledger, stream, RECENT)
    batches = [step for step in found if not step.entry.is_repair]
    if not found:
        return dict.fromkeys(("seq", "query_id", "batch_id", "rows", "time", "age_seconds", "rows_per_second")) | {
            "stream": stream
        }
    head = (batches or found)[-1].entry
    age = (datetime.now(timezone.utc) - head.time).total_seconds()
    return {
        "stream": stream,
        "seq": found[-1].entry.seq,
        "query_id": head.query_id,
        "batch_id": None if head.is_repair else head.batch_id,
        "rows": head.rows,
        "time": head.time.isoformat(),
        "age_seconds": round(max(0.0, age), 3),
        "rows_per_second": _rounded(rate(batches)),
    }


def _row(standing: dict[str, Any]) -> Sequence[str]:
    return (
        str(standing["stream"]),
        "-" if standing["batch_id"] is None else str(standing["batch_id"]),
        "-" if standing["seq"] is None else str(standing["seq"]),
        number(standing["rows"]),
        duration(standing["age_seconds"]),
        number(standing["rows_per_second"]),
    )


def _fields(step: Step) -> dict[str, Any]:
    return step.entry.to_fields() | {
        "rows": step.entry.rows,
        "seconds": _rounded(step.seconds),
        "rows_per_second": _rounded(step.rate),
        "marks": list(step.marks),
    }


def _cells(step: Step) -> Sequence[str]:
    entry = step.entry
    return (
        str(entry.seq),
        batch_of(entry),
        number(entry.rows),
        duration(step.seconds),
        number(step.rate),
        f"{entry.time.astimezone(timezone.utc):%F %T}",
        "" if entry.is_repair else short(entry.position),
        ", ".join(step.marks),
        "" if entry.decision.kind == "write" else cut(str(entry.decision), SHOWN),
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
