"""What the commands print: numbers, durations and positions in words; text, tables or one JSON value."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from foreachonce.entry import Entry
from foreachonce.position import Position, SourceSpan, log_pointer

# How many characters of a position or a decision a table shows.
SHOWN = 60


def number(value: float | None) -> str:
    """A number with thousands separators; a dash for None."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:,.1f}"


def duration(seconds: float | None) -> str:
    """A duration in its two largest units; a dash for None."""
    if seconds is None:
        return "-"
    if seconds < 60:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"
    whole = int(seconds)
    for length, unit, shorter, smaller in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= length:
            return f"{whole // length} {unit} {whole % length // shorter} {smaller}"
    return f"{whole} s"


def cut(text: str, most: int) -> str:
    """A text, cut to at most so many characters."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def plural(count: int, one: str, many: str | None = None) -> str:
    """A count with its noun in the right number."""
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"


def decision_text(entry: Entry) -> str:
    """An entry's decision, and how many of its Kafka transactions are committed where some are missing."""
    return str(entry.decision) if entry.parts is None else f"{entry.decision}; {entry.parts}"


def entry_fields(entry: Entry) -> dict[str, Any]:
    """An entry as JSON shows it, without its rows."""
    return entry.to_fields() | {"decision": decision_text(entry)}


def short(position: Position, most: int = SHOWN) -> str:
    """Where a batch starts and ends, cut to at most so many characters."""
    spans = position.sources
    return cut("; ".join(f"{_label(source, spans)}{_span(span)}" for source, span in spans.items()), most)


def _label(source: str, spans: Mapping[str, SourceSpan]) -> str:
    return f"{source}: " if len(spans) > 1 else ""


def _span(span: SourceSpan) -> str:
    if log_pointer(span.end) is not None:
        return f"log {_or_dash(log_pointer(span.start))} → {log_pointer(span.end)}, {plural(len(span.files), 'file')}"
    topics = _topics(span)
    if topics:
        return ", ".join(topics)
    return f"{_or_dash(span.start)} → {_or_dash(span.end)}"


def _topics(span: SourceSpan) -> list[str]:
    """Each topic of Kafka's offsets, with the partitions that have moved."""
    end, start = json.loads(span.end or "null"), json.loads(span.start or "{}")
    if not isinstance(end, dict) or not end or not all(isinstance(offsets, dict) for offsets in end.values()):
        return []
    return [_topic(topic, start.get(topic, {}), offsets) for topic, offsets in end.items()]


def _topic(topic: str, before: Mapping[str, object], after: Mapping[str, object]) -> str:
    pairs = ((partition, before.get(partition), offset) for partition, offset in after.items())
    moved = [f"{partition}: {_or_dash(start)} → {offset}" for partition, start, offset in pairs if start != offset]
    return f"{topic} {', '.join(moved) or 'unmoved'}"


def _or_dash(value: object) -> str:
    return "-" if value is None else str(value)


# Lines for a file or a pipe are not wrapped.
_WIDE = 1000
Justify = Literal["left", "right"]


def say(text: str) -> None:
    """Print a text as it is."""
    _console().print(text, soft_wrap=True)


def complain(text: str) -> None:
    """Print an error on stderr."""
    Console(stderr=True, highlight=False, markup=False, emoji=False).print(f"foreachonce: {text}", soft_wrap=True)


def give(value: object) -> None:
    """Print one JSON value, in ASCII, which every terminal and pipe can show."""
    print(json.dumps(value))


def table(columns: Mapping[str, Justify], rows: Iterable[Sequence[str]], title: str | None = None) -> None:
    """Print a table, without empty columns; ``columns`` maps each name to its alignment."""
    drawn = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, title_style="bold")
    cells = list(rows)
    filled = [place for place in range(len(columns)) if any(row[place] for row in cells)]
    for name, justify in ([*columns.items()][place] for place in filled):
        drawn.add_column(name, justify=justify, overflow="fold")
    for row in cells:
        drawn.add_row(*(Text(row[place]) for place in filled))
    _console().print(drawn)


def command_line(words: Sequence[str]) -> str:
    """A command to be pasted into a shell."""
    return " ".join(map(shlex.quote, words))


def _console() -> Console:
    console = Console(highlight=False, markup=False, emoji=False)
    return console if console.is_terminal else Console(highlight=False, markup=False, emoji=False, width=_WIDE)
