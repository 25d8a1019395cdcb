"""Where a Delta table is: a path or a table's name, without the secrets in either. Pure."""

from __future__ import annotations

import re
from hashlib import sha256

from foreachonce.errors import ConfigurationError

# VACUUM leaves folders with a leading underscore alone: DeltaTableUtils.isHiddenDirectory in DeltaTable.scala.
COPIES = "_foreachonce"
_NAME = re.compile(r"(\w+|`[^`]+`)(\.(\w+|`[^`]+`)){0,2}")


def is_path(place: str) -> bool:
    """Whether a place is a path rather than a table's name."""
    return "/" in place


def check_place(place: object) -> str:
    """A path or a table's name, a path always in the same form; anything else is refused.

    Raises:
        ConfigurationError: saying what would do.
    """
    if not isinstance(place, str) or not (is_path(place) or _NAME.fullmatch(place)):
        raise ConfigurationError(
            f"path_or_table={place!r} must be a path such as '/data/orders' or 's3a://bucket/orders', or a table's name such"
            " as 'shop.orders'."
        )
    named = re.fullmatch(r"(?i)delta\.`(.+)`", place)
    bare = named[1] if named else place
    return re.sub(r"(?<![:/])/{2,}", "/", bare).rstrip("/") or "/" if is_path(bare) else bare


def shown(place: str) -> str:
    """The place without a password or a signature."""
    bare = re.sub(r"[?#].*", "?…", place, flags=re.DOTALL)
    return re.sub(r"(//[^/@:]*):[^/@]*@", r"\1:***@", bare)


def copies_folder(stream: str) -> str:
    """The folder of a stream's copies, below the table's."""
    return f"{COPIES}/{sha256(stream.encode()).hexdigest()[:32]}"
