"""Types, values and files that do not go into a Delta table."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.errors import StreamingQueryException

from foreachonce import DeltaSink, exactly_once
from foreachonce.delta import write
from foreachonce.testing.contract import refused


@pytest.fixture
def landed(stream, tmp_path, spark):
    """Make a table of one column beside its key, bring one row into it, and return what it then holds."""

    def land(column: str, value: str, *, mode="merge", named=False, suffix="", **keywords):
        path = land.path + suffix
        spark.sql(f"CREATE TABLE IF NOT EXISTS landed (id bigint, v {column}) USING delta LOCATION '{path}'")
        sink = DeltaSink(
            "landed" if named else path, stream="s", mode=mode, key="id" if mode == "merge" else None, **keywords
        )
        stream.feed([1])
        try:
            stream.run(exactly_once(sink)(lambda frame, batch_id: frame.selectExpr("id", f"{value} AS v")))
        finally:
            rows = [str(row.v) for row in spark.table("landed").collect()]
            land.rows = rows
        return rows

    land.path = str(tmp_path / "landed")
    yield land
    spark.sql("DROP TABLE IF EXISTS landed")


LOSES = [
    ("decimal(10,2)", "1.2399BD", "decimal(10,2)", "decimal(5,4)"), ("decimal(10,2)", "1.2399D", "decimal(10,2)", "double"),
    ("decimal(10,2)", "'1.2399'", "decimal(10,2)", "string"), ("int", "5L", "int", "bigint"),
    ("struct<a: decimal(10,2)>", "named_struct('a', 1.2399BD)", "struct<a:decimal(10,2)>", "struct<a:decimal(5,4)>"),
]  # fmt: skip


@pytest.mark.parametrize(("column", "value", "there", "found", "mode", "named"), [
    *((*each, "merge", False) for each in LOSES), (*LOSES[0], "append", True), (*LOSES[0], "append", False),
])  # fmt: skip
def test_type_that_loses_values_is_refused(landed, column, value, there, found, mode, named):
    """Which types lose values: tests/unit/test_delta_types.py."""
    with refused(
        "FrameError", "landed", f"'v' is {there} there and {found} in the frame", "cast it", "Nothing was"
    ) as caught:
        landed(column, value, mode=mode, named=named)
    assert "During handling" not in str(caught.value)
    assert landed.rows == []


def as_struct(*columns: tuple[str, str, str]) -> tuple[str, str, str]:
    """Several columns as the fields of one: their types, their values and the row that is there."""
    types, values, rows = zip(*columns, strict=True)
    fields = ", ".join(f"f{number}: {kind}" for number, kind in enumerate(types))
    named = ", ".join(f"'f{number}', {value}" for number, value in enumerate(values))
    row = ", ".join(f"f{number}={value}" for number, value in enumerate(rows))
    return f"struct<{fields}>", f"named_struct({named})", f"Row({row})"


@pytest.mark.parametrize(("mode", "named"), [("merge", False), ("append", True)])
@pytest.mark.parametrize(("column", "value", "row"), [
    as_struct(
        ("bigint", "5", "5"), ("double", "float(0.5)", "0.5"), ("decimal(10,2)", "1.25BD", "Decimal('1.25')"),
        ("decimal(10,2)", "5Y", "Decimal('5.00')"), ("decimal(10,2)", "NULL", "None"),
        ("timestamp_ntz", "DATE'2026-01-02'", "datetime.datetime(2026, 1, 2, 0, 0)"), ("struct<a: bigint, b: int>",
        "named_struct('b', 2, 'a', 1)", "Row(a=1, b=2)"),
    ),
    ("varchar(3)", "'abc'", "abc"), ("decimal(10,2)", "5Y", "5.00"),
])  # fmt: skip
def test_type_that_loses_nothing_goes_in(landed, column, value, row, mode, named):
    assert landed(column, value, mode=mode, named=named) == [row]


@pytest.mark.parametrize(("column", "value", "row"), [
    as_struct(
        ("int", "5000000000L", "5000000000"), ("decimal(10,2)", "CAST(1.2399 AS decimal(12,4))", "Decimal('1.2399')"),
        ("float", "0.1D", "0.1"), ("struct<a: int>", "named_struct('a', 5000000000L)", "Row(a=5000000000)"),
    ),
    ("int", "5000000000L", "5000000000"),
])  # fmt: skip
def test_merge_that_may_change_the_schema_widens_a_column_or_is_refused(landed, column, value, row, spark):
    with refused("FrameError", "column 'v", "Nothing was written"):
        landed(column, value, merge_schema=True)
    spark.sql("ALTER TABLE landed SET TBLPROPERTIES ('delta.enableTypeWidening' = 'true')")
    assert landed(column, value, merge_schema=True) == [row]


@pytest.mark.parametrize("mode", ["append", "merge"])
@pytest.mark.parametrize(("column", "value", "words"), [
    ("int", "int(concat('x', id))", "CAST_INVALID_INPUT"), ("int", "int(id * 5000000000)", "CAST_OVERFLOW"),
    ("decimal(4,2)", "CAST(id * 100000 AS decimal(4,2))", "NUMERIC_VALUE_OUT_OF_RANGE"),
    ("int NOT NULL", "CAST(NULL AS int)", "NULL"),
    ("varchar(3)", "concat('long ', id)", "long 1"), ("int", "int(id / (id - 1))", "DIVIDE_BY_ZERO"),
])  # fmt: skip
def test_value_that_fails_a_task_writes_nothing(landed, column, value, words, mode):
    with refused("WriteFailed", "landed", words, "Nothing was written"):
        landed(column, value, mode=mode)
    assert landed.rows == []


@pytest.mark.parametrize("mode", ["append", "merge"])
def test_constraint_that_a_row_violates_is_named(landed, spark, mode):
    landed("int", "5")
    spark.sql("ALTER TABLE landed ADD CONSTRAINT positive CHECK (v > 0)")
    with refused("WriteFailed", "landed", "positive", "Nothing was written"):
        landed("int", "-1", mode=mode)
    assert landed.rows == ["5"]


# --- texts that Delta pads ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mode", "named"), [("merge", False), ("append", False), ("append", True)])
@pytest.mark.parametrize(("column", "value", "advice"), [
    ("char(5)", "'ab'", "alter it to string or varchar: ALTER TABLE … ALTER COLUMN `v` TYPE string"),
    ("array<char(3)>", "array('ab')", "make the table anew"), ("map<char(3),int>", "map('ab', 1)", "make the table anew"),
    ("struct<a:varchar(3),b:char(3)>", "named_struct('a', 'x', 'b', 'y')", "make the table anew"),
])  # fmt: skip
def test_column_that_pads_its_texts_is_refused(landed, column, value, advice, mode, named):
    """A key would be compared before it is padded, and its row would come twice."""
    with refused("FrameError", "landed", f"column 'v' is {column} there", advice, "Nothing was written"):
        landed(column, value, mode=mode, named=named)
    assert landed.rows == []


@pytest.mark.parametrize("kind", ["string", "varchar(5)"])
def test_column_that_pads_its_texts_is_taken_once_it_is_altered(landed, spark, kind):
    with refused("FrameError", "char(5)"):
        landed("char(5)", "'ab'")
    spark.sql(f"ALTER TABLE landed ALTER COLUMN v TYPE {kind}")
    assert landed("char(5)", "'ab'") == ["ab"]


def test_column_that_pads_its_texts_may_be_there_where_the_frame_lacks_it(stream, tmp_path, spark):
    path = str(tmp_path / "t")
    spark.sql(f"CREATE TABLE delta.`{path}` (id bigint, value string, c char(5), a array<varchar(3)>) USING delta")
    stream.feed([1])
    stream.run(DeltaSink(path, stream="s"))
    assert [row.c for row in spark.read.format("delta").load(path).collect()] == [None]


@pytest.mark.parametrize("mode", ["append", "merge"])
def test_new_table_of_a_frame_with_padded_texts_has_plain_ones(stream, tmp_path, spark, mode):
    padded, path = str(tmp_path / "padded"), str(tmp_path / "t")
    spark.sql(f"CREATE TABLE delta.`{padded}` (id bigint, v char(3), w varchar(3)) USING delta")
    spark.sql(f"INSERT INTO delta.`{padded}` VALUES (1, 'a', 'b')")
    sink = DeltaSink(path, stream="s", mode=mode, key=["id", "v"] if mode == "merge" else None)
    stream.feed([1], [2])
    stream.run(exactly_once(sink)(lambda frame, batch_id: frame.sparkSession.read.format("delta").load(padded)))
    rows = [tuple(row) for row in spark.read.format("delta").load(path).collect()]
    assert rows == [(1, "a  ", "b")] * (2 if mode == "append" else 1)


def test_appends_by_path_look_at_the_table_once_a_run(stream, tmp_path, monkeypatch):
    looks = []
    schema = write.schema
    monkeypatch.setattr(write, "schema", lambda frame, root: (looks.append(root), schema(frame, root))[1])
    sink = DeltaSink(str(tmp_path / "t"), stream="s")
    stream.feed([1], [2], [3], [4])
    stream.run(sink)
    assert len(looks) == 1
    stream.feed([5], [6])
    stream.run(sink)
    assert len(looks) == 2


# --- collations ---------------------------------------------------------------------------------------------------------

COLLATED = "CAST('x' AS string COLLATE UTF8_LCASE)"


@pytest.mark.parametrize("mode", ["append", "merge"])
def test_text_with_a_collation_is_refused_by_a_new_table(stream, tmp_path, mode):
    sink = DeltaSink(str(tmp_path / "t"), stream="s", mode=mode, key="id" if mode == "merge" else None)
    words = ["'v' is string collate UTF8_LCASE in the frame", "cast(… as string collate UTF8_BINARY)", "Nothing was written"]
    stream.feed([1])
    with refused("FrameError", *words) as caught:
        stream.run(exactly_once(sink)(lambda frame, batch_id: frame.selectExpr("id", f"{COLLATED} AS v")))
    assert "typeCheck" not in str(caught.value)


def test_text_of_another_collation_is_refused(landed, spark):
    with refused("FrameError", "'v' is string there and string collate UTF8_LCASE in the frame", "collate UTF8_BINARY)"):
        landed("string", COLLATED, mode="append")
    spark.sql("DROP TABLE landed")
    spark.conf.set("spark.databricks.delta.schema.typeCheck.enabled", "false")
    try:
        spark.sql("CREATE TABLE landed (id bigint, v string COLLATE UTF8_LCASE) USING delta LOCATION '" + landed.path + "2'")
    finally:
        spark.conf.unset("spark.databricks.delta.schema.typeCheck.enabled")
    with refused("FrameError", "'v' is string collate UTF8_LCASE there and string in the frame", "collate UTF8_LCASE)"):
        landed("string", "'x'", mode="append", suffix="2")
    assert set(landed("string", COLLATED, mode="append", suffix="2")) == {"x"}


def test_key_with_a_collation_is_refused(stream, tmp_path, spark):
    path = str(tmp_path / "t")
    spark.sql(f"CREATE TABLE delta.`{path}` (v string) USING delta")
    stream.feed([1])
    with refused("FrameError", "'v' is string there and string collate UTF8_LCASE in the frame", "Nothing was written"):
        stream.run(
            exactly_once(DeltaSink(path, stream="s", mode="merge", key="v"))(
                lambda frame, batch_id: frame.selectExpr(f"{COLLATED} AS v")
            )
        )


# --- what is at the path ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["orders.csv", "part-00000.parquet", "day=1/part-00000.parquet"])
def test_folder_of_other_files_is_refused(stream, tmp_path, name):
    file = tmp_path / "orders" / name
    file.parent.mkdir(parents=True)
    file.write_text("1,2")
    stream.feed([1])
    with refused(
        "ConfigurationError", str(tmp_path / "orders"), name.split("/")[0], "not a Delta table", "Nothing was written"
    ):
        stream.run(DeltaSink(str(tmp_path / "orders"), stream="s"))
    assert [path.name for path in (tmp_path / "orders").rglob("*") if path.is_file()] == [file.name]


def test_folder_of_hidden_files_becomes_a_table(stream, tmp_path, spark):
    folder = tmp_path / "orders"
    for name in ("_SUCCESS", ".crc", "_foreachonce/0.json"):
        Path(folder, name).parent.mkdir(parents=True, exist_ok=True)
        Path(folder, name).touch()
    stream.feed([1])
    stream.run(DeltaSink(str(folder), stream="s"))
    assert spark.read.format("delta").load(str(folder)).count() == 1


def test_files_of_a_first_batch_that_failed_are_no_others(stream, tmp_path, spark):
    """Delta makes the folder of its log before the first data file."""
    path = str(tmp_path / "orders")

    def torn(frame, batch_id):
        rows = frame.sparkSession.range(4, numPartitions=2)
        return rows.selectExpr("id", "if(id = 3, raise_error('torn'), 'x') AS value").repartitionByRange(2, "id")

    stream.feed([1])
    with pytest.raises(StreamingQueryException, match="torn"):
        stream.run(exactly_once(DeltaSink(path, stream="s", partition_by="id"))(torn))
    Path(path, "part-0.parquet").touch()
    assert Path(path, "_delta_log").is_dir()
    stream.run(DeltaSink(path, stream="s"))
    assert spark.read.format("delta").load(path).count() == 1
