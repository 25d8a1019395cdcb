"""The figures of one run as a table, a plot, and a page."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.rounds import Work

COLUMNS = ("work", "side", "median", "range", "to ours", "goal", "")
PAGE, PLOT = Path("docs/performance.md"), Path("docs/performance.png")
STORE = Path("build/bench/works.json")
# What is below it on the page was written by hand.
NOTES = "<!-- notes -->"
HEAD = """# Performance

The last runs of `make bench`, which measures the sides of each work in turn in one session and compares their medians; a
first round does not count. "To ours" is how many times as much the side takes as foreachonce. Repeat it with `make bench`,
or a part of it with `make bench ARGS="append --rounds 3"`. Ratios move with the machine: what a batch costs is processor
time, and Spark, Python and PostgreSQL share the same cores here.

![](performance.png)

"""


def keep(works: Sequence[Work], console: Console) -> None:
    """Remember a part's figures, unless the machine was busy; what fails later does not lose them."""
    for work in works:
        if work.is_disturbed:
            share = f"{statistics.median(work.load):.0%}"
            console.print(f"[bold]{work.title}: others used {share} of the cores; these figures are shown, and not kept")
    known = {work.title: work for work in (*kept(), *(work for work in works if not work.is_disturbed))}
    STORE.write_text(json.dumps([asdict(work) for work in known.values()], indent=1))


def kept() -> list[Work]:
    """The last figures of every part."""
    return [Work(**each) for each in json.loads(STORE.read_text())] if STORE.exists() else []


def _cells(works: Sequence[Work]) -> Iterator[tuple[str, ...]]:
    for work in works:
        for side, took in work.took.items():
            is_ours = side == work.ours
            ratio = "" if is_ours else f"{work.ratio(side):.2f} x"
            goal, met = "", ""
            if side in work.goals:
                goal = f"{work.goals[side]:.2f} x"
                met = "met" if work.ratio(side) >= work.goals[side] else "missed"
            elif is_ours and work.limit is not None:
                goal = f"{work.limit:g} {work.unit}"
                met = "met" if work.median(side) <= work.limit else "missed"
            spread = f"{min(took):.3g} to {max(took):.3g}"
            yield work.title, side, f"{work.median(side):.3g} {work.unit}", spread, ratio, goal, met


def machine() -> str:
    """What the figures belong to."""
    day = datetime.now(timezone.utc).date()
    return f"{day}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}"


def show(works: Sequence[Work], console: Console) -> None:
    """Print one table."""
    table = Table(title=machine())
    for name in COLUMNS:
        table.add_column(name, justify="left" if name in ("work", "side") else "right")
    for row in _cells(works):
        table.add_row(*row)
    console.print(table)


def page(works: Sequence[Work]) -> str:
    """The same as a page, with the notes that are below its table today."""
    lines = [f"| {' | '.join(COLUMNS)} |", "|---|---|" + "---:|" * (len(COLUMNS) - 2)]
    lines += [f"| {' | '.join(row)} |" for row in _cells(works)]
    rounds = max(len(took) for work in works for took in work.took.values())
    notes = PAGE.read_text().partition(NOTES)[2] if PAGE.exists() else ""
    return f"{HEAD}{machine()}; up to {rounds} rounds.\n\n" + "\n".join(lines) + f"\n\n{NOTES}{notes}"


def plot(works: Sequence[Work], path: Path) -> None:
    """A bar for each side: its median as a multiple of ours."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    compared = [work for work in works if len(work.took) > 1]
    bars = [(work, side) for work in compared for side in work.took if side != work.ours]
    figure, axes = pyplot.subplots(figsize=(9, 0.4 * len(bars) + 1))
    axes.barh([f"{work.title}: {side}" for work, side in bars], [work.ratio(side) for work, side in bars], color="tab:blue")
    axes.axvline(1, color="black", linewidth=1)
    axes.invert_yaxis()
    axes.set_xlabel("times what foreachonce takes (the line)")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
