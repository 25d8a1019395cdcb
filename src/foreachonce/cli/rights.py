"""The rights that a streaming user needs on a ledger, as statements. Pure.

They are those of docs/reference.md, Rights; a test writes with a user who has no others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

RIGHTS = {
    "foreachonce_meta": "SELECT",
    "foreachonce_ledger": "SELECT, INSERT",
    "foreachonce_runs": "SELECT, INSERT",
    # Of @exactly_once(ledger=…) only, but others do no harm by it.
    "foreachonce_intents": "SELECT, INSERT",
}


def grants(user: str, schema: str | None, quote: Callable[[str], str], *, has_schemas: bool) -> Iterator[str]:
    """The statements that give a user what a job needs on the ledger.

    Args:
        user: the user's name.
        schema: where the tables are; None is the connection's default.
        quote: quotes a name as the database does.
        has_schemas: whether a schema has rights of its own, as in PostgreSQL.
    """
    if has_schemas and schema is not None:
        yield f"GRANT USAGE ON SCHEMA {quote(schema)} TO {quote(user)}"
    where = "" if schema is None else f"{quote(schema)}."
    for table, rights in RIGHTS.items():
        yield f"GRANT {rights} ON {where}{table} TO {quote(user)}"
