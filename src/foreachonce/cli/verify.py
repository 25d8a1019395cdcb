"""``foreachonce verify``: the chain proven from its first entry to its head, and its rows compared with the table's."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import sqlalchemy as sa
import typer

from foreachonce.chain import Break
from foreachonce.cli import output
from foreachonce.cli.options import Address, Client, Conf, Json, Packages, Prefix, Schema, Stream
from foreachonce.cli.place import PREFIX, DeltaPlace, Place, SqlPlace, place_of
from foreachonce.cli.proof import Proof
from foreachonce.cli.reading import known, opened
from foreachonce.entry import Entry
from foreachonce.errors import ConfigurationError
from foreachonce.ledger import Ledger
from foreachonce.sql.counts import count
from foreachonce.sql.ledger import SqlLedger
from foreachonce.sql.url import shown

NOT_PROVEN = (
    "Not proven by this: that the rows still are in the table as they were written. Whoever else deletes or writes there "
    "leaves no entry."
)
WHY_DIFFERENT = (
    "Where the stream only appends, and nobody else writes or deletes there, rows are lost or doubled. A merge, changes, an "
    "overwrite, another writer, and other tables of one transaction (name each by --table) make them differ without harm."
)
EQUAL = "Equal counts do not prove equal rows."


@dataclass(frozen=True)
class Compared:
    """The entries' rows against the table's; ``counted`` is None where nobody counted, and ``why`` says why."""

    entered: int
    counted: int | None
    is_partial: bool
    why: str = ""

    @property
    def is_well(self) -> bool:
        """Whether the counts allow that all is well: entries that are gone may have brought more rows."""
        if self.counted is None:
            return True
        return self.counted >= self.entered if self.is_partial else self.counted == self.entered

    @property
    def text(self) -> str:
        """In words."""
        if self.counted is None:
            return self.why
        found = f"Rows: {self.entered:,} by the entries, {self.counted:,} in the table"
        if not self.is_well:
            return f"{found}. {WHY_DIFFERENT}"
        if self.is_partial:
            return f"{found}; no more can be told, for not all batches tell their rows, or some of their entries are gone."
        return f"{found}. {EQUAL}"


def verify(
    stream: Stream,
    ledger: Address,
    table: Annotated[
        list[str] | None,
        typer.Option(help="A database's: compare the entries' rows with this table's; repeat it for several."),
    ] = None,
    schema: Annotated[str | None, typer.Option(help="The tables' schema.")] = None,
    count_rows: Annotated[
        bool, typer.Option("--count", help="Delta's: compare the entries' rows with the table's; it takes Spark.")
    ] = False,
    ledger_schema: Schema = None,
    ledger_prefix: Prefix = PREFIX,
    client: Client = None,
    packages: Packages = None,
    conf: Conf = None,
    as_json: Json = False,
) -> None:
    """Prove a stream's chain: no gap, no overlap, from its first entry to the head.

    Ends with 0 where it is proven, 1 where it is broken, or the rows differ.
    """
    place = place_of(ledger, ledger_schema, ledger_prefix, client or ())
    _check(place, table, count_rows)
    proof = Proof()
    with opened(place, packages, conf, with_spark=count_rows) as view:
        known(view, place, stream)
        names = [(schema, name) for name in table or ()]
        _refuse_unknown_tables(view, names)
        deque(proof.watch(view.entries(stream)), maxlen=0)
        begun = view.unfinished(stream)
        compared = _compare(place, view, proof, stream, names, count_rows)
    is_well = proof.is_proven and compared.is_well
    lines = [*proof.lines(), *_begun(begun), compared.text, NOT_PROVEN]
    if as_json:
        output.give(_fields(stream, place, proof, compared, "\n".join(lines)))
    else:
        output.say("\n".join(lines))
    raise typer.Exit(0 if is_well else 1)


def _check(place: Place, table: Sequence[str] | None, count_rows: bool) -> None:
    if table and not isinstance(place, SqlPlace):
        raise ConfigurationError("--table is for a database's ledger; of a Delta table say --count.")
    if count_rows and not isinstance(place, DeltaPlace):
        raise ConfigurationError("--count is for a Delta table; of a database name the table: --table NAME.")


def _refuse_unknown_tables(view: Ledger, names: Sequence[tuple[str | None, str]]) -> None:
    if not isinstance(view, SqlLedger) or not names:
        return
    with view.database.reading(view.url) as connection:
        there = sa.inspect(connection)
        missing = [f"{name!r}" if place is None else f"{name!r} in schema {place!r}" for place, name in names
                   if not there.has_table(name, schema=place)]  # fmt: skip
    if missing:
        raise ConfigurationError(f"--table: {shown(view.url)} has no table {', '.join(missing)}; --schema names its schema.")


def _compare(
    place: Place, view: Ledger, proof: Proof, stream: str, names: Sequence[tuple[str | None, str]], count_rows: bool
) -> Compared:
    is_partial = not proof.is_whole or proof.uncounted > 0
    if isinstance(view, SqlLedger) and names:
        with view.database.reading(view.url) as connection:
            counts = count(connection, view.schema, stream, names)
        return Compared(counts.entered, sum(counts.tables), is_partial)
    if isinstance(place, DeltaPlace) and count_rows:
        return Compared(proof.rows, _rows_of(place.place), is_partial)
    options = {SqlPlace: " (--table NAME compares them)", DeltaPlace: " (--count compares them)"}
    why = f"The rows were not compared with the table's{options.get(type(place), '')}."
    return Compared(proof.rows, None, is_partial, why)


def _rows_of(place: str) -> int:
    from foreachonce.delta.spark import rows_of

    return rows_of(place)


def _begun(entry: Entry | None) -> list[str]:
    if entry is None:
        return []
    return [f"Batch {entry.batch_id} of query {entry.query_id} was begun and is not finished: the chain lacks it yet."]


def _fields(stream: str, place: Place, proof: Proof, compared: Compared, text: str) -> dict[str, Any]:
    ends = {"first_seq": proof.first, "last_seq": proof.last}
    return {
        "stream": stream,
        "ledger": place.shown,
        "proven": proof.is_proven,
        "entries": proof.entries,
        "rows": proof.rows,
        "uncounted": proof.uncounted,
        "repairs": proof.repairs,
        **{name: None if entry is None else entry.seq for name, entry in ends.items()},
        "forced": [entry.seq for entry in proof.forced],
        "breaks": [_break(each) for each in proof.breaks],
        "counts": {"entries": compared.entered, "table": compared.counted, "well": compared.is_well},
        "text": text,
    }


def _break(found: Break) -> dict[str, Any]:
    return {"found": found.what, "before": found.before.to_fields(), "after": found.after.to_fields()}
