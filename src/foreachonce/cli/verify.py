"""``foreachonce verify``: prove a chain from its first entry to its head, and compare its rows with the table's."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import typer

from foreachonce.address import LedgerAddress, TableName
from foreachonce.chain import Break
from foreachonce.cli import output
from foreachonce.cli.options import Shared, Stream, require_stream
from foreachonce.cli.output import entry_fields
from foreachonce.cli.timeline import Proof
from foreachonce.entry import Entry
from foreachonce.errors import ConfigurationError

NOT_PROVEN = "Not proven: that the table still holds the rows as they were written. Other deletes and writes leave no entry."
WHY_DIFFERENT = (
    "If the stream only appends, and nothing else writes or deletes there, rows are lost or duplicated. These make the "
    "counts differ without harm: rows from before the stream (say --baseline), another writer, other tables of one "
    "transaction (name each by --table)."
)
WHY_MORE = (
    "A merge leaves at most as many rows as its entries brought, so something else has written here: rows from before the "
    "stream (say --baseline), or another writer."
)
MERGED = "That is possible for a merge, which updates rows of the same key; which rows they are is not proven."
MODES = ("append", "merge", "changes", "overwrite")
EQUAL = "Equal counts do not prove equal rows."


@dataclass(frozen=True)
class Comparison:
    """Rows by the entries, against the table's.

    Args:
        entries: rows by the entries.
        table: rows in the table; None where they were not counted.
        is_partial: whether entries that are gone, or have no row count, may have brought more rows.
        why: why they were not counted.
        mode: how the rows were written, as ``JdbcSink``'s keyword.
        baseline: how many rows the table had before the stream's first.
    """

    entries: int
    table: int | None
    is_partial: bool
    why: str = ""
    mode: str = "append"
    baseline: int = 0

    @property
    def is_well(self) -> bool:
        """Whether the counts agree, as far as they can be compared."""
        if self.table is None:
            return True
        most = self.entries + self.baseline
        if self.mode in ("merge", "changes"):
            return self.is_partial or self.table <= most
        return self.table >= most if self.is_partial else self.table == most

    @property
    def text(self) -> str:
        """The comparison in words."""
        if self.table is None:
            return self.why
        before = f" and {self.baseline:,} before them" if self.baseline else ""
        by = "the newest entry" if self.mode == "overwrite" else "the entries"
        how = "" if self.mode == "append" else f" ({self.mode})"
        counts = f"Rows: {self.entries:,} by {by}{before}, {self.table:,} in the table{how}"
        if not self.is_well:
            return f"{counts}. {WHY_MORE if self.mode in ('merge', 'changes') else WHY_DIFFERENT}"
        if self.is_partial:
            return f"{counts}; no more can be told, since some batches have no row count or some entries are gone."
        return f"{counts}. {MERGED if self.mode in ('merge', 'changes') else EQUAL}"


def verify(
    stream: Stream,
    shared: Shared,
    table: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="For a database: compare the entries' rows with this table's; repeatable."),
    ] = None,
    schema: Annotated[str | None, typer.Option(metavar="NAME", help="The tables' schema.")] = None,
    count: Annotated[
        bool, typer.Option("--count", help="For Delta: compare the entries' rows with the table's; needs Spark.")
    ] = False,
    mode: Annotated[
        str | None, typer.Option(metavar="MODE", help=f"How rows were written: {', '.join(MODES)}; else as its sink says.")
    ] = None,
    baseline: Annotated[
        int, typer.Option(metavar="ROWS", min=0, help="How many rows the table had before the stream's first.")
    ] = 0,
) -> None:
    """Prove a stream's chain: no gap, no overlap, from its first entry to the head.

    Exits with 0 if it is proven, 1 if it is broken or the rows differ.
    """
    address, proof = shared.address, Proof()
    tables = [(schema, name) for name in table or ()]
    _check_count_option(address, tables, count)
    if mode is not None and mode not in MODES:
        raise ConfigurationError(f"--mode {mode} is not known; it is one of {', '.join(MODES)}.")
    with shared.opened("count" if count else "read") as ledger:
        require_stream(ledger, address, stream)
        deque(proof.watch(ledger.entries(stream)), maxlen=0)
        unfinished = ledger.unfinished(stream)
        comparison = _compare(address, proof, stream, tables, count)
    if comparison.table is not None:
        comparison = _in_mode(comparison, proof, mode or _mode_of(proof.last), baseline)
    lines = [*proof.lines(), *_unfinished(unfinished), comparison.text, NOT_PROVEN]
    if shared.as_json:
        output.give(_fields(stream, address, proof, comparison, "\n".join(lines)))
    else:
        output.say("\n".join(lines))
    raise typer.Exit(0 if proof.is_proven and comparison.is_well else 1)


def _check_count_option(address: LedgerAddress, tables: Sequence[TableName], count: bool) -> None:
    for option, is_given in (("--table NAME", bool(tables)), ("--count", count)):
        if is_given and option != address.count_option:
            instead = "rows cannot be counted there" if address.count_option is None else f"say {address.count_option}"
            raise ConfigurationError(f"{option.split()[0]} does not fit the ledger {address.shown}; {instead}.")


def _compare(address: LedgerAddress, proof: Proof, stream: str, tables: Sequence[TableName], count: bool) -> Comparison:
    is_partial = not proof.is_whole or proof.uncounted > 0
    if tables or count:
        counts = address.count(stream, tables)
        return Comparison(proof.rows if counts.entries is None else counts.entries, counts.table, is_partial)
    how = "" if address.count_option is None else f" ({address.count_option} compares them)"
    return Comparison(proof.rows, None, is_partial, f"The rows were not compared with the table's{how}.")


def _in_mode(comparison: Comparison, proof: Proof, mode: str, baseline: int) -> Comparison:
    if mode != "overwrite":
        return replace(comparison, mode=mode, baseline=baseline)
    rows = None if proof.last is None else proof.last.rows
    return replace(comparison, mode=mode, entries=rows or 0, is_partial=rows is None)


def _mode_of(entry: Entry | None) -> str:
    """The mode that the sink's description in an entry names; append where it names none, as for several tables."""
    named = re.search(rf", ({'|'.join(MODES)})(?: by \(|:)", "" if entry is None else entry.sink)
    return named[1] if named else "append"


def _unfinished(entry: Entry | None) -> list[str]:
    if entry is None:
        return []
    return [f"Batch {entry.batch_id} of query {entry.query_id} was started and is not finished; it has no entry yet."]


def _fields(stream: str, address: LedgerAddress, proof: Proof, comparison: Comparison, text: str) -> dict[str, Any]:
    ends = {"first_seq": proof.first, "last_seq": proof.last}
    return {
        "stream": stream,
        "ledger": address.shown,
        "proven": proof.is_proven,
        "entries": proof.entries,
        "rows": proof.rows,
        "uncounted": proof.uncounted,
        "repairs": proof.repairs,
        **{name: None if entry is None else entry.seq for name, entry in ends.items()},
        "forced": [entry.seq for entry in proof.forced],
        "breaks": [_break(each) for each in proof.breaks],
        "counts": {"entries": comparison.entries, "table": comparison.table, "well": comparison.is_well}
        | {"mode": comparison.mode, "baseline": comparison.baseline},
        "text": text,
    }


def _break(broken: Break) -> dict[str, Any]:
    return {"found": broken.what, "before": entry_fields(broken.before), "after": entry_fields(broken.after)}
