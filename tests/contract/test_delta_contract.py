"""The Delta sink keeps the contract."""

from __future__ import annotations

import pytest

from foreachonce import DeltaSink
from foreachonce.delta.sink import DELTA_POINTS
from foreachonce.runner import POINTS_AFTER, POINTS_BEFORE
from foreachonce.testing.contract import SinkContract


class DeltaPlace:
    points = (*POINTS_BEFORE, *DELTA_POINTS, *POINTS_AFTER)

    @pytest.fixture(autouse=True)
    def place(self, spark, tmp_path):
        self.spark, self.path = spark, str(tmp_path / "events")

    def sink(self, stream, **keywords):
        return DeltaSink(self.path, stream=stream, **keywords)

    def read(self):
        if self.sink("s").ledger.streams() == []:
            return []
        return [row.id for row in self.spark.read.format("delta").load(self.path).orderBy("id").collect()]


class TestDelta(DeltaPlace, SinkContract):
    pass
