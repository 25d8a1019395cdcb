"""What a sink is told about its table, checked when the sink is made. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from foreachonce.delta.place import shown
from foreachonce.errors import ConfigurationError, FrameError

Mode = Literal["append", "merge"]
UPDATE, KEEP = "update", "keep"


@dataclass(frozen=True, slots=True)
class Target:
    """A Delta table and how rows come into it; see :class:`~foreachonce.DeltaSink`."""

    place: str
    mode: Mode = "append"
    key: tuple[str, ...] = ()
    order_by: tuple[str, ...] = ()
    partition_by: tuple[str, ...] = ()
    merge_schema: bool = False
    when_matched: str = UPDATE
    delete_when: str | None = None
    skip_unchanged: bool = False

    def __str__(self) -> str:
        how = f"{self.mode} by ({', '.join(self.key)})" if self.key else self.mode
        return f"Delta table {shown(self.place)}, {how}"


def check_target(target: Target) -> None:
    """Refuse keywords that contradict each other.

    Raises:
        ConfigurationError: naming the keyword.
    """
    if target.mode == "merge" and not target.key:
        raise ConfigurationError("mode='merge' needs key=, the column or columns that tell rows apart.")
    if target.mode == "append":
        for keyword, value, default in (
            ("key", target.key, ()),
            ("order_by", target.order_by, ()),
            ("when_matched", target.when_matched, UPDATE),
            ("delete_when", target.delete_when, None),
            ("skip_unchanged", target.skip_unchanged, False),
        ):
            if value != default:
                raise ConfigurationError(f"{keyword}={value!r} belongs to mode='merge'; append adds rows as they are.")
    if target.skip_unchanged and target.when_matched == KEEP:
        raise ConfigurationError("skip_unchanged=True does not go with when_matched='keep', which changes no row.")
    for keyword, names in (("order_by", target.order_by), ("partition_by", target.partition_by)):
        if keyword == "order_by" and (both := set(names) & set(target.key)):
            raise ConfigurationError(f"order_by={both.pop()!r} is in key= too: it is the same in all rows of a key.")


def check_columns(target: Target, columns: Sequence[str], existing: Sequence[str]) -> None:
    """Refuse a frame that lacks a key, or whose columns are not the table's: MERGE would drop some without a word.

    Args:
        target: what the user asked for.
        columns: the frame's.
        existing: the table's; empty where there is no table.

    Raises:
        FrameError: naming the columns.
    """
    where, names = f"table {shown(target.place)}", {name.lower() for name in columns}
    for keyword, wanted in (("key", target.key), ("order_by", target.order_by)):
        missing = [name for name in wanted if name.lower() not in names]
        if missing:
            raise FrameError(f"{where}: the frame lacks {keyword}={missing}; it has {list(columns)}. Nothing was written.")
    extra = [name for name in columns if name.lower() not in {column.lower() for column in existing}]
    if existing and extra and not target.merge_schema:
        raise FrameError(
            f"{where}: it lacks the frame's columns {extra}; drop them from the frame, or give the sink merge_schema=True "
            "to add them. Nothing was written."
        )
    lacking = [name for name in existing if name.lower() not in names]
    if lacking and target.mode == "merge" and not target.merge_schema:
        raise FrameError(
            f"{where}: the frame lacks the table's columns {lacking}; add them to the frame, or give the sink "
            "merge_schema=True, which leaves them as they are. Nothing was written."
        )


def names_target(condition: str) -> bool:
    """Whether a SQL condition speaks of the target's columns, which a new row does not have."""
    return re.search(r"(?i)(?<![\w.`'])`?target`?\s*\.", condition) is not None
