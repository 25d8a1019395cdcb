"""PostgreSQL's binary form of Arrow columns, for COPY and for a statement's parameters.

Whole columns are encoded at once, by numpy and Arrow's kernels.

A row is its number of fields, then for each field its length and its bytes; the length -1 is NULL. Source: PostgreSQL's
documentation of COPY, "Binary Format", and for each type its receive function (``int8recv``, ``numeric_recv``, …) in
src/backend/utils/adt. Why not a library: docs/decisions/0016-our-own-binary-form.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias
from uuid import UUID

from foreachonce.errors import WriteFailed
from foreachonce.spark.frames import NOTHING_WRITTEN, is_bytes, is_text

if TYPE_CHECKING:
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
# Their receive functions take the text itself; an enum's takes its label.
_TEXTS = ("text", "varchar", "bpchar", "json", "citext", "xml", "enum")
_BASE, _BASE_DIGITS = 10_000, 4
_NEGATIVE = 0x4000
_BIGGEST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class PgType:
    """A type as the server has it.

    Args:
        name: its own name, such as ``int8``; of a domain that of its base type, of an enum ``enum``, of an array ``array``.
        oid: its number; of a domain that of its base type.
        element: of an array, its elements' type.
    """

    name: str
    oid: int
    element: PgType | None = None


class Encoder:
    """Encodes batches as rows of a COPY.

    Args:
        table: its name, for errors.
        columns: the name of each column, and how it is encoded.
    """

    def __init__(self, table: str, columns: Sequence[tuple[str, Field]]) -> None:
        self._table, self._columns = table, columns

    def rows(self, batch: pa.RecordBatch) -> memoryview:
        """The batch's rows.

        Raises:
            WriteFailed: PostgreSQL has no form for a value, such as an instant of 290,000 years ago; the column is named.
        """
        import numpy as np

        if not batch.num_rows:
            return memoryview(b"")
        parts = [_fixed(np.full(batch.num_rows, len(self._columns), ">i2"))]
        for (name, field), column in zip(self._columns, batch.columns, strict=True):
            parts += self._encoded(name, field, column)
        # One array of rows is one buffer, which is what COPY takes.
        return memoryview(_joined(parts)[0])

    def arrays(self, batch: pa.RecordBatch) -> list[bytes]:
        """Each column as one array of the server's, which a statement takes as a parameter."""
        return [
            bytes(_joined(self._encoded(name, field, _as_one_list(column)))[0])[4:]
            for (name, field), column in zip(self._columns, batch.columns, strict=True)
        ]

    def _encoded(self, name: str, field: Field, column: pa.Array) -> list[pa.Array]:
        import pyarrow as pa

        try:
            return field(column)
        except (pa.ArrowInvalid, ValueError) as error:
            raise WriteFailed(
                f"table {self._table}: column {name!r}: a value does not fit: {error}. {NOTHING_WRITTEN}"
            ) from None


def _as_one_list(column: pa.Array) -> pa.Array:
    import pyarrow as pa

    return pa.LargeListArray.from_arrays(pa.array([0, len(column)], pa.int64()), column)


def field_of(kind: PgType, column: pa.DataType) -> Field | None:
    """How a column of Arrow's type is encoded for one of the server's; None where it has no form here."""
    import pyarrow as pa

    is_in, name = pa.types, kind.name
    if is_in.is_list(column) or is_in.is_large_list(column):
        element = None if kind.element is None else field_of(kind.element, column.value_type)
        return None if kind.element is None or element is None else Arrays(kind.element.oid, element)
    if is_in.is_integer(column):
        return _from_integers(name, column.bit_width)
    if is_in.is_decimal128(column) and name == "numeric":
        return _numeric
    if is_in.is_floating(column):
        return _to_floats(name, column.bit_width)
    if is_text(column):
        return text if name in _TEXTS else {"jsonb": _jsonb, "uuid": _uuid}.get(name)
    return _from_others(name, column)


