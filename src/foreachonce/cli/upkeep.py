"""``foreachonce export``, ``prune`` and ``init``: a ledger written out, made shorter, made."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer

from foreachonce.cli import output
from foreachonce.cli.options import Address, Client, Conf, Json, Packages, Prefix, Schema, Stream
from foreachonce.cli.place import PREFIX, KafkaPlace, SqlPlace, place_of
from foreachonce.cli.reading import known, opened
from foreachonce.cli.rights import grants
from foreachonce.cli.words import plural
from foreachonce.entry import Entry
from foreachonce.errors import ConfigurationError
from foreachonce.position import log_pointer
from foreachonce.sql.ledger import MIN_KEPT

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def export(
    stream: Stream,
    ledger: Address,
    output_file: Annotated[Path | None, typer.Option("--output", help="A file; without it they go to stdout.")] = None,
    ledger_schema: Schema = None,
    ledger_prefix: Prefix = PREFIX,
    client: Client = None,
    packages: Packages = None,
    conf: Conf = None,
    as_json: Json = False,
) -> None:
    """Write a stream's entries as JSON lines, all fields verbatim; with --json as one array."""
    place = place_of(ledger, ledger_schema, ledger_prefix, client or ())
    with opened(place, packages, conf) as view:
        known(view, place, stream)
        entries = view.entries(stream)
        if output_file is None:
            _write(entries, sys.stdout, as_array=as_json)
            return
        count = _write_file(entries, output_file)
    if as_json:
        output.give({"stream": stream, "entries": count, "output": str(output_file)})
    else:
        output.say(f"{plural(count, 'entry', 'entries')} of {stream} {'is' if count == 1 else 'are'} in {output_file}.")


def prune(
    stream: Stream,
    ledger: Address,
    keep: Annotated[int | None, typer.Option(help=f"How many of the newest entries stay; at least {MIN_KEPT}.")] = None,
    older_than: Annotated[
        str | None, typer.Option(metavar="AGE", help="Delete only what is older: 90d, 12h, 30m, 4w.")
    ] = None,
    ledger_schema: Schema = None,
    as_json: Json = False,
) -> None:
    """Delete a stream's old entries from a database's ledger; the newest always stay."""
    place = place_of(ledger, ledger_schema)
    if not isinstance(place, SqlPlace):
        raise ConfigurationError(
            f"{place.shown}: only a database's ledger is pruned. Delta cleans its log up by itself, and a ledger topic is "
            "left alone: docs/operations/the-ledger-grows.md says why."
        )
    if keep is None and older_than is None:
        raise ConfigurationError(f"say what stays: --keep {MIN_KEPT} or more, --older-than AGE, or both.")
    age = None if older_than is None else _age(older_than)
    view = place.ledger()
    gone = view.prune(stream, keep=MIN_KEPT if keep is None else keep, older_than=age)
    if as_json:
        output.give({"stream": stream, "ledger": place.shown, "pruned": gone})
    else:
        output.say(f"{plural(gone, 'entry', 'entries')} of {stream} {'was' if gone == 1 else 'were'} deleted.")
        if gone and _reads_files(view.head(stream)):
            output.say(
                "Its query reads files, whose names were in them: keep copies of the checkpoint's folder sources, without "
                "which a lost checkpoint cannot be written anew."
            )


def init(
    ledger: Address,
    user: Annotated[str, typer.Option(help="The streaming user, for the statements that give the rights.")] = "app",
    ledger_schema: Schema = None,
    ledger_prefix: Prefix = PREFIX,
    client: Client = None,
    as_json: Json = False,
) -> None:
    """Make the ledger's tables, and say which rights a streaming user then needs."""
    place = place_of(ledger, ledger_schema, ledger_prefix, client or ())
    if isinstance(place, SqlPlace):
        found = _make(place, user)
    elif isinstance(place, KafkaPlace):
        found = _nothing(place.shown, _topics(place))
    else:
        found = _nothing(place.shown, "Nothing is to be made: a Delta table's ledger is its own log.")
    if as_json:
        output.give(found)
    else:
        output.say("\n".join([found["text"], *(f"{each};" for each in found["rights"])]))


def _make(place: SqlPlace, user: str) -> dict[str, Any]:
    view = place.open()
    is_new = not view.exists()
    identity = view.identity
    kind = place.url.get_backend_name()
    if kind == "sqlite":
        rights, needs = [], "Whoever writes needs the right to write the file and its folder."
    else:
        rights = list(grants(user, _schema(place), _quote(place), has_schemas=kind != "mysql"))
        needs = f"A user who writes into it, here {user}, needs what these give, and rights to the tables of the rows:"
    made = "The ledger was made" if is_new else "The ledger was there already"
    text = f"{made}: {place.shown}, identity {identity}.\n{needs}"
    return {"ledger": place.shown, "made": is_new, "identity": identity, "rights": rights, "text": text}


def _schema(place: SqlPlace) -> str | None:
    """MariaDB's databases are its schemas, and a right there is given by name."""
    return place.schema or (place.url.database if place.url.get_backend_name() == "mysql" else None)


def _quote(place: SqlPlace) -> Any:
    return place.url.get_dialect()().identifier_preparer.quote


def _nothing(shown: str, text: str) -> dict[str, Any]:
    return {"ledger": shown, "made": False, "identity": None, "rights": [], "text": text}


def _topics(place: KafkaPlace) -> str:
    place.ledger()
    from foreachonce.kafka.topic import SETTINGS

    settings = ", ".join(f"{name}={value}" for name, value in SETTINGS.items())
    return (
        f"Nothing is to be made: a stream's first run makes its ledger topic, {place.prefix}<stream>. Where its user may "
        f"not, make it with one partition and {settings}. The ACLs are in docs/guarantees.md, Kafka."
    )


def _write_file(entries: Iterable[Entry], file: Path) -> int:
    """Write beside the file, and put it into its place when it is whole; a pipe or a device is written as it is."""
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
    """A line for each entry; an array has a comma between two, and brackets around all."""
    count = 0
    for count, entry in enumerate(entries, 1):
        start = ("[" if count == 1 else ",") if as_array else ""
        file.write(f"{start}{json.dumps(entry.to_fields() | {'rows': entry.rows})}\n")
    if as_array:
        file.write("]\n" if count else "[]\n")
    return count


def _reads_files(entry: Entry | None) -> bool:
    return entry is not None and any(log_pointer(span.end) is not None for span in entry.position.sources.values())


def _age(text: str) -> timedelta:
    found = re.fullmatch(r"(\d{1,6})([mhdw])", text)
    if found is None:
        raise ConfigurationError(f"--older-than {text!r} is no age; say 90d, 12h, 30m or 4w.")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})
