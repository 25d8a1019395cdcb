"""Loading rows into tables of MariaDB and MySQL: what a table must be, and LOAD DATA LOCAL INFILE out of memory.

LOAD DATA LOCAL turns errors into warnings and goes on, whatever the mode: it skips a row whose key is there, cuts a text
that is too long, and turns a word in a number's column into 0. So every warning, and every missing row, is an error here.
Where the server does not allow LOAD DATA LOCAL, INSERTs bring the rows.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.sql.expression import TableClause

from foreachonce.errors import FrameError, WriteFailed
from foreachonce.spark.frames import Counted, each_in_background, is_bytes, is_text, peeked
from foreachonce.sql.types import refuse_unnumbered, refuse_unwritable

if TYPE_CHECKING:
    import pyarrow as pa

_ENGINE = sa.text("""
    select t.engine, e.transactions
    from information_schema.tables t left join information_schema.engines e on e.engine = t.engine
    where t.table_schema = coalesce(:schema, database()) and t.table_name = :name
""")
_COLUMNS = sa.text("""
    select column_name, character_set_name, collation_name, extra from information_schema.columns
    where table_schema = coalesce(:schema, database()) and table_name = :name
""")
_AUTO_INCREMENT = sa.text("""
    select column_name from information_schema.columns
    where table_schema = coalesce(:schema, database()) and table_name = :name and extra like '%auto_increment%'
""")
_INDEXES = sa.text("""
    select index_name, column_name, sub_part from information_schema.statistics
    where table_schema = coalesce(:schema, database()) and table_name = :name and non_unique = 0
    order by index_name, seq_in_index
""")
_WHOLE_UNICODE = "utf8mb4"
# The backslash comes first, since it begins the other escapes.
_ESCAPES = (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\0", "\\0"))
# An INSERT stays well below max_allowed_packet, which is 16 MB by default on MariaDB and was 4 MB on older MySQLs.
_INSERT_ROWS, _INSERT_BYTES = 500, 1_000_000
# "Duplicate entry 'x' for key …", "Incorrect integer value: 'x' for column …", "Truncated incorrect DOUBLE value: 'x'".
_VALUE = re.compile(r"(Duplicate entry|value:?) '.*'(?= for |$)", re.DOTALL)


def without_values(text: str) -> str:
    """The text of an error or a warning without the row's value that it quotes, which belongs in no log."""
    return _VALUE.sub(r"\1 '…'", text)


# --- the table ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Column:
    charset: str | None
    collation: str | None
    counts: bool
    """Whether it is AUTO_INCREMENT."""


def check_table(connection: Connection, table: str, schema: str | None, columns: Sequence[str], key: Sequence[str]) -> None:
    """Refuse a table that could keep a part of a batch, or take two rows for one.

    Raises:
        FrameError: naming the table, what was found and what to do.
    """
    place = {"schema": schema, "name": table}
    name = f"{schema}.{table}" if schema else table
    _check_engine(connection, place, name)
    existing = {
        row[0]: _Column(row[1], row[2], "auto_increment" in (row[3] or "").lower())
        for row in connection.execute(_COLUMNS, place)
    }
    _check_texts(name, columns, existing)
    if key:
        _check_collations(name, key, existing)
        _check_indexes(connection, place, name, columns, key, existing)


def _check_engine(connection: Connection, place: dict[str, str | None], name: str) -> None:
    row = connection.execute(_ENGINE, place).first()
    engine, transactions = (row[0], row[1]) if row else (None, None)
    if transactions != "YES":
        what = f"has the engine {engine}, which knows no transactions" if engine else "is a view, or has no engine"
        raise FrameError(
            f"table {name} {what}: half a batch could stay in it. It must be InnoDB's: alter table {name} engine=InnoDB."
        )


def _check_texts(name: str, columns: Sequence[str], existing: dict[str, _Column]) -> None:
    for column in columns:
        charset = existing[column].charset if column in existing else None
        if charset not in (None, _WHOLE_UNICODE):
            raise FrameError(
                f"table {name}: column {column!r} has the character set {charset}, which lacks characters that Spark's "
                f"texts may have; alter table {name} convert to character set utf8mb4."
            )


