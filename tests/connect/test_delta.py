"""On Spark Connect a Delta table is appended to exactly once; a merge is refused."""

from __future__ import annotations

import pytest
from pyspark.errors import StreamingQueryException

from foreachonce import DeltaSink, exactly_once
from foreachonce.chain import breaks
from foreachonce.testing.contract import refused


@pytest.fixture
def table(tmp_path, stream):
    """A sink, and the ids in its table."""
    path, checkpoint = str(tmp_path / "events"), str(stream.checkpoint)

    def sink(**keywords):
        return DeltaSink(path, stream="s", checkpoint=checkpoint, **keywords)

    sink.ids = lambda: [row.id for row in stream.spark.read.format("delta").load(path).orderBy("id").collect()]
    sink.path = path
    return sink


def test_append_replay_and_entries(stream, table):
    stream.feed([1, 2], [3])
    stream.run(table())
    stream.forget_commit()
    stream.feed([4])
    stream.run(table())
    assert table.ids() == [1, 2, 3, 4]
    entries = list(table().ledger.entries("s"))
    assert list(breaks(entries)) == []
    assert [entry.rows for entry in entries] == [2, 1, 1]
    assert table().ledger.streams() == ["s"]


def test_lost_checkpoint_is_refused(stream, table):
    stream.feed([1])
    stream.run(table())
    stream.lose_checkpoint()
    stream.feed([2])
    with refused("Mismatch", "written again"):
        stream.run(table(), limit=2)
    assert table.ids() == [1]


def test_what_a_restore_undid_is_written_again(stream, table):
    stream.feed([1])
    stream.run(table())
    copy = stream.copy_checkpoint("after-1")
    stream.feed([2])
    stream.run(table())
    stream.restore_checkpoint(copy)
    stream.spark.sql(f"RESTORE delta.`{table.path}` TO VERSION AS OF 0").collect()
    stream.run(table())
    assert table.ids() == [1, 2]


def test_merge_is_refused(stream, table):
    stream.feed([1])
    with refused("ConfigurationError", "does not go on Spark Connect", "Nothing was written"):
        stream.run(table(mode="merge", key="id"))
    assert table().ledger.head("s") is None


def test_rows_that_fail_write_nothing(stream, table):
    stream.feed([1], [2])
    torn = exactly_once(table())(lambda frame, batch_id: frame.selectExpr("if(id = 2, raise_error('torn'), id) as id"))
    with pytest.raises(StreamingQueryException, match="torn"):
        stream.run(torn)
    assert table.ids() == [1]


@pytest.mark.parametrize("column", ["char(5)", "array<char(5)>"])
def test_column_that_pads_its_texts_is_refused(stream, table, column):
    stream.spark.sql(f"CREATE TABLE delta.`{table.path}` (id bigint, value {column}) USING delta").collect()
    value = "value" if column == "char(5)" else "array(value) as value"
    stream.feed([1])
    with refused("FrameError", f"column 'value' is {column} there", "Nothing was written"):
        stream.run(exactly_once(table())(lambda frame, batch_id: frame.selectExpr("id", value)))
    assert table.ids() == []
