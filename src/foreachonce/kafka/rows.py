"""A frame's rows as Kafka's records: which columns of which types a frame needs, and how tasks send them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from foreachonce.errors import FrameError, WriteFailed
from foreachonce.faults import fault
from foreachonce.kafka.producer import TransactionalProducer
from foreachonce.spark.frames import backticked

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame

# The fields of a record, in the order of sending, and the types of each; source: Spark's Kafka integration guide.
TYPES = {
    "key": ("string", "binary"),
    "value": ("string", "binary"),
    "topic": ("string",),
    "partition": ("int",),
    "headers": ("array<struct<key:string,value:binary>>",),
    "timestamp": ("timestamp",),
}
# Further columns of Spark's Kafka source.
IGNORED = ("offset", "timestampType")
PART = "part"


@dataclass(frozen=True, slots=True)
class Shape:
    """How a frame becomes records.

    Args:
        topic: the topic of all records; None takes each record's from the column ``topic``.
        key, value, headers: SQL expressions over the frame's columns; None takes the column of that name.
    """

    topic: str | None = None
    key: str | None = None
    value: str | None = None
    headers: str | None = None

    @property
    def given(self) -> dict[str, str]:
        """The expressions that the user gave."""
        named = {"key": self.key, "value": self.value, "headers": self.headers}
        return {name: expression for name, expression in named.items() if expression is not None}

    def columns(self, frame: DataFrame) -> RecordColumns:
        """Check a frame.

        Raises:
            FrameError: a column is missing, unknown, or of a type that a record cannot hold.
        """
        given = self.given
        names = [name for name in TYPES if name in given or name in frame.columns]
        wanted = {name: given.get(name, backticked(name)) for name in names if not (name == "topic" and self.topic)}
        self._check_names(frame.columns, wanted)
        # Beside the frame's columns Spark refuses an aggregate, which alone would make one record of the whole batch.
        types = self._types(frame, wanted, ["*"] if given else [])
        self._check_types(types)
        is_ready = sorted(wanted) == sorted(frame.columns) and not given and not {"void", "timestamp"} & set(types.values())
        sent = {name: _as_sent(name, expression) for name, expression in wanted.items()}
        if given:
            # explode() and others that make several rows of one are refused by Spark inside of another expression.
            self._types(frame, sent)
        expressions = None if is_ready else [f"{expression} as {name}" for name, expression in sent.items()]
        return RecordColumns(frame.schema.json(), expressions)

    def _types(self, frame: DataFrame, wanted: Mapping[str, str], beside: Sequence[str] = ()) -> dict[str, str]:
        """The types of expressions over a frame, which are selected beside other columns."""
        from pyspark.errors import AnalysisException
        from pyspark.sql import functions as F

        try:
            selected = frame.select(*beside, *(F.expr(expression).alias(name) for name, expression in wanted.items()))
            return dict(selected.dtypes[-len(wanted) :])
        except AnalysisException as error:
            failed = error
        if len(wanted) > 1:
            for name, expression in wanted.items():
                self._types(frame, {name: expression}, beside)
        first = next((line for line in str(failed).splitlines() if line.strip()), "")
        keywords = ", ".join(f"{name}={self.given[name]!r}" for name in wanted if name in self.given) or "the frame"
        raise FrameError(f"{keywords}: {_many_or_none(first)}{first} Nothing was written.")

    def _check_names(self, columns: list[str], wanted: Mapping[str, str]) -> None:
        if "value" not in wanted:
            raise FrameError(
                f"the frame has no column 'value', only {', '.join(map(repr, columns))}: name a record's value, such as "
                "value='to_json(struct(*))'. Nothing was written."
            )
        if self.topic is None and "topic" not in wanted:
            raise FrameError("topic= is not given, and the frame has no column 'topic'. Nothing was written.")
        unknown = [] if self.given else [name for name in columns if name not in (*TYPES, *IGNORED)]
        if unknown:
            raise FrameError(
                f"the frame's column {unknown[0]!r} is not a field of a Kafka record ({', '.join(TYPES)}), and would be "
                "lost: drop it, or put it into value=. Nothing was written."
            )

    def _check_types(self, types: Mapping[str, str]) -> None:
        for name, type_ in types.items():
            if type_ not in (*TYPES[name], "void"):
                what = f"{name}={self.given[name]!r}" if name in self.given else f"the frame's column {name!r}"
                raise FrameError(
                    f"{what} is of type {type_}, and a record's {name} is {' or '.join(TYPES[name])}: cast it, or make it "
                    "text by to_json(). Nothing was written."
                )


@dataclass(frozen=True, slots=True)
class RecordColumns:
    """The columns to send of frames of one schema, which was checked: checking takes half the time of a small batch.

    Args:
        schema: the schema, as JSON.
        expressions: SQL expressions of the columns as they are sent; None if the frame has just these: each step of a plan
            costs a small batch time.
    """

    schema: str
    expressions: Sequence[str] | None

    def fit(self, frame: DataFrame) -> bool:
        """Whether the frame has the schema."""
        return frame.schema.json() == self.schema

    def of(self, frame: DataFrame) -> DataFrame:
        """The frame with these columns only: keys and values as bytes or text, times as milliseconds."""
        return frame if self.expressions is None else frame.selectExpr(*self.expressions)


def _as_sent(name: str, expression: str) -> str:
    if name == "timestamp":
        return f"unix_millis({expression})"
    return f"cast(({expression}) as {'binary' if name in ('key', 'value') else TYPES[name][0]})"


def _many_or_none(error: str) -> str:
    """What an expression does wrong that Spark's error does not say."""
    if "MISSING_GROUP_BY" not in error and "UNSUPPORTED_GENERATOR" not in error:
        return ""
    return "each row becomes one record; aggregate or explode rows in the frame instead. "


