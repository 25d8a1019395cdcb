"""COPY of Arrow batches into PostgreSQL: binary where every column's type has a form here, else CSV.

Binary costs the server a third less time, since it need not parse. A row is its number of fields, then for each field its
length and its bytes; the length -1 is NULL. Whole columns are encoded at once, by numpy and Arrow's kernels. Source:
PostgreSQL's documentation of COPY, "Binary Format", and for each type its receive function (``int8recv``, ``numeric_recv``,
…) in src/backend/utils/adt. Why not a library: docs/decisions/0016-our-own-binary-form.md.

In CSV pyarrow's writer quotes '' and leaves NULL bare, which COPY tells apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

from sqlalchemy.engine import Connection
from sqlalchemy.sql.expression import TableClause

from foreachonce.errors import WriteFailed
from foreachonce.sql.arrow import Counted, each_in_background, is_bytes, is_text, peeked

if TYPE_CHECKING:
    import psycopg
    import pyarrow as pa
    from numpy.typing import NDArray
    from psycopg.pq.abc import PGresult

    Numbers: TypeAlias = NDArray[Any]

# Encodes a column: as one array of lengths with values, or as one array of lengths and one of values.
Field = Callable[["pa.Array"], "list[pa.Array]"]

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"
_NULL = b"\xff\xff\xff\xff"
# The server counts from 2000-01-01, Arrow from 1970-01-01.
_DAYS, _MICROSECONDS = 10_957, 946_684_800_000_000
_WIDTHS = {"int2": 2, "int4": 4, "int8": 8}
_TEXTS = ("text", "varchar", "bpchar", "json")
_BASE, _BASE_DIGITS = 10_000, 4
_NEGATIVE = 0x4000
_BIGGEST = 2**63 - 1


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


# --- binary ------------------------------------------------------------------------------------------------------------


def encoder(kinds: Sequence[str | None], schema: pa.Schema) -> Callable[[pa.RecordBatch], memoryview] | None:
    """What turns batches of ``schema`` into rows for columns of the types ``kinds``; None where a form is not known here.

    Args:
        kinds: the types as the server calls them, ``int8``, ``numeric``, …; None for one that has no name here.
        schema: of the batches; as many columns.
    """
    found = [_field(kind, column) for kind, column in zip(kinds, schema.types, strict=True)]
    fields = [field for field in found if field is not None]
    return (lambda batch: _rows(batch, fields)) if len(fields) == len(found) else None


def _rows(batch: pa.RecordBatch, fields: Sequence[Field]) -> memoryview:
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    if not batch.num_rows:
        return memoryview(b"")
    parts = [_fixed(np.full(batch.num_rows, len(fields), ">i2"))]
    for field, column in zip(fields, batch.columns, strict=True):
        parts += field(column)
    nothing = pa.scalar(b"", pa.large_binary())
    joined = pc.binary_join_element_wise(*parts, nothing, null_handling="replace", null_replacement=_NULL)
    # One array of rows is one buffer, which is what COPY takes.
    return memoryview(joined.buffers()[2])


def _field(kind: str | None, column: pa.DataType) -> Field | None:
    import pyarrow as pa

    is_in = pa.types
    if is_in.is_integer(column):
        return _from_integers(kind, column.bit_width)
    if is_in.is_decimal128(column) and kind == "numeric":
        return _numeric
    if is_in.is_floating(column):
        return _to_floats(kind, column.bit_width)
    if is_text(column):
        return _text if kind in _TEXTS else _jsonb if kind == "jsonb" else None
    return _from_others(kind, column)


def _from_integers(kind: str | None, bits: int) -> Field | None:
    import pyarrow as pa

    if kind in _WIDTHS:
        width = _WIDTHS[kind]
        # A narrower column is left to CSV, whose values the server checks one by one.
        return None if 8 * width < bits else lambda column: [_sized(_integers(column), f">i{width}", column)]
    if kind == "numeric":
        return lambda column: _numeric(column.cast(pa.decimal128(19, 0)))
    # A float of 32 bits holds integers of 16.
    return _to_floats(kind, 2 * bits)


def _integers(column: pa.Array) -> Numbers:
    import pyarrow as pa

    return _values(column.cast(pa.int64()), "i8")


def _to_floats(kind: str | None, bits: int) -> Field | None:
    import pyarrow as pa

    if kind not in ("float4", "float8") or 8 * int(kind[-1]) < bits:
        return None
    return lambda column: [_sized(_values(column.cast(pa.float64()), "f8"), f">f{kind[-1]}", column)]


def _from_others(kind: str | None, column: pa.DataType) -> Field | None:
    import pyarrow as pa

    if pa.types.is_boolean(column) and kind == "bool":
        return lambda column: [_sized(_values(column.cast(pa.int8()), "i1"), ">i1", column)]
    if pa.types.is_date32(column) and kind == "date":
        return lambda column: [_sized(_since_2000(column.cast(pa.int32()), _DAYS, "i4"), ">i4", column)]
    if pa.types.is_timestamp(column) and kind == ("timestamptz" if column.tz else "timestamp"):
        return lambda column: [_sized(_since_2000(_microseconds(column), _MICROSECONDS, "i8"), ">i8", column)]
    if is_bytes(column) and kind == "bytea":
        return _text
    return None


def _text(column: pa.Array) -> list[pa.Array]:
    return _lengths_and_values(column, b"")


def _jsonb(column: pa.Array) -> list[pa.Array]:
    """A version, which is 1, and the text."""
    return _lengths_and_values(column, b"\x01")


def _lengths_and_values(column: pa.Array, before: bytes) -> list[pa.Array]:
    import pyarrow as pa
    import pyarrow.compute as pc

    values = column.cast(pa.large_binary())
    lengths = _values(pc.binary_length(values).fill_null(0), "i8") + len(before)
    heads = _with_lengths(lengths.astype(">i4"), before)
    return [_masked(_fixed(heads), column), values.fill_null(b"")]


def _with_lengths(lengths: Numbers, before: bytes) -> Numbers:
    """Each length, and ``before`` behind it."""
    import numpy as np

    records = np.empty((len(lengths), 4 + len(before)), "u1")
    records[:, :4] = lengths.view("u1").reshape(-1, 4)
    records[:, 4:] = np.frombuffer(before, "u1")
    return records


def _numeric(column: pa.Array) -> list[pa.Array]:
    """Digits to the base of 10,000, as many for every value; the server strips the zeros at both ends (make_result)."""
    import numpy as np

    precision, scale = column.type.precision, column.type.scale
    fraction = -(-scale // _BASE_DIGITS)
    places = fraction + -(-max(precision - scale, 0) // _BASE_DIGITS)
    rest, is_negative = _scaled(column, fraction * _BASE_DIGITS - scale)
    record = np.zeros((len(column), 6 + places), ">i2")
    record[:, 1] = 8 + 2 * places
    record[:, 2:6] = (places, places - fraction - 1, 0, max(scale, 0))
    record[is_negative, 4] = _NEGATIVE
    for place, group in zip(range(places - 1, -1, -1), _groups(rest), strict=False):
        record[:, 6 + place] = group
    return [_masked(_fixed(record), column)]


def _groups(whole: Numbers) -> Iterator[Numbers]:
    """The digits to the base, the last ones first, without end."""
    while True:
        # Four at a time: Python's integers are divided as seldom as can be.
        rest = whole // _BASE**4
        part, whole = (whole - rest * _BASE**4).astype("i8"), rest
        for _ in range(4):
            more = part // _BASE
            yield part - more * _BASE
            part = more


def _scaled(column: pa.Array, zeros: int) -> tuple[Numbers, Numbers]:
    """The values' digits with ``zeros`` more behind them, and which of them are negative."""
    import numpy as np

    low, high = _values(column, "2i8").T
    most = _BIGGEST // 10**zeros
    is_small = bool(np.all(high == low >> 63)) and -most <= low.min() and low.max() <= most
    # Beyond 64 bits Python's own integers do it.
    whole = low if is_small else high.astype(object) * 2**64 + low.view("u8").astype(object)
    return np.abs(whole) * 10**zeros, high < 0


