"""Every type of Spark's, also nested, with extreme and random values, on every database and path: all arrive as they are."""

from __future__ import annotations

import base64
import datetime as dt
import json
import math
import random
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import Any

import pytest
from pyspark.sql import types as T

from foreachonce import DeltaSink, JdbcSink, KafkaSink, exactly_once
from foreachonce.sql.types import NESTED, name_of
from tests.servers.kafka import Reader, make_topic

UTC = dt.timezone.utc
ROWS = 40
_WIDE = Context(prec=60)
CHARACTERS = "aZ09 \t\n\r\\\"'`%:?{}[](),;.\x01\x7f\x85éßİ中\u200b\u2028\ufeff\ufffd😀👩‍🚀"
KINDS: dict[str, tuple[T.DataType, list[Any], Callable[[random.Random], Any]]] = {
    "tinyint": (T.ByteType(), [-128, 127], lambda r: r.randint(-128, 127)),
    "smallint": (T.ShortType(), [-(2**15), 2**15 - 1], lambda r: r.randint(-(2**15), 2**15 - 1)),
    "int": (T.IntegerType(), [-(2**31), 2**31 - 1], lambda r: r.randint(-(2**31), 2**31 - 1)),
    "bigint": (T.LongType(), [-(2**63), 2**63 - 1, 2**53 + 1], lambda r: r.randint(-(2**63), 2**63 - 1)),
    "boolean": (T.BooleanType(), [True, False], lambda r: r.random() < 0.5),
    "float": (T.FloatType(), [0.0, 3.4028234663852886e38, 1e-45], lambda r: r.uniform(-1, 1) * 10 ** r.randint(-38, 38)),
    "double": (
        T.DoubleType(),
        [-0.0, 1.7976931348623157e308, 5e-324, 0.1],
        lambda r: r.uniform(-1, 1) * 10.0 ** r.randint(-300, 300),
    ),
    "string": (
        T.StringType(),
        ["", "NULL", "\\N", "{}", "x" * 70_000],
        lambda r: "".join(r.choices(CHARACTERS, k=r.randint(0, 12))),
    ),
    "binary": (T.BinaryType(), [b"", bytes(range(256))], lambda r: r.randbytes(r.randint(0, 9))),
    "date": (
        T.DateType(),
        [dt.date(1, 1, 1), dt.date(9999, 12, 31), dt.date(1582, 10, 10)],
        lambda r: dt.date(1, 1, 1) + dt.timedelta(r.randint(0, 3_652_058)),
    ),
    "timestamp": (
        T.TimestampType(),
        [dt.datetime(1850, 1, 1, tzinfo=UTC), dt.datetime(2024, 11, 3, 5, 30, tzinfo=UTC), dt.datetime(1, 1, 2, tzinfo=UTC)],
        lambda r: _moment(r).replace(tzinfo=UTC),
    ),
    "timestamp_ntz": (T.TimestampNTZType(), [dt.datetime(1, 1, 1), dt.datetime(2024, 3, 10, 2, 30)], lambda r: _moment(r)),
    "decimal(38,0)": (
        T.DecimalType(38, 0),
        [Decimal(10**38 - 1), Decimal(1 - 10**38)],
        lambda r: Decimal(r.randint(-(10**38) + 1, 10**38 - 1)),
    ),
    "decimal(38,18)": (
        T.DecimalType(38, 18),
        [Decimal("0E-18"), Decimal("-0.000000000000000001")],
        lambda r: Decimal(r.randint(-(10**38) + 1, 10**38 - 1)).scaleb(-18, _WIDE),
    ),
    "decimal(10,2)": (
        T.DecimalType(10, 2),
        [Decimal("1.50"), Decimal("-99999999.99")],
        lambda r: Decimal(r.randint(-(10**10) + 1, 10**10 - 1)).scaleb(-2),
    ),
}
# What a map's key is written as; a key of floats has Java's own form.
KEYS = ("tinyint", "int", "bigint", "boolean", "string", "binary", "date", "timestamp", "timestamp_ntz", "decimal(10,2)")


@dataclass
class Column:
    """A column of the frame: its type, and a value for each row."""

    data_type: T.DataType
    values: list[Any]


def _moment(r: random.Random) -> dt.datetime:
    return dt.datetime(1, 1, 2) + dt.timedelta(microseconds=r.randrange(10**6 * 86_400 * 3_652_050))


