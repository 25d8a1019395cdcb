"""A Spark Connect session in place of the classic one; a process can have only one of them, so these tests run apart."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pyspark.sql import SparkSession

from foreachonce.testing.spark import connect_session


@pytest.fixture(scope="session")
def spark(jdbc_driver: None) -> Iterator[SparkSession]:
    spark = connect_session()
    yield spark
    spark.stop()
