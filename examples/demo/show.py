"""What the demo shows: bars below a running account on a terminal, plain lines anywhere else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timezone
from types import TracebackType

from killer import Moment
from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Table

from foreachonce import Entry

WIDTH = 110


class Show:
    """The demo's screen. Use it as a context, so that the terminal is left as it was.

    Args:
        sides: the sides' names.
        batches: how many batches each side has before it.
    """

    def __init__(self, sides: Iterable[str], batches: int) -> None:
        self._console = Console(highlight=False, markup=False)
        if not self._console.is_terminal:
            self._console = Console(highlight=False, markup=False, width=WIDTH)
        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description:11}"),
            BarColumn(),
            TextColumn("{task.completed:>2}/{task.total} batches, {task.fields[rows]:>7,} rows, {task.fields[kills]} kills"),
            console=self._console,
            disable=not self._console.is_terminal,
            transient=True,
        )
        self._tasks = {side: self._bars.add_task(side, total=batches, rows=0, kills=0) for side in sides}

    def __enter__(self) -> Show:
        self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bars.stop()

    def say(self, text: str) -> None:
        """Print a line."""
        self._console.print(text, soft_wrap=True)

    def batches(self, side: str, over: int) -> None:
        """Move a side's bar."""
        self._bars.update(self._tasks[side], completed=over)

    def rows(self, side: str, rows: int, kills: int) -> None:
        """Show what was counted for a side."""
        self._bars.update(self._tasks[side], rows=rows, kills=kills)

    def killed(self, side: str, number: int, planned: Moment, landed: Moment, held: int, size: int) -> None:
        """Tell where a kill has landed, and what of its batch was committed by then."""
        batch = f"{landed.batch:>2}" if landed.batch == planned.batch else f"{landed.batch} instead of {planned.batch}"
        when = f"{landed.share:>4.0%} of a usual batch ({landed.usual:.2f} s) after its offsets"
        self.say(f"kill {number}  {side:11}  batch {batch}, {when}: {held:>6,} of {size:,} rows committed")

    def table(self, title: str, columns: Mapping[str, str], rows: Iterable[Sequence[object]]) -> None:
        """Print a table; ``columns`` says how each one is aligned."""
        table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, title_style="bold")
        for name, justify in columns.items():
            table.add_column(name, justify="right" if justify == "right" else "left")
        for row in rows:
            table.add_row(*(f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row))
        self._console.print(table)

    def entries(self, title: str, entries: Iterable[Entry]) -> None:
        """Print ledger entries."""
        columns = {"seq": "right", "batch": "right", "rows": "right", "offsets": "left", "time (UTC)": "left"}
        self.table(title, columns, (_entry(entry) for entry in entries))


def _entry(entry: Entry) -> Sequence[object]:
    offsets = ", ".join(f"{span.start} to {span.end}" for span in entry.position.sources.values())
    time = entry.time.astimezone(timezone.utc)
    batch = "repair" if entry.is_repair else entry.batch_id
    return (entry.seq, batch, entry.rows, offsets, f"{time:%H:%M:%S.%f}"[:-3])
