"""``foreachonce report``: one page of a stream, with its plots, and nothing from elsewhere."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated

import typer

from foreachonce.cli import output
from foreachonce.cli.opening import require_stream
from foreachonce.cli.options import Shared, Stream
from foreachonce.cli.page.events import read
from foreachonce.cli.page.html import page
from foreachonce.cli.page.story import story
from foreachonce.cli.words import plural
from foreachonce.entry import versions
from foreachonce.errors import ConfigurationError


def report(
    stream: Stream,
    shared: Shared,
    html: Annotated[Path, typer.Option("--html", metavar="FILE", show_default=False, help="The page to write.")],
    events: Annotated[
        Path | None,
        typer.Option(metavar="FILE", exists=True, dir_okay=False, help="The library's logged events, as JSON lines."),
    ] = None,
) -> None:
    """Write one page about a stream: its chain, rows and times as plots, and everything that happened to it marked.

    Ends with 1 where the chain is broken; the page is written all the same.
    """
    logged = [] if events is None else list(read(events, stream))
    address = shared.address
    with shared.opened() as view:
        require_stream(view, address, stream)
        told = story(stream, view.entries(stream), logged)
    text = page(told, ledger=address.shown, now=datetime.now(timezone.utc), versions=versions())
    if html.is_dir():
        raise ConfigurationError(f"--html {str(html)!r} is a folder; name a file.")
    html.write_text(text, encoding="utf-8")
    proof = told.proof
    if shared.as_json:
        found = {"proven": proof.is_proven, "entries": proof.entries, "rows": proof.rows, "marks": len(told.happenings)}
        output.give({"stream": stream, "ledger": address.shown, "html": str(html), "bytes": len(text.encode())} | found)
    else:
        if events is not None and not logged:
            output.say(f"{events} holds no event of {stream}.")
        output.say(f"{html} tells of {plural(proof.entries, 'entry', 'entries')} of {stream}. {next(proof.lines())}")
    raise typer.Exit(0 if proof.is_proven else 1)
