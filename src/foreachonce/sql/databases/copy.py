"""COPY out of Arrow batches: binary where every column's type has a form that is known here, else CSV.

pyarrow's CSV writer quotes '' and leaves NULL bare, which COPY tells apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy.engine import Connection
from sqlalchemy.sql.expression import TableClause

from foreachonce.errors import WriteFailed
from foreachonce.sql.arrow import Counted, is_bytes, peeked
from foreachonce.sql.background import each_in_background
from foreachonce.sql.databases.binary import HEADER, TRAILER, encoder

if TYPE_CHECKING:
    import psycopg
    import pyarrow as pa
    from psycopg.pq.abc import PGresult


def load(connection: Connection, table: TableClause, columns: Sequence[str], batches: Iterable[pa.RecordBatch]) -> int:
    """Write the batches into the table, and return the number of rows.

    Raises:
        WriteFailed: a value has no form there, such as an instant of 290,000 years ago.
    """
    first, batches = peeked(batches)
    if first is None:
        return 0
    quote = connection.dialect.identifier_preparer
    into = f"{quote.format_table(table)} ({', '.join(quote.quote_identifier(name) for name in columns)})"
    driver: Any = connection.connection.driver_connection
    # Binary text is taken to be in the client's encoding, whatever the statement says; what Arrow holds is UTF-8.
    is_utf8 = driver.info.encoding == "utf-8"
    binary = encoder(_kinds(driver, into, len(columns)), first.schema) if is_utf8 else None
    counted = Counted(batches)
    statement = f"COPY {into} FROM STDIN (FORMAT {'csv' if binary is None else 'binary'}, ENCODING 'UTF8')"
    with _in_our_words(table), driver.cursor() as cursor, cursor.copy(statement) as copy:
        if binary is None:
            each_in_background(lambda batch: copy.write(_csv(batch)), counted)
        else:
            copy.write(HEADER)
            each_in_background(lambda batch: copy.write(binary(batch)), counted)
            copy.write(TRAILER)
    return counted.rows


@contextmanager
def _in_our_words(table: TableClause) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except pa.ArrowInvalid as error:
        raise WriteFailed(f"table {table.name}: a value of this batch does not fit: {error}. Nothing was written.") from None


def _kinds(driver: psycopg.Connection[Any], into: str, columns: int) -> list[str | None]:
    """The columns' types, as the server takes an INSERT's parameters; None for one that psycopg does not know.

    So they are the server's word, not a reflection's; they need the right to insert only; and the table is locked from here
    to the end of the transaction against who would alter them.
    """
    values = ", ".join(f"${number + 1}" for number in range(columns))
    statement = f"INSERT INTO {into} VALUES ({values})"  # noqa: S608 - quoted names
    _refuse_failure(driver, driver.pgconn.prepare(b"", statement.encode(driver.info.encoding)))
    described = driver.pgconn.describe_prepared(b"")
    _refuse_failure(driver, described)
    return [_name(driver, described.param_type(number)) for number in range(columns)]


def _name(driver: psycopg.Connection[Any], oid: int) -> str | None:
    info = driver.adapters.types.get(oid)
    # An array is found under the name of what it holds.
    return info.name if info is not None and info.oid == oid else None


def _refuse_failure(driver: psycopg.Connection[Any], result: PGresult) -> None:
    from psycopg import errors, pq

    if result.status == pq.ExecStatus.FATAL_ERROR:
        raise errors.error_from_result(result, driver.info.encoding)


def _csv(batch: pa.RecordBatch) -> memoryview:
    import pyarrow as pa
    from pyarrow import csv

    sink = pa.BufferOutputStream()
    plain = pa.RecordBatch.from_arrays([_writable(column) for column in batch.columns], names=batch.schema.names)
    csv.write_csv(plain, sink, csv.WriteOptions(include_header=False))
    return memoryview(sink.getvalue())


def _writable(column: pa.Array) -> pa.Array:
    """pyarrow's CSV writer knows no string views, which newer Sparks may send, and has no form for bytes."""
    import pyarrow as pa

    if column.type == pa.float32():
        # The shortest text of a float is not that of the same number as a double.
        return column.cast(pa.float64())
    if column.type == pa.string_view():
        return column.cast(pa.string())
    if pa.types.is_timestamp(column.type) and column.type.tz:
        # A time zone's offset is written in minutes; before 1900 it had seconds.
        return column.cast(pa.timestamp("us", "UTC"))
    if is_bytes(column.type):
        return pa.array([value if value is None else f"\\x{value.hex()}" for value in column.to_pylist()], pa.string())
    return column
