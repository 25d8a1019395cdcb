"""What an existing table of MariaDB or MySQL must be, beside its columns' types, for a batch to go in whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from foreachonce.errors import FrameError

_ENGINE = sa.text("""
    select t.engine, e.transactions
    from information_schema.tables t left join information_schema.engines e on e.engine = t.engine
    where t.table_schema = coalesce(:schema, database()) and t.table_name = :name
""")
_COLUMNS = sa.text("""
    select column_name, character_set_name, collation_name, extra from information_schema.columns
    where table_schema = coalesce(:schema, database()) and table_name = :name
""")
_INDEXES = sa.text("""
    select index_name, column_name, sub_part from information_schema.statistics
    where table_schema = coalesce(:schema, database()) and table_name = :name and non_unique = 0
    order by index_name, seq_in_index
""")
_WHOLE_UNICODE = "utf8mb4"


@dataclass(frozen=True, slots=True)
class _Column:
    charset: str | None
    collation: str | None
    counts: bool
    """Whether the server numbers the rows by it."""


def check_table(connection: Connection, table: str, schema: str | None, columns: Sequence[str], key: Sequence[str]) -> None:
    """Refuse a table that would keep a part of a batch, or take two rows for one.

    Raises:
        FrameError: naming the table, what was found and what to do.
    """
    place = {"schema": schema, "name": table}
    name = f"{schema}.{table}" if schema else table
    _check_engine(connection, place, name)
    found = {
        row[0]: _Column(row[1], row[2], "auto_increment" in (row[3] or "").lower())
        for row in connection.execute(_COLUMNS, place)
    }
    _check_texts(name, columns, found)
    if key:
        _check_collations(name, key, found)
        _check_indexes(connection, place, name, columns, key, found)


def _check_engine(connection: Connection, place: dict[str, str | None], name: str) -> None:
    row = connection.execute(_ENGINE, place).first()
    engine, transactions = (row[0], row[1]) if row else (None, None)
    if transactions != "YES":
        what = f"has the engine {engine}, which knows no transactions" if engine else "is a view, or has no engine"
        raise FrameError(
            f"table {name} {what}: half a batch could stay in it. It must be InnoDB's: alter table {name} engine=InnoDB."
        )


def _check_texts(name: str, columns: Sequence[str], found: dict[str, _Column]) -> None:
    for column in columns:
        charset = found[column].charset if column in found else None
        if charset not in (None, _WHOLE_UNICODE):
            raise FrameError(
                f"table {name}: column {column!r} has the character set {charset}, which lacks characters that Spark's "
                f"texts may have; alter table {name} convert to character set utf8mb4."
            )


def _check_collations(name: str, key: Sequence[str], found: dict[str, _Column]) -> None:
    for column in key:
        collation = found[column].collation if column in found else None
        if collation is not None and not collation.endswith("_bin"):
            raise FrameError(
                f"table {name}: key column {column!r} has the collation {collation}, which takes texts for equal that Spark "
                "tells apart, such as 'a' and 'A'; give the column a collation that ends in _bin, such as utf8mb4_bin."
            )


def _check_indexes(
    connection: Connection,
    place: dict[str, str | None],
    name: str,
    columns: Sequence[str],
    key: Sequence[str],
    found: dict[str, _Column],
) -> None:
    """ON DUPLICATE KEY UPDATE updates the row that any unique index finds: another one would change a row of another key."""
    indexes: dict[str, list[tuple[str | None, int | None]]] = {}
    for index, column, part in connection.execute(_INDEXES, place):
        indexes.setdefault(index, []).append((column, part))
    if not any(_is_on(parts, key) for parts in indexes.values()):
        raise FrameError(f"table {name} has no unique index on all of key=({', '.join(key)}), only on a part of a column.")
    for index, parts in indexes.items():
        is_numbered = any(column in found and found[column].counts and column not in columns for column, _ in parts)
        if not _is_on(parts, key) and not is_numbered:
            raise FrameError(
                f"table {name} has the unique index {index} beside the one on key=({', '.join(key)}): the database would "
                "update a row of another key that it finds by that. Drop it, or make it an index that is not unique."
            )


def _is_on(parts: list[tuple[str | None, int | None]], key: Sequence[str]) -> bool:
    return {column for column, _ in parts} == set(key) and all(part is None for _, part in parts)
