"""INSERT … SELECT … ON CONFLICT, which PostgreSQL and SQLite have in the same words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.expression import Select, TableClause


def on_conflict(
    insert: postgresql.Insert | sqlite.Insert,
    table: TableClause,
    key: Sequence[str],
    rows: Select[Any],
    *,
    skip_unchanged: bool,
) -> list[UpdateBase]:
    """The dialect's ``insert`` into ``table``, for ``rows``; arguments as for ``Database.upsert``."""
    names = [column.name for column in table.c]
    insert = insert.from_select(names, rows)
    changed = {name: insert.excluded[name] for name in names if name not in key}
    if not changed:
        return [insert.on_conflict_do_nothing(index_elements=list(key))]
    differs = sa.or_(*(table.c[name].is_distinct_from(value) for name, value in changed.items()))
    where = differs if skip_unchanged else None
    return [insert.on_conflict_do_update(index_elements=list(key), set_=changed, where=where)]
