"""``foreachonce report``: one page of a stream, with its plots, and nothing from elsewhere."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated

import typer

from foreachonce.cli import output
from foreachonce.cli.options import Address, Client, Conf, Json, Packages, Prefix, Schema, Stream
from foreachonce.cli.page.events import read
from foreachonce.cli.page.html import page
from foreachonce.cli.page.story import story
from foreachonce.cli.place import PREFIX, place_of
from foreachonce.cli.reading import known, opened
from foreachonce.cli.words import plural
from foreachonce.entry import versions
from foreachonce.errors import ConfigurationError


def report(
    stream: Stream,
    ledger: Address,
    html: Annotated[Path, typer.Option("--html", metavar="FILE", show_default=False, help="The page to write.")],
    events: Annotated[
        Path | None,
        typer.Option(metavar="FILE", exists=True, dir_okay=False, help="The library's logged events, as JSON lines."),
    ] = None,
    ledger_schema: Schema = None,
    ledger_prefix: Prefix = PREFIX,
    client: Client = None,
    packages: Packages = None,
    conf: Conf = None,
    as_json: Json = False,
) -> None:
    """Write one page about a stream: its chain, rows and times as plots, and everything that happened to it marked.

    Ends with 1 where the chain is broken; the page is written all the same.
    """
    place = place_of(ledger, ledger_schema, ledger_prefix, client or ())
    logged = [] if events is None else list(read(events, stream))
    with opened(place, packages, conf) as view:
        known(view, place, stream)
        told = story(stream, view.entries(stream), logged)
    text = page(told, ledger=place.shown, now=datetime.now(timezone.utc), versions=versions())
    if html.is_dir():
        raise ConfigurationError(f"--html {str(html)!r} is a folder; name a file.")
    html.write_text(text, encoding="utf-8")
    proof = told.proof
    if as_json:
        found = {"proven": proof.is_proven, "entries": proof.entries, "rows": proof.rows, "marks": len(told.happenings)}
        output.give({"stream": stream, "ledger": place.shown, "html": str(html), "bytes": len(text.encode())} | found)
    else:
        if events is not None and not logged:
            output.say(f"{events} holds no event of {stream}.")
        output.say(f"{html} tells of {plural(proof.entries, 'entry', 'entries')} of {stream}. {next(proof.lines())}")
    raise typer.Exit(0 if proof.is_proven else 1)
