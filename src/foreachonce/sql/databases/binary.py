"""Arrow batches in COPY's binary format: what the server need not parse costs it a third less time. Pure.

A row is its number of fields, then for each field its length and its bytes; the length -1 is NULL. Whole columns are put
into that form at once, by numpy and Arrow's kernels. Source: PostgreSQL's documentation of COPY, "Binary Format", and for
each type its receive function (``int8recv``, ``numeric_recv``, …) in src/backend/utils/adt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from foreachonce.sql.arrow import is_bytes, is_text

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    Numbers: TypeAlias = NDArray[Any]

# A column's cells: one array of lengths with values, or one of lengths and one of values.
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
