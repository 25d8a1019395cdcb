"""Arrow batches into a table of PostgreSQL: by COPY in its binary form, or by INSERT where COPY cannot.

COPY knows no casts, no views and no row-level security. There a statement brings each Arrow batch: its parameters are the
columns, each as one array, and a column whose type has no binary form here travels as text and is cast by the server. Both
lock the table to the end of the transaction, so nobody can alter it meanwhile, and need the privilege to insert alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy.engine import Connection
from sqlalchemy.sql.expression import TableClause

from foreachonce.spark.frames import Counted, each_in_background, is_text, peeked
from foreachonce.sql.databases.binary import HEADER, TRAILER, Arrays, Encoder, Field, PgType, field_of, literals, text
from foreachonce.sql.guard import refuse_fewer

if TYPE_CHECKING:
    import psycopg
    import pyarrow as pa
    from psycopg.pq.abc import PGresult

_TEXT = PgType("text", 25)
# What a column travels as where its own type has no binary form, by Arrow's name for it.
_CARRIERS = {
    "int8": PgType("int2", 21), "int16": PgType("int2", 21), "int32": PgType("int4", 23), "int64": PgType("int8", 20),
    "float": PgType("float4", 700), "double": PgType("float8", 701), "bool": PgType("bool", 16),
}  # fmt: skip
# A domain is taken by the receive function of its base type; the server checks its constraints.
_TYPES = """
    with recursive types as (
        select oid as given, oid, typname, typtype, typcategory, typelem, typbasetype from pg_catalog.pg_type
        where oid = any(%s)
        union all
        select types.given, t.oid, t.typname, t.typtype, t.typcategory, t.typelem, t.typbasetype
        from types join pg_catalog.pg_type t on t.oid = types.typbasetype where types.typtype = 'd'
    )
    select given, oid, case typtype when 'e' then 'enum' else typname end, case typcategory when 'A' then typelem else 0 end,
        (select format('%%I.%%I', n.nspname, own.typname) from pg_catalog.pg_type own
         join pg_catalog.pg_namespace n on n.oid = own.typnamespace where own.oid = types.given)
    from types where typtype <> 'd'
"""
# Whether COPY brings rows as INSERT does; it passes by rules.
_IS_PLAIN = """
    select relkind in ('r', 'p', 'f') and not row_security_active(oid) and not relhasrules
    from pg_catalog.pg_class where oid = %s::regclass
