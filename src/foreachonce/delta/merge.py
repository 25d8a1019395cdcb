"""The clauses of a MERGE by key. Pure.

``source`` is the batch, with each key once; ``target`` is the table.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from foreachonce.delta.place import shown
from foreachonce.delta.table import KEEP, UPDATE, Target, names_target
from foreachonce.errors import DuplicateKeys, ForeachOnceError, WriteFailed
from foreachonce.spark.frames import backticked


class Clause(NamedTuple):
    """One WHEN … THEN of a MERGE."""

    action: Literal["delete", "update", "insert"]
    condition: str | None


def on(target: Target) -> str:
    """When a row of the batch is about a row of the table."""
    return " AND ".join(f"target.{name} = source.{name}" for name in map(backticked, target.key))


def clauses(target: Target, columns: Sequence[str], existing: Sequence[str]) -> Iterator[Clause]:
    """The clauses in order: a row that is to be deleted is not updated.

    Args:
        target: what the user asked for.
        columns: the frame's columns.
        existing: the table's columns.
    """
    if target.delete_when is not None:
        yield Clause("delete", target.delete_when)
    if target.when_matched != KEEP:
        conditions = [] if target.when_matched == UPDATE else [f"({target.when_matched})"]
        if target.skip_unchanged:
            conditions.append(differs(target, columns, existing))
        yield Clause("update", " AND ".join(conditions) or None)
    yield Clause("insert", stays(target))


def stays(target: Target) -> str | None:
    """When a row of the batch is inserted that the table does not have; None for always."""
    if target.delete_when is None or names_target(target.delete_when):
        return None
    return f"({target.delete_when}) IS NOT TRUE"


def differs(target: Target, columns: Sequence[str], existing: Sequence[str]) -> str:
    """When a row would not be as it is; a column that the table gets by this batch is NULL in its rows so far."""
    there = {name.lower() for name in existing}
    values = [name for name in columns if name.lower() not in {key.lower() for key in target.key}]
    parts = [
        f"NOT (source.{backticked(name)} <=> target.{backticked(name)})"
        if name.lower() in there
        else f"source.{backticked(name)} IS NOT NULL"
        for name in values
    ]
    return f"({' OR '.join(parts)})" if parts else "false"


def refused_key(target: Target, key: str, count: int) -> ForeachOnceError:
    """What to tell of a key, given as JSON, that comes ``count`` times in a batch or holds NULL."""
    where, name = f"table {shown(target.place)}", f"key=({', '.join(target.key)})"
    if None in json.loads(key).values():
        return WriteFailed(
            f"{where}: {name} holds NULL in this batch, in {key}, which equals no other NULL; filter such rows out, or "
            "choose another key=. Nothing was written."
        )
    why = "order_by= leaves ties" if target.order_by else "order_by= can say which row wins"
    return DuplicateKeys(
        f"{where}: this batch holds the same {name} more than once, among them {key} ({count} times); {why}. Nothing was "
        "written."
    )