def _check_collations(name: str, key: Sequence[str], existing: dict[str, _Column]) -> None:
    for column in key:
        collation = existing[column].collation if column in existing else None
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
    existing: dict[str, _Column],
) -> None:
    """ON DUPLICATE KEY UPDATE updates the row that any unique index finds, which may be a row of another key."""
    indexes: dict[str, list[tuple[str | None, int | None]]] = {}
    for index, column, part in connection.execute(_INDEXES, place):
        indexes.setdefault(index, []).append((column, part))
    if not any(_is_on(parts, key) for parts in indexes.values()):
        raise FrameError(f"table {name} has no unique index on all of key=({', '.join(key)}), only on a part of a column.")
    for index, parts in indexes.items():
        is_numbered = any(column in existing and existing[column].counts and column not in columns for column, _ in parts)
        if not _is_on(parts, key) and not is_numbered:
            raise FrameError(
                f"table {name} has the unique index {index} beside the one on key=({', '.join(key)}): the database would "
                "update a row of another key that it finds by that. Drop it, or make it an index that is not unique."
            )


def _is_on(parts: list[tuple[str | None, int | None]], key: Sequence[str]) -> bool:
    return {column for column, _ in parts} == set(key) and all(part is None for _, part in parts)


# --- the load ----------------------------------------------------------------------------------------------------------


def load(connection: Connection, table: TableClause, columns: Sequence[str], batches: Iterable[pa.RecordBatch]) -> int:
    """Write the batches into the table, and return the number of rows.

    Raises:
        WriteFailed: the server took a row in another form, or not at all.
    """
    first, batches = peeked(batches)
    if first is None:
        return 0
    loader = _Loader(connection, table, columns, first.schema)
    return loader.by_file(batches) if loader.may_send_files() else loader.by_insert(batches)


