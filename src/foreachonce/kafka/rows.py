"""A frame's rows as Kafka's records: which columns, of which types, and how they are sent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from foreachonce.errors import FrameError
from foreachonce.faults import fault
from foreachonce.kafka.writer import Writer
from foreachonce.spark.frames import backticked

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame

# The columns that a record is made of, in this order, and the types of each; source: Spark's Kafka integration guide.
TYPES = {
    "key": ("string", "binary"),
    "value": ("string", "binary"),
    "topic": ("string",),
    "partition": ("int",),
    "headers": ("array<struct<key:string,value:binary>>",),
    "timestamp": ("timestamp",),
}
# What Spark's Kafka source brings besides.
IGNORED = ("offset", "timestampType")
PART = "part"


@dataclass(frozen=True, slots=True)
class Shape:
    """How a frame becomes records.

    Args:
        topic: the topic of all records; None where the column ``topic`` tells it.
        key, value, headers: SQL expressions over the frame's columns; None takes the column of that name.
    """

    topic: str | None = None
    key: str | None = None
    value: str | None = None
    headers: str | None = None

    @property
    def given(self) -> dict[str, str]:
        """The expressions that were given."""
        named = {"key": self.key, "value": self.value, "headers": self.headers}
        return {name: expression for name, expression in named.items() if expression is not None}


def shaped(frame: DataFrame, shape: Shape) -> DataFrame:
    """The frame with Kafka's columns only: keys and values as bytes or text, times as milliseconds.

    A frame that has just these is taken as it is: a small batch pays for each step of a plan.

    Raises:
        FrameError: a column is missing, unknown, or neither bytes nor text.
    """
    known = (frame.schema.json(), shape)
    if known not in _expressions:
        _expressions[known] = _checked(frame, shape)
    expressions = _expressions[known]
    return frame if expressions is None else frame.selectExpr(*expressions)


# What was found good for frames of a schema: to look at it anew costs a small batch half of its time.
_expressions: dict[tuple[str, Shape], list[str] | None] = {}


def _checked(frame: DataFrame, shape: Shape) -> list[str] | None:
    """The SQL expressions of the columns as they are sent; None where the frame has just these."""
    from pyspark.errors import AnalysisException
    from pyspark.sql import functions as F

    given = shape.given
    names = [name for name in TYPES if name in given or name in frame.columns]
    wanted = {name: given.get(name, backticked(name)) for name in names if not (name == "topic" and shape.topic)}
    _check_names(frame.columns, wanted, shape)
    try:
        found = frame.select(*(F.expr(expression).alias(name) for name, expression in wanted.items()))
    except AnalysisException as error:
        first = next((line for line in str(error).splitlines() if line.strip()), "")
        raise FrameError(f"{_told(given)}: {first} Nothing was written.") from None
    types = dict(found.dtypes)
    _check_types(types, given)
    if sorted(wanted) == sorted(frame.columns) and not given and not {"void", "timestamp"} & set(types.values()):
        return None
    return [_sent(name, expression) for name, expression in wanted.items()]


def _told(given: dict[str, str]) -> str:
    return ", ".join(f"{name}={expression!r}" for name, expression in given.items()) or "the frame"


def _check_names(columns: list[str], wanted: Mapping[str, str], shape: Shape) -> None:
    if "value" not in wanted:
        raise FrameError(
            f"the frame has no column 'value', but {', '.join(map(repr, columns))}: say what a record holds, such as "
            "value='to_json(struct(*))'. Nothing was written."
        )
    if shape.topic is None and "topic" not in wanted:
        raise FrameError("topic= is not given, and the frame has no column 'topic' to tell it. Nothing was written.")
    unknown = [] if shape.given else [name for name in columns if name not in (*TYPES, *IGNORED)]
    if unknown:
        raise FrameError(
            f"the frame's column {unknown[0]!r} is none of a Kafka record's ({', '.join(TYPES)}), and would be lost: "
            "drop it, or put it into value=. Nothing was written."
        )


def _check_types(found: dict[str, str], given: dict[str, str]) -> None:
    for name, type_ in found.items():
        if type_ not in (*TYPES[name], "void"):
            what = f"{name}={given[name]!r}" if name in given else f"the frame's column {name!r}"
            raise FrameError(
                f"{what} is of type {type_}, and a record's {name} is {' or '.join(TYPES[name])}: cast it, or make it "
                "text by to_json(). Nothing was written."
            )


def _sent(name: str, expression: str) -> str:
    if name == "timestamp":
        return f"unix_millis({expression}) as timestamp"
    return f"cast(({expression}) as {'binary' if name in ('key', 'value') else TYPES[name][0]}) as {name}"


def split(frame: DataFrame, parts: int) -> DataFrame:
    """The rows in ``parts`` partitions by a stable hash of their keys (of their values where there is no key).

    The part stands in each row: it must not hang on Spark's numbering of partitions, which says nothing of their contents.
    """
    from pyspark.sql import functions as F

    bytes_of = [F.col(name).cast("binary") for name in ("key", "value") if name in frame.columns]
    key = F.coalesce(*bytes_of)
    # This hash is the one by which Spark itself partitions, so each partition gets the rows of one part.
    return frame.withColumn(PART, F.pmod(F.hash(key), F.lit(parts))).repartition(parts, key)


def send(writer: Writer, batches: Iterable[pa.RecordBatch], topic: str | None) -> int:
    """Send the rows in the open transaction; return how many.

    Raises:
        FrameError: a row names no topic.
        WriteFailed: a record was refused, or the transaction takes too long.
    """
    rows = 0
    for batch in batches:
        _send_batch(writer, batch, topic)
        rows += int(batch.num_rows)
        writer.check_time()
        fault("rows-half")
    return rows


def _send_batch(writer: Writer, batch: pa.RecordBatch, topic: str | None) -> None:
    columns = {name: _listed(batch.column(name), name) for name in batch.schema.names if name != PART}
    nothing = [None] * batch.num_rows
    values, keys = columns.pop("value"), columns.pop("key", nothing)
    if topic is not None and not columns:
        for value, key in zip(values, keys, strict=True):
            writer.put((topic, value, key))
        return
    topics = columns.pop("topic", [topic] * batch.num_rows)
    names = list(columns)
    rest = zip(*columns.values(), strict=True) if columns else iter([()] * batch.num_rows)
    for name, value, key, more in zip(topics, values, keys, rest, strict=True):
        if name is None:
            raise FrameError("a row's column 'topic' is null, and topic= is not given. Nothing was written.")
        writer.put((name, value, key), _options(names, more))


def _listed(column: pa.Array, name: str) -> list[Any]:
    """A column's values; text as the bytes that it is made of."""
    values: list[Any] = (column.cast("binary") if name in ("key", "value") else column).to_pylist()
    return values


def _options(names: list[str], values: tuple[Any, ...]) -> dict[str, Any]:
    """What a record has besides; ``headers`` come as a list of structs."""
    found = {name: value for name, value in zip(names, values, strict=True) if value is not None}
    if "headers" in found:
        found["headers"] = [(header["key"], header["value"]) for header in found["headers"]]
    return found