def _since_2000(column: pa.Array, epoch: int, form: str) -> Numbers:
    import pyarrow as pa
    import pyarrow.compute as pc

    return _values(pc.subtract_checked(column, pa.scalar(epoch, column.type)), form)


def _microseconds(column: pa.Array) -> pa.Array:
    import pyarrow as pa

    return column.cast(pa.timestamp("us", column.type.tz)).cast(pa.int64())


def _values(column: pa.Array, form: str) -> Numbers:
    """The values as they lie in memory, NULL ones as they come; ``2i8`` are pairs."""
    import numpy as np

    dtype = np.dtype(form)
    return np.frombuffer(column.buffers()[1], dtype, len(column), column.offset * dtype.itemsize)


def _sized(values: Numbers, form: str, column: pa.Array) -> pa.Array:
    """Each value in the form, its length before it."""
    import numpy as np

    record = np.empty(len(values), [("length", ">i4"), ("value", form)])
    record["length"], record["value"] = np.dtype(form).itemsize, values
    return _masked(_fixed(record), column)


def _fixed(records: Numbers) -> pa.Array:
    """An array of equally long bytes, for the kernels that join."""
    import pyarrow as pa

    width = records.nbytes // len(records)
    found = pa.Array.from_buffers(pa.binary(width), len(records), [None, pa.py_buffer(records)])
    return found.cast(pa.large_binary())


def _masked(cells: pa.Array, column: pa.Array) -> pa.Array:
    """NULL where the column is."""
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.if_else(column.is_valid(), cells, pa.scalar(None, cells.type)) if column.null_count else cells