def columns(seed: int) -> dict[str, Column]:
    r = random.Random(seed)
    made: dict[str, Column] = {}

    def some(kind: str) -> Any:
        _, extremes, draw = KINDS[kind]
        chance = r.random()
        return None if chance < 0.1 else r.choice(extremes) if chance < 0.3 else draw(r)

    def sure(kind: str) -> Any:
        return next(value for value in iter(lambda: some(kind), object()) if value is not None)

    for number, (kind, (data_type, extremes, draw)) in enumerate(KINDS.items()):
        values = [None, *extremes, *(draw(r) for _ in range(ROWS))][:ROWS]
        made[f"s{number}"] = Column(data_type, values)
        made[f"a{number}"] = Column(
            T.ArrayType(data_type), [[some(kind) for _ in range(r.randint(0, 4))] for _ in range(ROWS)]
        )
        made[f"d{number}"] = Column(
            T.ArrayType(T.StructType([T.StructField("x-y", data_type), T.StructField("z", T.ArrayType(data_type))])),
            [[(some(kind), [some(kind)]) for _ in range(r.randint(0, 2))] for _ in range(ROWS)],
        )
        if kind in KEYS:
            keys = [[sure(kind) for _ in range(r.randint(0, 3))] for _ in range(ROWS)]
            made[f"m{number}"] = Column(
                T.MapType(data_type, data_type), [{key: some(kind) for key in each} for each in keys]
            )
    return made


# --- what is to be there ---------------------------------------------------------------------------------------------


def each_part(value: Any, data_type: T.DataType, scalar: Callable[[Any, T.DataType], Any]) -> Any:
    """A value, a frame's or one of JSON, as JSON has it: its scalars as ``scalar`` makes them."""
    if value is None:
        return None
    if isinstance(data_type, T.ArrayType):
        return [each_part(each, data_type.elementType, scalar) for each in value]
    if isinstance(data_type, T.MapType):
        return {_key(key, data_type.keyType): each_part(each, data_type.valueType, scalar) for key, each in value.items()}
    if isinstance(data_type, T.StructType):
        parts = [value[each.name] for each in data_type.fields] if isinstance(value, dict) else value
        return {
            each.name: each_part(part, each.dataType, scalar) for each, part in zip(data_type.fields, parts, strict=True)
        }
    return scalar(value, data_type)


def as_json(value: Any, data_type: T.DataType) -> Any:
    return each_part(value, data_type, _scalar_as_json)


def _scalar_as_json(value: Any, data_type: T.DataType) -> Any:
    if isinstance(value, bool | str):
        return value
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, dt.datetime):
        return value.isoformat(timespec="microseconds").replace("+00:00", "Z")
    return value.isoformat() if isinstance(value, dt.date) else _number(value, data_type)


def _key(key: Any, data_type: T.DataType) -> str:
    if isinstance(key, str):
        return key
    if isinstance(key, bool):
        return str(key).lower()
    return str(key) if isinstance(key, int | Decimal) else str(as_json(key, data_type))


def _single(value: Any) -> float:
    """The number that a float of 32 bits holds."""
    return float(struct.unpack("f", struct.pack("f", float(value)))[0])


def _number(value: Any, data_type: T.DataType) -> Any:
    if isinstance(data_type, T.FloatType):
        return _single(value)
    return float(value) if isinstance(data_type, T.DoubleType) else Decimal(value)


def read(value: Any, data_type: T.DataType) -> Any:
    """A value out of the database in the form of the frame's."""
    if value is None:
        return None
    if isinstance(value, list):
        assert isinstance(data_type, T.ArrayType)
        return [read(each, data_type.elementType) for each in value]
    if name_of(data_type) in NESTED:
        found = json.loads(value, parse_float=Decimal, parse_int=Decimal) if isinstance(value, str) else value
        return each_part(found, data_type, lambda each, kind: _number(each, kind) if isinstance(each, Decimal) else each)
    return _READ.get(name_of(data_type), lambda each: each)(value)


def _instant(value: Any) -> dt.datetime:
    moment = dt.datetime.fromisoformat(value.replace("Z", "+00:00")) if isinstance(value, str) else value
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


_READ: dict[str, Callable[[Any], Any]] = {
    "boolean": bool,
    "float": _single,
    "double": float,
    "binary": bytes,
    "decimal": Decimal,
    "date": lambda value: dt.date.fromisoformat(value) if isinstance(value, str) else value,
    "timestamp": _instant,
    "timestamp_ntz": lambda value: dt.datetime.fromisoformat(value) if isinstance(value, str) else value,
}


def expected(value: Any, data_type: T.DataType, *, has_arrays: bool) -> Any:
    is_array = isinstance(data_type, T.ArrayType) and name_of(data_type.elementType) not in NESTED
    if value is None or name_of(data_type) not in NESTED or (has_arrays and is_array):
        single = isinstance(data_type, T.FloatType)
        if is_array and isinstance(data_type.elementType, T.FloatType) and value is not None:
            return [None if each is None else _single(each) for each in value]
        return _single(value) if single and value is not None else value
    return as_json(value, data_type)


