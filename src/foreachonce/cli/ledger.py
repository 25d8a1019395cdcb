"""Commands on a ledger: its streams and entries listed, exported and pruned, and its tables made."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer

from foreachonce.cli import output
from foreachonce.cli.options import Shared, Stream, require_stream
from foreachonce.cli.output import SHOWN, cut, decision_text, duration, entry_fields, number, plural, short
from foreachonce.cli.timeline import Step, rate, steps
from foreachonce.entry import Entry
from foreachonce.errors import ConfigurationError
from foreachonce.ledger import Ledger
from foreachonce.position import log_pointer
from foreachonce.sql.ledger import MIN_KEPT

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


_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def export(
    stream: Stream,
    shared: Shared,
    file: Annotated[Path | None, typer.Option("--output", help="A file; the default is stdout.")] = None,
) -> None:
    """Write a stream's entries as JSON lines, all fields verbatim; with --json as one array."""
    with shared.opened() as ledger:
        require_stream(ledger, shared.address, stream)
        entries = ledger.entries(stream)
        if file is None:
            _write(entries, sys.stdout, as_array=shared.as_json)
            return
        count = _write_file(entries, file)
    if shared.as_json:
        output.give({"stream": stream, "entries": count, "output": str(file)})
    else:
        output.say(f"Wrote {plural(count, 'entry', 'entries')} of {stream} to {file}.")


def prune(
    stream: Stream,
    shared: Shared,
    keep: Annotated[int | None, typer.Option(help=f"How many of the newest entries stay; at least {MIN_KEPT}.")] = None,
    older_than: Annotated[
        str | None, typer.Option(metavar="AGE", help="Delete only what is older: 90d, 12h, 30m, 4w.")
    ] = None,
) -> None:
    """Delete a stream's old entries from a database's ledger; the newest always stay."""
    if keep is None and older_than is None:
        raise ConfigurationError(f"say what stays: --keep {MIN_KEPT} or more, --older-than AGE, or both.")
    age, address = None if older_than is None else _age(older_than), shared.address
    pruned = address.prune(stream, keep=MIN_KEPT if keep is None else keep, older_than=age)
    if shared.as_json:
        output.give({"stream": stream, "ledger": address.shown, "pruned": pruned})
        return
    output.say(f"Deleted {plural(pruned, 'entry', 'entries')} of {stream}.")
    if pruned and _reads_files(address.ledger().head(stream)):
        output.say(
            "Its query reads files, and the deleted entries held their names: keep copies of the checkpoint's folder "
            "sources, or a lost checkpoint cannot be rebuilt."
        )


def init(
    shared: Shared,
    user: Annotated[str, typer.Option(help="The streaming user, for the statements that grant privileges.")] = "app",
) -> None:
    """Create the ledger's tables, and print the privileges that a streaming user then needs."""
    creation = shared.address.create(user)
    if shared.as_json:
        output.give({
            "ledger": shared.address.shown,
            "made": creation.is_new,
            "identity": creation.identity,
            "rights": list(creation.grants),
            "text": creation.text,
        })  # fmt: skip
    else:
        output.say("\n".join([creation.text, *(f"{each};" for each in creation.grants)]))


def _write_file(entries: Iterable[Entry], file: Path) -> int:
    """Write beside the file, and move it into place once it is whole; a pipe or a device is written directly."""
    place = file.resolve()
    if place.is_dir() or not place.parent.is_dir():
        what = "is a folder" if place.is_dir() else f"is in a folder that is not there, {place.parent}"
        raise ConfigurationError(f"--output {str(file)!r} {what}; name a file.")
    if place.exists() and not place.is_file():
        with place.open("w", encoding="utf-8", newline="\n") as lines:
            return _write(entries, lines, as_array=False)
    beside = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        with beside.open("w", encoding="utf-8", newline="\n") as lines:
            count = _write(entries, lines, as_array=False)
        beside.replace(place)
    finally:
        beside.unlink(missing_ok=True)
    return count


def _write(entries: Iterable[Entry], file: TextIO, *, as_array: bool) -> int:
    """One line for each entry; an array adds brackets and commas."""
    count = 0
    for count, entry in enumerate(entries, 1):
        start = ("[" if count == 1 else ",") if as_array else ""
        file.write(f"{start}{json.dumps(entry_fields(entry) | {'rows': entry.rows})}\n")
    if as_array:
        file.write("]\n" if count else "[]\n")
    return count


def _reads_files(entry: Entry | None) -> bool:
    return entry is not None and any(log_pointer(span.end) is not None for span in entry.position.sources.values())


def _age(text: str) -> timedelta:
    match = re.fullmatch(r"(\d{1,6})([mhdw])", text)
    if match is None:
        raise ConfigurationError(f"--older-than {text!r} is not an age; say 90d, 12h, 30m or 4w.")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})
