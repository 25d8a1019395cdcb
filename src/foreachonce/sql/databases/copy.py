"""COPY of Arrow batches into PostgreSQL: binary where every column's type has a form here, else CSV.

Binary costs the server a third less time, since it need not parse. A row is its number of fields, then for each field its
length and its bytes; the length -1 is NULL. Whole columns are encoded at once, by numpy and Arrow's kernels. Source:
PostgreSQL's documentation of COPY, "Binary Format", and for each type its receive function (``int8recv``, ``numeric_recv``,
…) in src/backend/utils/adt. Why not a library: docs/decisions/0016-our-own-binary-form.md.

In CSV pyarrow's writer quotes '' and leaves NULL bare, which COPY tells apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from sqlalchemy.engine import Connection
from sqlalchemy.sql.expression import TableClause

from foreachonce.errors import WriteFailed
from foreachonce.spark.frames import Counted, each_in_background, is_bytes, is_text, peeked

if TYPE_CHECKING:
    import psycopg
    import pyarrow as pa
    from numpy.typing import NDArray

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
    """COPY the batches into the table, and return the number of rows.

    Raises:
        WriteFailed: PostgreSQL has no form for a value, such as an instant of 290,000 years ago.
    """
    import pyarrow as pa

    first, batches = peeked(batches)
    if first is None:
        return 0
    quote = connection.dialect.identifier_preparer
    into = f"{quote.format_table(table)} ({', '.join(map(quote.quote_identifier, columns))})"
    driver: Any = connection.connection.driver_connection
    # The server reads binary text in the client's encoding, whatever the statement says; Arrow's is UTF-8.
    is_utf8 = driver.info.encoding == "utf-8"
    binary = encoder(_types(driver, into, len(columns)), first.schema) if is_utf8 else None
    counted = Counted(batches)
    statement = f"COPY {into} FROM STDIN (FORMAT {'csv' if binary is None else 'binary'}, ENCODING 'UTF8')"
    try:
        with driver.cursor() as cursor, cursor.copy(statement) as copy:
            if binary is None:
                each_in_background(lambda batch: copy.write(_csv(batch)), counted)
            else:
                copy.write(HEADER)
                each_in_background(lambda batch: copy.write(binary(batch)), counted)
                copy.write(TRAILER)
    except pa.ArrowInvalid as error:
        raise WriteFailed(f"table {table.name}: a value of this batch does not fit: {error}. Nothing was written.") from None
    return counted.rows


def _types(driver: psycopg.Connection[Any], into: str, columns: int) -> list[str | None]:
    """The names of the columns' types, from an INSERT's parameters; None for one that psycopg does not know.

    So the server itself tells them, and the privilege to insert is enough. The statement also locks the table to the end of
    the transaction, so nobody can alter it.
    """
    from psycopg import errors, pq

    values = ", ".join(map("${}".format, range(1, columns + 1)))
    statement = f"INSERT INTO {into} VALUES ({values})"  # noqa: S608 - quoted names
    prepared = driver.pgconn.prepare(b"", statement.encode(driver.info.encoding))
    described = driver.pgconn.describe_prepared(b"")
    for result in (prepared, described):
        if result.status == pq.ExecStatus.FATAL_ERROR:
            raise errors.error_from_result(result, driver.info.encoding)
    types: list[str | None] = []
    for number in range(columns):
        oid = described.param_type(number)
        info = driver.adapters.types.get(oid)
        # psycopg finds an array under the name of its elements' type.
        types.append(info.name if info is not None and info.oid == oid else None)
    return types


def _csv(batch: pa.RecordBatch) -> memoryview:
    import pyarrow as pa
    from pyarrow import csv

    sink = pa.BufferOutputStream()
    plain = pa.RecordBatch.from_arrays([_writable(column) for column in batch.columns], names=batch.schema.names)
    csv.write_csv(plain, sink, csv.WriteOptions(include_header=False))
    return memoryview(sink.getvalue())


def _writable(column: pa.Array) -> pa.Array:
    """The column in a type that pyarrow's CSV writer knows: not string views, which newer Sparks may send, nor bytes."""
    import pyarrow as pa

    if column.type == pa.float32():
        # A float's shortest text differs from that of the same number as a double.
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


def encoder(types: Sequence[str | None], schema: pa.Schema) -> Callable[[pa.RecordBatch], memoryview] | None:
    """A function from batches of ``schema`` to rows for columns of the given types; None where one has no form here.

    Args:
        types: the types as the server names them, ``int8``, ``numeric``, …; None for one without a name here.
        schema: of the batches; as many columns.
    """
    fields: list[Field] = []
    for kind, column in zip(types, schema.types, strict=True):
        if (field := _field(kind, column)) is None:
            return None
        fields.append(field)
    return lambda batch: _rows(batch, fields)


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
        # For a narrower column use CSV, where the server checks each value.
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
    """The format's version, which is 1, and the text."""
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
    """Digits to the base 10,000, as many as the longest value has; the server strips zeros at both ends (make_result)."""
    import numpy as np

    scale = column.type.scale
    fraction = -(-scale // _BASE_DIGITS)
    rest, is_negative = _scaled(column, fraction * _BASE_DIGITS - scale)
    places = max(fraction, -(-len(str(rest.max())) // _BASE_DIGITS))
    record = np.zeros((len(column), 6 + places), ">i2")
    record[:, 1] = 8 + 2 * places
    record[:, 2:6] = (places, places - fraction - 1, 0, max(scale, 0))
    record[is_negative, 4] = _NEGATIVE
    for place, group in zip(range(places - 1, -1, -1), _groups(rest), strict=False):
        record[:, 6 + place] = group
    return [_masked(_fixed(record), column)]


def _groups(whole: Numbers) -> Iterator[Numbers]:
    """The digits to the base, from the last one on, without end."""
    while True:
        # Four at a time, since dividing Python's integers is slow.
        rest = whole // _BASE**4
        part, whole = (whole - rest * _BASE**4).astype("i8"), rest
        for _ in range(4):
            more = part // _BASE
            yield part - more * _BASE
            part = more


def _scaled(column: pa.Array, zeros: int) -> tuple[Numbers, Numbers]:
    """The values' digits, followed by ``zeros`` zeros, and which values are negative."""
    import numpy as np

    low, high = _values(column, "2i8").T
    most = _BIGGEST // 10**zeros
    is_small = bool(np.all(high == low >> 63)) and -most <= low.min() and low.max() <= most
    # Beyond 64 bits use Python's own integers.
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
    """The values as they lie in memory, with garbage for NULL; ``2i8`` are pairs."""
    import numpy as np

    dtype = np.dtype(form)
    return np.frombuffer(column.buffers()[1], dtype, len(column), column.offset * dtype.itemsize)


def _sized(values: Numbers, form: str, column: pa.Array) -> pa.Array:
    """Each value's length, and the value in the given form."""
    import numpy as np

    record = np.empty(len(values), [("length", ">i4"), ("value", form)])
    record["length"], record["value"] = np.dtype(form).itemsize, values
    return _masked(_fixed(record), column)


def _fixed(records: Numbers) -> pa.Array:
    """The records as an Arrow array of bytes, for the kernels that join."""
    import pyarrow as pa

    width = records.nbytes // len(records)
    array = pa.Array.from_buffers(pa.binary(width), len(records), [None, pa.py_buffer(records)])
    return array.cast(pa.large_binary())


def _masked(cells: pa.Array, column: pa.Array) -> pa.Array:
    """NULL where the column is."""
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.if_else(column.is_valid(), cells, pa.scalar(None, cells.type)) if column.null_count else cells
