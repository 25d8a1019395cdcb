"""Print text and tables for people, or one JSON value, on stdout; errors on stderr."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

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
