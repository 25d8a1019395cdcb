"""What a database's driver cannot carry becomes text before it travels, in Spark's generated code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from foreachonce.sql.types import JSON_OPTIONS, NESTED, name_of

if TYPE_CHECKING:
    from pyspark.sql import Column
    from pyspark.sql.types import DataType


def nested_as_json(column: Column, data_type: DataType) -> Column:
    """Nested values as JSON; others as they are."""
    from pyspark.sql import functions as F

    return F.to_json(column, JSON_OPTIONS) if name_of(data_type) in NESTED else column


def exact_as_text(column: Column, data_type: DataType) -> Column:
    """Nested values as JSON, decimals as plain text; others as they are."""
    return column.cast("string") if name_of(data_type) == "decimal" else nested_as_json(column, data_type)