def split(frame: DataFrame, parts: int) -> DataFrame:
    """The rows in ``parts`` partitions by a stable hash of their keys, or of their values where there is no key.

    Each row names its part, because Spark's numbering of partitions says nothing about their contents.
    """
    from pyspark.sql import functions as F

    binary = [F.col(name).cast("binary") for name in ("key", "value") if name in frame.columns]
    key = F.coalesce(*binary)
    # Spark itself partitions by this hash, so each partition gets the rows of one part.
    return frame.withColumn(PART, F.pmod(F.hash(key), F.lit(parts))).repartition(parts, key)


def send(producer: TransactionalProducer, batches: Iterable[pa.RecordBatch], topic: str | None) -> int:
    """Send the rows in the open transaction, and return how many there were.

    Raises:
        FrameError: a row names no topic.
        WriteFailed: a header has no key, a record was rejected, or the transaction takes too long.
    """
    rows = 0
    for batch in batches:
        _send_batch(producer, batch, topic)
        rows += int(batch.num_rows)
        producer.check_time()
        fault("rows-half")
    return rows


def _send_batch(producer: TransactionalProducer, batch: pa.RecordBatch, topic: str | None) -> None:
    columns = {name: _values(batch.column(name), name) for name in batch.schema.names if name != PART}
    nothing = [None] * batch.num_rows
    values, keys = columns.pop("value"), columns.pop("key", nothing)
    if topic is not None and not columns:
        for value, key in zip(values, keys, strict=True):
            producer.put((topic, value, key))
        return
    topics = columns.pop("topic", [topic] * batch.num_rows)
    names = list(columns)
    rest = zip(*columns.values(), strict=True) if columns else iter([()] * batch.num_rows)
    for name, value, key, more in zip(topics, values, keys, rest, strict=True):
        if name is None:
            raise FrameError("a row's column 'topic' is null, and topic= is not given. Nothing was written.")
        producer.put((name, value, key), _options(names, more))


def _values(column: pa.Array, name: str) -> list[Any]:
    """A column's values, with the text of keys and values as bytes."""
    values: list[Any] = (column.cast("binary") if name in ("key", "value") else column).to_pylist()
    return values


def _options(names: list[str], values: tuple[Any, ...]) -> dict[str, Any]:
    """A record's further fields, as the client takes them; ``headers`` come as a list of structs."""
    options = {name: value for name, value in zip(names, values, strict=True) if value is not None}
    if "headers" in options:
        options["headers"] = [_header(header) for header in options["headers"]]
    return options


def _header(header: Mapping[str, Any] | None) -> tuple[str, bytes | None]:
    if header is None or header["key"] is None:
        # The client would send the text None as the header's key.
        what = "a header that is NULL" if header is None else "a header whose key is NULL"
        raise WriteFailed(f"headers: a row has {what}; fix or filter it, or leave headers out of it. Nothing was written.")
    return header["key"], header["value"]