def differences(url: str, made: dict[str, Column], rows: list[tuple]) -> Iterator[str]:
    for place, (name, column) in enumerate(made.items(), 1):
        for number, row in enumerate(rows):
            right = expected(column.values[number], column.data_type, has_arrays=url.startswith("postgresql"))
            found = read(row[place], column.data_type)
            # SQLite and MariaDB keep no sign of a zero; to Spark 0.0 and -0.0 are equal.
            is_zero = isinstance(right, float) and right == 0.0 and url.startswith("postgresql")
            if found != right or (is_zero and math.copysign(1, found) != math.copysign(1, right)):
                yield f"{name} {column.data_type.simpleString()}, row {number}: {found!r:.120} is there, not {right!r:.120}"


@pytest.mark.parametrize("mode", ["append", "merge"])
@pytest.mark.parametrize("way", ["direct", "staged", "driver"])
@pytest.mark.parametrize("seed", [20261127])
def test_every_value_of_every_type_arrives(url, stream, query, mode, way, seed):
    if url.startswith("sqlite") and way == "staged":
        pytest.skip("SQLite has one path")
    made = columns(seed)
    schema = T.StructType(
        [T.StructField("n", T.IntegerType()), *(T.StructField(name, each.data_type) for name, each in made.items())]
    )
    rows = [(number, *(each.values[number] for each in made.values())) for number in range(ROWS)]

    @exactly_once(JdbcSink(url, table="t", stream="s", mode=mode, key="n" if mode == "merge" else None, path=way))
    def batch(frame, batch_id):
        return frame.sparkSession.createDataFrame(rows, schema)

    stream.feed([1])
    stream.run(batch)
    selected = ", ".join(
        f"cast({name} as text)" if url.startswith("postgresql") and _is_json(each.data_type) else name
        for name, each in made.items()
    )
    wrong = list(differences(url, made, query(f"select n, {selected} from t order by n")))
    assert not wrong, f"{len(wrong)} values differ:\n" + "\n".join(wrong[:40])


def _is_json(data_type: T.DataType) -> bool:
    is_array = isinstance(data_type, T.ArrayType) and name_of(data_type.elementType) not in NESTED
    return name_of(data_type) in NESTED and not is_array


@pytest.mark.parametrize("mode", ["append", "merge"])
def test_every_value_of_every_type_arrives_in_delta(spark, stream, tmp_path, mode):
    made, path = columns(20261128), str(tmp_path / "t")
    fields = [T.StructField(name, each.data_type) for name, each in made.items()]
    schema = T.StructType([T.StructField("n", T.IntegerType()), *fields])
    rows = [(number, *(each.values[number] for each in made.values())) for number in range(ROWS)]

    @exactly_once(DeltaSink(path, stream="s", mode=mode, key="n" if mode == "merge" else None))
    def batch(frame, batch_id):
        return frame.sparkSession.createDataFrame(rows, schema)

    stream.feed([1], [2])
    stream.run(batch)
    right = spark.createDataFrame(rows * (1 if mode == "merge" else 2), schema).orderBy("n").collect()
    found = spark.read.format("delta").load(path).orderBy("n").collect()
    wrong = [
        f"{name}, row {one.n}: {one[name]!r:.120} is there, not {other[name]!r:.120}"
        for one, other in zip(found, right, strict=True)
        for name in made
        if one[name] != other[name]
    ]
    assert not wrong, "\n".join(wrong[:40])


@pytest.mark.parametrize("way", ["driver", "task"])
def test_every_record_of_kafka_is_what_spark_holds(spark, stream, kafka_server, way):
    """A text that is not UTF-8 is sent as the bytes that Spark holds, as its own writer does."""
    topic, r = f"values-{way}", random.Random(20261127)
    make_topic(kafka_server, topic, partitions=1)
    texts = [*KINDS["string"][1], *(KINDS["string"][2](r) for _ in range(ROWS))]
    bytes_ = [None, b"", bytes(range(256)), b"\xed\xa0\x80", b"\xff", *(r.randbytes(r.randint(0, 9)) for _ in texts)]
    rows = [(number, r.choice([None, *texts]), r.choice(bytes_), r.choice(texts), r.choice(bytes_)) for number in range(200)]
    schema = "n int, key string, value binary, header string, bytes binary"

    @exactly_once(KafkaSink(kafka_server, topic=topic, stream=f"values-{way}", path=way))
    def batch(frame, batch_id):
        made = frame.sparkSession.createDataFrame(rows, schema).coalesce(1).sortWithinPartitions("n")
        header = "array(named_struct('key', concat('h', header), 'value', bytes)) as headers"
        return made.selectExpr("if(n % 2 = 0, key, cast(value as string)) as key", "value", header)

    stream.feed([1])
    stream.run(batch)
    found = [(each.key(), each.value(), each.headers()) for each in Reader(kafka_server).messages(topic)]
    encoded = [None if key is None else key.encode() for _, key, *_ in rows]
    assert found == [
        (encoded[n] if n % 2 == 0 else value, value, [(f"h{header}", part)]) for n, _, value, header, part in rows
    ]