"""


@dataclass(frozen=True, slots=True)
class _Column:
    """How a column's values travel.

    Args:
        name: the column's.
        copied: for COPY; None where its type has no binary form here.
        inserted: for INSERT.
        carrier: the type that they have there.
        cast: the type that INSERT casts them to, quoted; None where they are of the column's type, or assigned to it.
    """

    name: str
    copied: Field | None
    inserted: Field
    carrier: PgType
    cast: str | None


def load(connection: Connection, table: TableClause, columns: Sequence[str], batches: Iterable[pa.RecordBatch]) -> int:
    """Bring the batches into the table, and return the number of rows.

    Raises:
        WriteFailed: PostgreSQL has no form for a value, or the table leaves rows out.
    """
    first, batches = peeked(batches)
    if first is None:
        return 0
    loader = _Loader(connection, table, columns, first.schema)
    counted = Counted(batches)
    taken = loader.copy(counted) if loader.may_copy() else loader.insert(counted)
    refuse_fewer(table.fullname, taken, counted.rows)
    return counted.rows


def plain(quoted: str) -> str:
    """Quoted names for a statement that SQLAlchemy does not send: it doubles percent signs for those that it does."""
    return quoted.replace("%%", "%")


class _Loader:
    def __init__(self, connection: Connection, table: TableClause, columns: Sequence[str], schema: pa.Schema) -> None:
        quote = connection.dialect.identifier_preparer
        names = ", ".join(map(quote.quote_identifier, columns))
        self._table = plain(quote.format_table(table))
        self._name, self._into = table.name, f"{self._table} ({plain(names)})"
        driver: Any = connection.connection.driver_connection
        self._driver: psycopg.Connection[Any] = driver
        types = _types(driver, _parameters(driver, self._into, len(columns)))
        self._columns = [_column(*each) for each in zip(columns, types, schema.types, strict=True)]

    def may_copy(self) -> bool:
        """Whether every value has a binary form, and COPY takes the table."""
        if any(column.copied is None for column in self._columns):
            return False
        return bool(self._driver.execute(_IS_PLAIN, [self._table]).fetchone()[0])  # type: ignore[index]

    def copy(self, batches: Iterable[pa.RecordBatch]) -> int:
        """Send the rows by COPY; return how many the table took."""
        encoder = Encoder(self._name, [(each.name, each.copied) for each in self._columns if each.copied])
        statement = f"COPY {self._into} FROM STDIN (FORMAT binary)"
        with self._driver.cursor() as cursor:
            with cursor.copy(statement) as copy:
                copy.write(HEADER)
                each_in_background(lambda batch: copy.write(encoder.rows(batch)), batches)
                copy.write(TRAILER)
            return cursor.rowcount

    def insert(self, batches: Iterable[pa.RecordBatch]) -> int:
        """Send each batch as the parameters of a statement; return how many rows the table took."""
        places = range(1, len(self._columns) + 1)
        values = [
            f"c{place}" if column.cast is None else f"CAST(c{place} AS {column.cast})"
            for place, column in zip(places, self._columns, strict=True)
        ]
        arrays, names = ", ".join(f"${place}" for place in places), ", ".join(f"c{place}" for place in places)
        rows = f"SELECT {', '.join(values)} FROM unnest({arrays}) AS batch({names})"  # noqa: S608 - quoted names
        encoder = Encoder(self._name, [(each.name, Arrays(each.carrier.oid, each.inserted)) for each in self._columns])
        types = [_array_of(self._driver, each.carrier) for each in self._columns]
        statement = f"INSERT INTO {self._into} {rows}"
        return sum(_run(self._driver, statement, encoder.arrays(batch), types) for batch in batches)


def _column(name: str, known: _Known, arrow: pa.DataType) -> _Column:
    copied = None if known.kind is None else field_of(known.kind, arrow)
    if copied is not None and known.kind is not None and known.is_builtin:
        return _Column(name, copied, copied, known.kind, None)
    if is_text(arrow):
        return _Column(name, copied, text, _TEXT, known.cast)
    carrier = _CARRIERS.get(str(arrow))
    inserted = None if carrier is None else field_of(carrier, arrow)
    if carrier is None or inserted is None:
        return _Column(name, copied, literals, _TEXT, known.cast)
    return _Column(name, copied, inserted, carrier, None)


class _Known(NamedTuple):
    """What is known of a column's type: itself, its quoted name, and whether it is a plain type of the server's own."""

    kind: PgType | None
    cast: str
    is_builtin: bool


def _types(driver: psycopg.Connection[Any], oids: Sequence[int]) -> list[_Known]:
    known = {oid: _builtin(driver, oid) for oid in oids}
    missing = [oid for oid, each in known.items() if each is None]
    if missing:
        own = {row[0]: row[1:] for row in driver.execute(_TYPES, [missing])}
        known |= {oid: _own(driver, *own[oid]) for oid in missing}
    return [each for oid in oids if (each := known[oid]) is not None]


def _builtin(driver: psycopg.Connection[Any], oid: int) -> _Known | None:
    info = driver.adapters.types.get(oid)
    if info is None:
        return None
    kind = PgType(info.name, info.oid)
    # psycopg finds an array under the name of its elements' type.
    if info.oid != oid:
        return _Known(PgType("array", oid, kind), f'pg_catalog."_{info.name}"', is_builtin=False)
    return _Known(kind, f'pg_catalog."{info.name}"', is_builtin=True)


def _own(driver: psycopg.Connection[Any], oid: int, name: str, element: int, cast: str) -> _Known:
    """A type of the user's or of an extension: an enum, a domain, or one that the server alone can read."""
    if element:
        (inner,) = _types(driver, [element])
        return _Known(None if inner.kind is None else PgType("array", oid, inner.kind), cast, is_builtin=False)
    return _Known(PgType(name, oid), cast, is_builtin=False)


def _parameters(driver: psycopg.Connection[Any], into: str, columns: int) -> list[int]:
    """The numbers of the columns' types, from an INSERT's parameters: so the privilege to insert is enough."""
    values = ", ".join(map("${}".format, range(1, columns + 1)))
    statement = f"INSERT INTO {into} VALUES ({values})"  # noqa: S608 - quoted names
    prepared = driver.pgconn.prepare(b"", statement.encode(driver.info.encoding))
    described = driver.pgconn.describe_prepared(b"")
    for result in (prepared, described):
        _refuse_failed(driver, result)
    return [described.param_type(number) for number in range(columns)]


def _array_of(driver: psycopg.Connection[Any], kind: PgType) -> int:
    info = driver.adapters.types[kind.oid]
    return info.array_oid


def _run(driver: psycopg.Connection[Any], statement: str, parameters: Sequence[bytes], types: Sequence[int]) -> int:
    from psycopg import pq

    formats = [pq.Format.BINARY] * len(parameters)
    result = driver.pgconn.exec_params(statement.encode(driver.info.encoding), parameters, types, formats)
    _refuse_failed(driver, result)
    return result.command_tuples or 0


def _refuse_failed(driver: psycopg.Connection[Any], result: PGresult) -> None:
    from psycopg import errors, pq

    if result.status == pq.ExecStatus.FATAL_ERROR:
        raise errors.error_from_result(result, driver.info.encoding)
