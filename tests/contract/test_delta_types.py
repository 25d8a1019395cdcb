"""Types, values and files that do not go into a Delta table."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.errors import StreamingQueryException

from foreachonce import DeltaSink, exactly_once
from foreachonce.testing.contract import refused


@pytest.fixture
def landed(stream, tmp_path, spark):
    """Make a table of one column beside its key, bring one row into it, and return what it then holds."""

    def land(column: str, value: str, *, mode="merge", named=False, **keywords):
        path = str(tmp_path / "landed")
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