class Arrays:
    """Encodes lists as arrays of one dimension.

    An array is its number of dimensions, a flag, the type of its elements, the length and lower bound of each dimension, and
    the elements; an empty one has no dimension. Source: array_recv.
    """

    def __init__(self, oid: int, element: Field) -> None:
        self._oid, self._element = oid, element

    def __call__(self, column: pa.Array) -> list[pa.Array]:
        """See ``Field``."""
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        counts = np.asarray(pc.list_value_length(column).fill_null(0).cast(pa.int64()))
        flat = pc.list_flatten(column)
        cells, starts = _joined(self._element(flat)) if len(flat) else (pa.py_buffer(b""), np.zeros(1, "i8"))
        ends = starts[np.concatenate(([0], np.cumsum(counts)))]
        bodies = pa.Array.from_buffers(pa.large_binary(), len(column), [None, pa.py_buffer(ends.astype("i8")), cells])
        full = np.empty((len(column), 6), ">i4")
        full[:, 0], full[:, 1], full[:, 2], full[:, 3] = 20 + np.diff(ends), 1, 0, self._oid
        full[:, 4], full[:, 5] = counts, 1
        empty = np.tile(np.array([12, 0, 0, self._oid], ">i4"), (len(column), 1))
        heads = pc.if_else(pa.array(counts > 0), _fixed(full), _fixed(empty))
        return [_masked(heads, column), bodies]


def _joined(parts: list[pa.Array]) -> tuple[pa.Buffer, Numbers]:
    """The cells behind each other in one buffer, and where each begins."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    nothing = pa.scalar(b"", pa.large_binary())
    joined = pc.binary_join_element_wise(*parts, nothing, null_handling="replace", null_replacement=_NULL)
    _, offsets, cells = joined.buffers()
    return cells, np.frombuffer(offsets, "i8", len(joined) + 1, joined.offset * 8)


def _uuid(column: pa.Array) -> list[pa.Array]:
    import pyarrow as pa

    values = [None if value is None else UUID(value).bytes for value in column.to_pylist()]
    return _lengths_and_values(pa.array(values, pa.binary()), b"")


def _from_integers(kind: str, bits: int) -> Field | None:
    import pyarrow as pa

    if kind in _WIDTHS:
        width = _WIDTHS[kind]
        # A narrower column takes them by INSERT, where the server checks each value.
        return None if 8 * width < bits else lambda column: [_sized(_integers(column), f">i{width}", column)]
    if kind == "numeric":
        return lambda column: _numeric(column.cast(pa.decimal128(19, 0)))
    # A float of 32 bits holds integers of 16.
    return _to_floats(kind, 2 * bits)


def _integers(column: pa.Array) -> Numbers:
    import pyarrow as pa

    return _values(column.cast(pa.int64()), "i8")


def _to_floats(kind: str, bits: int) -> Field | None:
    import pyarrow as pa

    if kind not in ("float4", "float8") or 8 * int(kind[-1]) < bits:
        return None
    return lambda column: [_sized(_values(column.cast(pa.float64()), "f8"), f">f{kind[-1]}", column)]


def _from_others(kind: str, column: pa.DataType) -> Field | None:
    import pyarrow as pa

    if pa.types.is_boolean(column) and kind == "bool":
        return lambda column: [_sized(_values(column.cast(pa.int8()), "i1"), ">i1", column)]
    if pa.types.is_date32(column) and kind == "date":
        return lambda column: [_sized(_since_2000(column.cast(pa.int32()), _DAYS, "i4"), ">i4", column)]
    if pa.types.is_timestamp(column) and kind == ("timestamptz" if column.tz else "timestamp"):
        return lambda column: [_sized(_since_2000(_microseconds(column), _MICROSECONDS, "i8"), ">i8", column)]
    if is_bytes(column) and kind == "bytea":
        return text
    return None


def text(column: pa.Array) -> list[pa.Array]:
    """Texts and bytes as they are."""
    return _lengths_and_values(column, b"")


def literals(column: pa.Array) -> list[pa.Array]:
    """Lists, and what has no binary form, as the texts that the server reads."""
    import pyarrow as pa

    values = [value if value is None else _literal(value) for value in column.to_pylist()]
    return text(pa.array(values, pa.large_string()))


def _literal(value: object) -> str:
    if isinstance(value, list):
        return "{" + ",".join("NULL" if each is None else _quoted(_literal(each)) for each in value) + "}"
    return f"\\x{value.hex()}" if isinstance(value, bytes) else str(value)


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


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
