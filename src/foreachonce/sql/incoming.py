"""What a frame must be like, whatever its table: names, keys, and an order that the database shares."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pyspark.sql.types import ArrayType, DataType, MapType, StructType

from foreachonce.errors import FrameError
from foreachonce.sql.table import ATTEMPT, OP, PARTITION, RANK, ROWS, SqlTarget, without_op
from foreachonce.sql.types import NESTED, name_of

if TYPE_CHECKING:
    from foreachonce.sql.databases.base import Database

# Spark's types whose order no database shares, or that have none.
UNORDERED = (*NESTED, "interval", "void")
OWN_NAMES = frozenset({OP, RANK, ATTEMPT, PARTITION, ROWS})
BINARY = "UTF8_BINARY"


def check_frame(target: SqlTarget, frame: StructType, database: Database) -> None:
    """Refuse a frame that no table could take as it is.

    Raises:
        FrameError: naming the table, the column, what was found and what to do.
    """
    _check_columns(target, frame)
    _check_order(target, frame, database)
    _check_key(target, frame, database)
    _check_collations(target, frame)
    _check_fields(target, frame)
    _check_spelling(database, target, without_op(target, frame))


def _check_columns(target: SqlTarget, frame: StructType) -> None:
    names = [field.name for field in frame.fields]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or not names:
        what = f"has column {twice[0]!r} more than once" if twice else "has no columns"
        raise FrameError(f"table {target}: the frame {what}; name each column once with select or withColumnRenamed.")
    _refuse_own_names(target, names)
    op = (target.op,) if target.op else ()
    for keyword, wanted in (("key", target.key), ("order_by", target.order_by), ("op", op)):
        for name in wanted:
            if name not in names:
                raise FrameError(
                    f"table {target}: {keyword}= names {name!r}, which the frame lacks; it has {', '.join(names)}."
                )


def _check_order(target: SqlTarget, frame: StructType, database: Database) -> None:
    for name in target.order_by:
        kind = name_of(frame[name].dataType)
        if kind in UNORDERED or kind in database.unordered:
            raise FrameError(
                f"table {target}: order_by= names {name!r}, {frame[name].dataType.simpleString()}, which the database does "
                "not order as Spark does; order by a number, a date or a timestamp."
            )


def _check_key(target: SqlTarget, frame: StructType, database: Database) -> None:
    for name in target.key:
        if name_of(frame[name].dataType) in database.unkeyed:
            raise FrameError(
                f"table {target}: key= names {name!r}, {frame[name].dataType.simpleString()}, which the database cannot "
                "index; name columns of other types, or make it text in the frame: to_json()."
            )


def _check_collations(target: SqlTarget, frame: StructType) -> None:
    """Refuse a key or an order by a collation of Spark's: to the database, 'a' and 'A' are two texts."""
    for keyword, names in (("key", target.key), ("order_by", target.order_by)):
        for name in names:
            collation = getattr(frame[name].dataType, "collation", BINARY)
            if collation != BINARY:
                raise FrameError(
                    f"table {target}: {keyword}= names {name!r}, whose collation {collation} takes texts for equal, or "
                    f"orders them, as the database does not; collate it in the frame: collate({name}, '{BINARY}'), or "
                    f"lower() it first."
                )


def _check_fields(target: SqlTarget, frame: StructType) -> None:
    """Refuse two fields of one name: jsonb keeps the last of them, and readers of JSON differ."""
    for field in frame.fields:
        for struct in _structs(field.dataType):
            twice = [name for name, times in Counter(struct.fieldNames()).items() if times > 1]
            if twice:
                raise FrameError(
                    f"table {target}: column {field.name!r} has a struct with two fields {twice[0]!r}, of which JSON keeps "
                    "one; rename one of them."
                )


def _structs(data_type: DataType) -> Iterator[StructType]:
    if isinstance(data_type, StructType):
        yield data_type
        for field in data_type.fields:
            yield from _structs(field.dataType)
    elif isinstance(data_type, ArrayType):
        yield from _structs(data_type.elementType)
    elif isinstance(data_type, MapType):
        yield from _structs(data_type.keyType)
        yield from _structs(data_type.valueType)


def _check_spelling(database: Database, target: SqlTarget, frame: StructType) -> None:
    """Refuse names that the database would cut, refuse or take for one."""
    names = frame.fieldNames()
    if database.most_columns is not None and len(names) > database.most_columns:
        raise FrameError(
            f"table {target}: the frame has {len(names):,} columns, and at most {database.most_columns:,} reach the "
            "database, where the rows need some more on their way; gather columns into a struct, or split the frame."
        )
    for name in (target.table, *names):
        if not name:
            raise FrameError(f"table {target}: a column of the frame has no name; give it one with withColumnRenamed.")
        if (problem := database.name_problem(name)) is not None:
            raise FrameError(f"table {target}: the name {name!r} {problem}; rename it.")
    if not database.tells_case_apart:
        times = Counter(name.lower() for name in names)
        twins = [name for name in names if times[name.lower()] > 1]
        if twins:
            raise FrameError(
                f"table {target}: the frame's columns {twins} differ in case alone, which the database does not tell apart; "
                "rename one."
            )


def _refuse_own_names(target: SqlTarget, names: Sequence[str]) -> None:
    """Databases differ in whether case counts, so here it does not."""
    taken = [name for name in names if name.lower() in OWN_NAMES]
    if taken:
        raise FrameError(
            f"table {target}: the frame's column {taken[0]!r} has a name that the library gives to a column of its own "
            f"on the way of the rows; rename it with withColumnRenamed. Such names are {', '.join(sorted(OWN_NAMES))}."
        )
