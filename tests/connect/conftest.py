"""A Spark Connect session in place of the classic one; a process can have only one of them, so these tests run apart."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from tempfile import mkdtemp

import pytest
from pyspark.sql import SparkSession

from foreachonce.faults import VARIABLE
from foreachonce.testing.spark import SMALL


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    os.environ.setdefault(VARIABLE, mkdtemp(prefix="foreachonce-faults-"))
    os.environ["PYSPARK_PYTHON"] = sys.executable
    builder = SparkSession.builder.remote("local[2]")
    for key, value in SMALL.items():
        builder = builder.config(key, value)
    spark = builder.getOrCreate()
    yield spark
    spark.stop()
