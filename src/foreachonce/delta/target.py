"""Which Delta table a sink writes, and how; checked when the sink is made. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from foreachonce.errors import ConfigurationError

Mode = Literal["append", "merge"]
UPDATE, KEEP = "update", "keep"
_NAME = re.compile(r"(\w+|`[^`]+`)(\.(\w+|`[^`]+`)){0,2}")


def is_path(place: str) -> bool:
    """Whether a place is a path rather than a table's name."""
    return "/" in place


def check_place(place: object) -> str:
    """A path in its shortest form, or a table's name.

    Raises:
        ConfigurationError: it is neither.
    """
    if not isinstance(place, str) or not (is_path(place) or _NAME.fullmatch(place)):
        raise ConfigurationError(
            f"path_or_table={place!r} must be a path such as '/data/orders' or 's3a://bucket/orders', or a table's name such"
            " as 'shop.orders'."
        )
    quoted = re.fullmatch(r"(?i)delta\.`(.+)`", place)
    bare = quoted[1] if quoted else place
    return re.sub(r"(?<![:/])/{2,}", "/", bare).rstrip("/") or "/" if is_path(bare) else bare


def shown(place: str) -> str:
    """The place without a password or a signature."""
    bare = re.sub(r"[?#].*", "?…", place, flags=re.DOTALL)
    return re.sub(r"(//[^/@:]*):[^/@]*@", r"\1:***@", bare)


@dataclass(frozen=True, slots=True)
class DeltaTarget:
    """A Delta table and how rows are written to it; the fields are :class:`~foreachonce.DeltaSink`'s keywords.

    Args:
        place: the table's path or name, as :func:`check_place` returns it.
    """

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


def check_target(target: DeltaTarget) -> None:
    """Refuse keywords that contradict each other.

    Raises:
        ConfigurationError: naming the keyword.
    """
    if target.mode == "append":
        _refuse_merge_keywords(target)
    elif not target.key:
        raise ConfigurationError("mode='merge' needs key=, the column or columns that identify a row.")
    if target.skip_unchanged and target.when_matched == KEEP:
        raise ConfigurationError("skip_unchanged=True does not go with when_matched='keep', which changes no row.")
    if both := set(target.order_by) & set(target.key):
        raise ConfigurationError(f"order_by={both.pop()!r} is in key= too: all rows with the same key have the same value.")


def _refuse_merge_keywords(target: DeltaTarget) -> None:
    for keyword, value, default in (
        ("key", target.key, ()),
        ("order_by", target.order_by, ()),
        ("when_matched", target.when_matched, UPDATE),
        ("delete_when", target.delete_when, None),
        ("skip_unchanged", target.skip_unchanged, False),
    ):
        if value != default:
            raise ConfigurationError(f"{keyword}={value!r} belongs to mode='merge'; append adds rows as they are.")
