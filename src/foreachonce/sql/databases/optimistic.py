"""PostgreSQL's MERGE, for many rows at once.

It joins the incoming rows with the table once, where INSERT … ON CONFLICT looks each row's key up in the index and then
again when it inserts: 4.4 seconds against 6.3 for 1.2 million rows of which half are there (docs/decisions/0012). But it
fails with a unique violation where another transaction inserts one of its keys meanwhile, and a hash join may lock rows in
an order that ends in a deadlock. So its caller sets a savepoint, and falls back to ON CONFLICT.

Rows that would stay as they are are left alone, which costs a comparison and spares a new version of the row, an entry in
each index and its WAL. Nobody can tell, where equal values are the same values and the table's changes are not published.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import ClauseElement, Executable, Select, TableClause

# Below, the two ways take the same time, and one statement less is asked of the catalog.
FEWEST_ROWS = 50_000
# Of a table's rows, the share below which the planner may read all of it for rows that the index finds sooner.
SHARE = 10
# Triggers and policies are told other things by the two ways, rules and views know one of them, and 15 has the first MERGE.
_CAN = sa.text("""
    select current_setting('server_version_num')::int >= 150000 and c.relkind in ('r', 'p') and c.reltuples <= :most
        and not c.relhasrules and not c.relrowsecurity
        and not exists (select from pg_trigger as t where t.tgrelid = c.oid and not t.tgisinternal)
    from pg_class as c where c.oid = cast(:place as regclass)
""")
# Types whose equal values are the same. Of floats 0.0 equals -0.0, of numeric without a scale 1.0 equals 1.00, and of citext
# 'a' equals 'A'.
_EXACT = sa.text("""
    select not exists (
        select from pg_attribute as a join pg_type as t on t.oid = a.atttypid
        left join pg_collation as c on c.oid = a.attcollation
        where a.attrelid = cast(:place as regclass) and a.attname = any(:columns) and not (
            t.typname in (
                'int2', 'int4', 'int8', 'bool', 'text', 'varchar', 'date', 'timestamp', 'timestamptz', 'bytea', 'uuid'
            ) and coalesce(c.collisdeterministic, true)
            or t.typname = 'numeric' and a.atttypmod <> -1
        )
    ) and not exists (select from pg_publication_rel where prrelid = cast(:place as regclass))
        and not exists (select from pg_publication where puballtables)
        and not exists (
            select from pg_publication_namespace as p join pg_class as c on c.relnamespace = p.pnnspid
            where c.oid = cast(:place as regclass)
        )
""")


def merge(
    connection: Connection, place: str, table: TableClause, key: Sequence[str], rows: Select[Any], *, skip: bool, count: int
) -> Executable | None:
    """The statement, or None where it would not be faster or not do the same.

    Args:
        connection: to the database.
        place: the table's name, quoted, with its schema.
        table: with the columns that ``rows`` selects.
        key: the names of its key's columns.
        rows: the incoming rows, each key once, in the order of the keys.
        skip: whether a row that would stay as it is has to be left alone.
        count: how many rows come.
    """
    if count < FEWEST_ROWS or not connection.execute(_CAN, {"place": place, "most": count * SHARE}).scalar():
        return None
    columns = [column.name for column in table.c]
    skip = skip or bool(connection.execute(_EXACT, {"place": place, "columns": columns}).scalar())
    return Merge(table, key, rows, skip=skip)


class Merge(Executable, ClauseElement):
    """MERGE INTO … USING …, by key."""

    inherit_cache = False

    def __init__(self, table: TableClause, key: Sequence[str], rows: Select[Any], *, skip: bool) -> None:
        self.table, self.rows = table.alias("kept"), rows.subquery("given")
        self.names = [column.name for column in table.c]
        self.changed = [name for name in self.names if name not in key]
        kept, given = self.table.c, self.rows.c
        self.same = sa.and_(*(kept[name] == given[name] for name in key))
        differs = [kept[name].is_distinct_from(given[name]) for name in self.changed]
        self.differs = sa.or_(*differs) if skip and differs else None


@compiles(Merge, "postgresql")
def _text(merge: Merge, compiler: SQLCompiler, **keywords: Any) -> str:
    def text(element: ClauseElement, **more: Any) -> str:
        return str(compiler.process(element, **keywords, **more))

    quote = compiler.preparer.quote_identifier
    parts = [f"MERGE INTO {text(merge.table, asfrom=True)} USING {text(merge.rows, asfrom=True)} ON {text(merge.same)}"]
    if merge.changed:
        also = "" if merge.differs is None else f" AND ({text(merge.differs)})"
        changes = ", ".join(f"{quote(name)} = {text(merge.rows.c[name])}" for name in merge.changed)
        parts.append(f"WHEN MATCHED{also} THEN UPDATE SET {changes}")
    names, values = ", ".join(map(quote, merge.names)), ", ".join(text(merge.rows.c[name]) for name in merge.names)
    parts.append(f"WHEN NOT MATCHED THEN INSERT ({names}) VALUES ({values})")  # noqa: S608 - quoted names
    return " ".join(parts)
