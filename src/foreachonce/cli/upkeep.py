"""``foreachonce export``, ``prune`` and ``init``: write a ledger out, shorten it, create it."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Annotated, TextIO

import typer

from foreachonce.cli import output
from foreachonce.cli.opening import require_stream
from foreachonce.cli.options import Shared, Stream
from foreachonce.cli.words import entry_fields, plural
from foreachonce.entry import Entry
from foreachonce.errors import ConfigurationError
from foreachonce.position import log_pointer
from foreachonce.sql.ledger import MIN_KEPT

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