class _Loader:
    def __init__(self, connection: Connection, table: TableClause, columns: Sequence[str], schema: pa.Schema) -> None:
        quote = connection.dialect.identifier_preparer
        # Not while rows are sent: the connection is busy then.
        place = {"schema": table.schema, "name": table.name}
        self._numbered = list(connection.execute(_AUTO_INCREMENT, place).scalars())
        self._driver: Any = connection.connection.driver_connection
        self._table, self._into = table, quote.format_table(table)
        self._columns, self._names = columns, [quote.quote_identifier(name) for name in columns]
        self._is_binary = [is_bytes(kind) for kind in schema.types]

    def may_send_files(self) -> bool:
        """Whether the server allows LOAD DATA LOCAL; an address with local_infile=0 forbids it on this side."""
        if not self._driver._local_infile:
            return False
        with self._driver.cursor() as cursor:
            cursor.execute("select @@local_infile")
            return bool(cursor.fetchone()[0])

    def by_file(self, batches: Iterable[pa.RecordBatch]) -> int:
        """The driver opens the path that the statement names: that of a pipe, which another thread fills."""
        counted = Counted(batches)
        reading, writing = os.pipe()
        with ThreadPoolExecutor(max_workers=1) as thread:
            loading = thread.submit(self._read_pipe, reading)
            try:
                with open(writing, "wb") as pipe:
                    each_in_background(lambda batch: pipe.writelines([self._lines(batch)]), counted)
            except BrokenPipeError:
                # The server refused the statement, and its error says why.
                pass
            taken = loading.result()
        if taken != counted.rows:
            raise WriteFailed(
                f"table {self._table.name}: the server took {taken} of {counted.rows} rows; nothing was written."
            )
        return taken

    def _read_pipe(self, reading: int) -> int:
        try:
            with self._driver.cursor() as cursor:
                # With arguments, even if none: SQLAlchemy doubles the percent signs of a name that it quotes.
                taken = cursor.execute(self._statement(reading), ())
                self._refuse_warnings(cursor)
                return int(taken)
        finally:
            os.close(reading)

    def _statement(self, reading: int) -> str:
        # Bytes travel as hexadecimal digits.
        fields = [f"@c{place}" if flag else name for place, (name, flag) in enumerate(self._each())]
        values = [f"{name} = unhex(@c{place})" for place, (name, flag) in enumerate(self._each()) if flag]
        return (
            f"LOAD DATA LOCAL INFILE '/dev/fd/{reading}' INTO TABLE {self._into} CHARACTER SET utf8mb4 "
            r"FIELDS TERMINATED BY '\t' ENCLOSED BY '' ESCAPED BY '\\' LINES TERMINATED BY '\n' STARTING BY '' "
            f"({', '.join(fields)}){' SET ' if values else ''}{', '.join(values)}"
        )

    def _each(self) -> Iterator[tuple[str, bool]]:
        return zip(self._names, self._is_binary, strict=True)

    def by_insert(self, batches: Iterable[pa.RecordBatch]) -> int:
        """INSERTs of many rows each, with bound values."""
        count = 0
        one = f"({', '.join(['%s'] * len(self._names))})"
        into = f"INSERT INTO {self._into} ({', '.join(self._names)}) VALUES "  # noqa: S608 - quoted names
        with self._driver.cursor() as cursor:
            for rows in self._portions(batches):
                cursor.execute(into + ", ".join([one] * len(rows)), list(chain.from_iterable(rows)))
                self._refuse_warnings(cursor)
                count += len(rows)
        return count

    def _portions(self, batches: Iterable[pa.RecordBatch]) -> Iterator[list[tuple[Any, ...]]]:
        for batch in batches:
            each = max(1, batch.nbytes // max(1, batch.num_rows))
            size = max(1, min(_INSERT_ROWS, _INSERT_BYTES // each))
            for start in range(0, batch.num_rows, size):
                values = (column.to_pylist() for column in self._plain(batch.slice(start, size)))
                yield list(zip(*values, strict=True))

    def _refuse_warnings(self, cursor: Any) -> None:
        if not cursor.warning_count:
            return
        cursor.execute("show warnings limit 1")
        warning = cursor.fetchone()
        words = f"{warning[2]} ({warning[1]})" if warning else "a warning that it does not show"
        raise WriteFailed(
            f"table {self._table.name}: a row did not go in as it is, so nothing was written: {without_values(words)}"
        )

    def _lines(self, batch: pa.RecordBatch) -> memoryview:
        """The batch as LOAD DATA reads it, computed by Arrow's kernels."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if not batch.num_rows:
            return memoryview(b"")
        fields = [_escaped(column, kind) for column, kind in zip(self._plain(batch), batch.schema.types, strict=True)]
        rows = pc.binary_join_element_wise(*fields, _text("\t"), null_handling="replace", null_replacement="\\N")
        lines = pc.binary_join_element_wise(rows, _text(""), _text("\n"))
        _, offsets, data = lines.buffers()
        ends = pa.Array.from_buffers(pa.int64(), len(lines) + 1, [None, offsets], offset=lines.offset)
        return memoryview(data)[ends[0].as_py() : ends[-1].as_py()]

    def _plain(self, batch: pa.RecordBatch) -> list[pa.Array]:
        refuse_unwritable(self._table.name, self._columns, batch)
        refuse_unnumbered(self._table.name, self._numbered, self._columns, batch)
        self._refuse_unheld_numbers(batch)
        return [_plain(column) for column in batch.columns]

    def _refuse_unheld_numbers(self, batch: pa.RecordBatch) -> None:
        import pyarrow as pa
        import pyarrow.compute as pc

        for name, column in zip(self._columns, batch.columns, strict=True):
            if pa.types.is_floating(column.type) and pc.all(pc.is_finite(column)).as_py() is False:
                raise WriteFailed(
                    f"table {self._table.name}: column {name!r} of this batch has NaN or an infinity, which MariaDB and "
                    "MySQL cannot hold; replace it in the frame, for example by NULL. Nothing was written."
                )


def _plain(column: pa.Array) -> pa.Array:
    """The column as texts, or as bytes where it has bytes."""
    import pyarrow as pa

    kind = column.type
    if is_bytes(kind):
        return column
    if pa.types.is_timestamp(kind):
        # Instants are stored in UTC; Spark sends them in the session's time zone, which Arrow's text would contain.
        utc = column.cast(pa.timestamp("us", kind.tz and "UTC"))
        column = utc.cast(pa.int64()).cast(pa.timestamp("us"))
    elif pa.types.is_boolean(kind):
        column = column.cast(pa.int8())
    elif pa.types.is_float32(kind):
        # A float's shortest text differs from that of the same number as a double.
        column = column.cast(pa.float64())
    return column.cast(pa.large_string())


def _escaped(column: pa.Array, kind: pa.DataType) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    if is_bytes(column.type):
        return pa.array([None if value is None else value.hex() for value in column.to_pylist()], pa.large_string())
    if is_text(kind):
        for plain, escape in _ESCAPES:
            column = pc.replace_substring(column, plain, escape)
    return column


def _text(value: str) -> pa.Scalar:
    import pyarrow as pa

    return pa.scalar(value, pa.large_string())
