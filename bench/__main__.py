"""Measure, print one table, and draw it: ``make bench``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console

from bench import append, delta, epochs, expensive, formats, kafka, ledger, mariadb, memory, merge, replay, scale
from bench.place import Bench, session
from bench.report import PAGE, PLOT, keep, kept, page, plot, show
from tests.servers.postgres import database, postgres

WORKS = {
    "append": append,
    "formats": formats,
    "merge": merge,
    "epochs": epochs,
    "expensive": expensive,
    "replay": replay,
    "ledger": ledger,
    "memory": memory,
    "mariadb": mariadb,
    "delta": delta,
    "kafka": kafka,
    "scale": scale,
}


def main() -> None:
    """Run the parts that are asked for, and show them with the last figures of the others."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"any of {', '.join(WORKS)}; all by default")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--save", action="store_true", help=f"write {PAGE} and {PLOT}; else build/bench/performance.*")
    given = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 140)
    with postgres() as server, database(server) as url:
        bench, disturbed = Bench(session(), url), []
        for part in given.parts or WORKS:
            found = WORKS[part].measure(bench, given.rounds, console)
            found = found if isinstance(found, list) else [found]
            keep(found, console)
            disturbed += [work for work in found if work.is_disturbed]
    works = kept()
    show([*works, *disturbed], console)
    if not works:
        return
    place = PAGE if given.save else Path("build/bench") / PAGE.name
    place.write_text(page(works))
    plot(works, place.with_suffix(PLOT.suffix))
    console.print(f"written: {place} and its picture")


if __name__ == "__main__":
    main()
