"""``foreachonce report``: one page of a stream, with its plots, and nothing from elsewhere."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated

import typer

from foreachonce.cli import output
from foreachonce.cli.options import Shared, Stream, require_stream
from foreachonce.cli.output import plural
from foreachonce.cli.timeline import gather, read
from foreachonce.entry import versions
from foreachonce.errors import ConfigurationError


def report(
    stream: Stream,
    shared: Shared,
    html: Annotated[Path, typer.Option(metavar="FILE", dir_okay=False, show_default=False, help="The page to write.")],
    events: Annotated[
        typer.FileText | None,
        typer.Option(metavar="FILE", encoding="utf-8", help="The library's logged events, as JSON lines."),
    ] = None,
) -> None:
    """Write one page about a stream: its chain, rows and times as plots, and everything that happened to it marked.

    Needs the extra "report". Ends with 1 where the chain is broken; the page is written all the same.
    """
    try:
        from foreachonce.cli.page import page
    except ModuleNotFoundError as error:
        raise ConfigurationError(f"the page needs Bokeh and Jinja2: pip install 'foreachonce[report]' ({error}).") from None
    logged = list(read(events or (), stream))
    address = shared.address
    with shared.opened() as view:
        require_stream(view, address, stream)
        story = gather(stream, view.entries(stream), logged)
    text = page(story, ledger=address.shown, now=datetime.now(timezone.utc), versions=versions())
    html.write_text(text, encoding="utf-8")
    proof = story.proof
    if shared.as_json:
        counts = {"proven": proof.is_proven, "entries": proof.entries, "rows": proof.rows, "marks": len(story.happenings)}
        output.give({"stream": stream, "ledger": address.shown, "html": str(html), "bytes": len(text.encode())} | counts)
    else:
        if events is not None and not logged:
            output.say(f"{events.name} holds no event of {stream}.")
        output.say(f"{html} tells of {plural(proof.entries, 'entry', 'entries')} of {stream}. {next(proof.lines())}")
    raise typer.Exit(0 if proof.is_proven else 1)
