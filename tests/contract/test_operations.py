"""What docs/operations tells to do, done."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import sqlalchemy as sa
from pyspark.sql import functions as F

from foreachonce import DeltaSink, DeltaTables, JdbcSink, exactly_once
from foreachonce.testing.contract import refused

PAGES = Path(__file__).parents[2] / "docs" / "operations"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def blocks(page: str, language: str, heading: str = "") -> list[str]:
    """The page's blocks of a language, from a heading on."""
    text = (PAGES / page).read_text()
    return [block for kind, block in BLOCK.findall(text[text.index(heading) :]) if kind == language]


@pytest.fixture
def path(tmp_path) -> str:
    return str(tmp_path / "orders")


@pytest.fixture
def python(path, capsys):
    """Run a block of Python on the table of the test; return what it prints."""

    def python(block: str) -> str:
        assert '"/data/orders"' in block
        capsys.readouterr()
        exec(block.replace("/data/orders", path), {})
        return capsys.readouterr().out

    return python


@pytest.fixture
def table(spark, path):
    """Ask the table, and put it back."""

    class Table:
        def ids(self) -> list[int]:
            return [row.id for row in spark.read.format("delta").load(path).orderBy("id").collect()]

        def restore(self, version: int, path: str = path) -> None:
            spark.sql(f"RESTORE delta.`{path}` TO VERSION AS OF {version}").collect()

    return Table()


# --- my checkpoint is gone ------------------------------------------------------------------------------------------


def go_on_with_a_new_checkpoint(stream, sink):
    """Write two batches, lose the checkpoint, and write both again and a third."""
    stream.feed([1], [2])
    stream.run(sink("raise"))
    stream.lose_checkpoint()
    stream.feed([3])
    stream.run(sink("write"))


def test_entry_that_was_forced_is_found_by_sql(stream, sqlite_url):
    go_on_with_a_new_checkpoint(stream, lambda way: JdbcSink(sqlite_url, table="orders", stream="orders", on_mismatch=way))
    (query,) = blocks("my-checkpoint-is-gone.md", "sql", "## Afterwards")
    with sa.create_engine(sqlite_url, poolclass=sa.NullPool).begin() as connection:
        (row,) = connection.execute(sa.text(query)).all()
    assert (row.seq, row.batch_id, row.rows, row.decision) == (2, 0, 1, "on_mismatch=write: behind")


def test_entry_that_was_forced_is_found_by_python(stream, table, path, python):
    go_on_with_a_new_checkpoint(stream, lambda way: DeltaSink(path, stream="orders", on_mismatch=way))
    (block,) = blocks("my-checkpoint-is-gone.md", "python", "## Afterwards")
    (line,) = python(block).splitlines()
    assert line.startswith("2 ")
    assert line.endswith(" 0 1 on_mismatch=write: behind")
    assert table.ids() == [1, 1, 2, 2, 3]


# --- a table was restored -------------------------------------------------------------------------------------------


def put_checkpoint_back(stream, copy) -> None:
    stream.restore_checkpoint(copy)


def cut_checkpoint_back(stream, copy) -> None:
    """The commands of the database's page, which the table's refers to; the ledger ends with batch 0."""
    (commands,) = blocks("the-database-was-restored.md", "sh")
    newest = max(int(file.name) for file in (stream.checkpoint / "offsets").iterdir() if file.name.isdigit())
    assert "seq 42 57" in commands
    script = commands.replace("seq 42 57", f"seq 1 {newest}")
    subprocess.run(["bash", "-ec", script], cwd=stream.checkpoint.parent, check=True)


def accept_the_gap(stream, copy) -> None:
    """Only the sink's keyword does it."""


def test_restore_is_undone_by_another(stream, table, path):
    sink = DeltaSink(path, stream="orders")
    stream.feed([1], [2])
    stream.run(sink)
    table.restore(0)
    stream.feed([3])
    with refused("Mismatch", "ahead"):
        stream.run(sink)
    table.restore(1)
    stream.run(sink)
    assert table.ids() == [1, 2, 3]


@pytest.mark.parametrize(
    ("way", "on_mismatch", "ids", "decision"),
    [
        (put_checkpoint_back, "raise", [1, 2, 3, 4], "write"),
        (cut_checkpoint_back, "raise", [1, 2, 3, 4], "write"),
        (accept_the_gap, "write", [1, 4], "on_mismatch=write: ahead"),
    ],
)
def test_restored_table_goes_unnoticed_then_is_refused_then_mended(
    stream, table, path, python, way, on_mismatch, ids, decision
):
    sink = DeltaSink(path, stream="orders")
    stream.feed([1])
    stream.run(sink)
    copy = stream.copy_checkpoint("copy")
    stream.feed([2], [3])
    stream.run(sink)
    table.restore(0)
    stream.run(sink)
    assert table.ids() == [1]
    stream.feed([4])
    with refused("Mismatch", "ahead", f"Delta table {path}", "RESTORE", "docs/operations/a-table-was-restored.md"):
        stream.run(sink)
    assert "seq=0, " in python(blocks("a-table-was-restored.md", "python")[0])
    way(stream, copy)
    stream.run(DeltaSink(path, stream="orders", on_mismatch=on_mismatch))
    assert table.ids() == ids
    assert list(sink.ledger.entries("orders"))[1].decision == decision


def test_one_of_several_tables_is_restored(stream, table, spark, path):
    tables = DeltaTables(path, f"{path}-2", stream="orders")

    @exactly_once(tables)
    def write(df, batch_id, tx):
        tx.append(df, table=path)
        tx.append(df.where(F.col("id") > 0), table=f"{path}-2")

    stream.feed([1])
    stream.run(write)
    copy = stream.copy_checkpoint("copy")
    stream.feed([2])
    stream.run(write)
    table.restore(0, f"{path}-2")
    stream.feed([3])
    with refused("Mismatch", f"Delta table {path}-2"):
        stream.run(write)
    assert [sink.ledger.head("orders").batch_id for sink in tables.sinks] == [2, 0]
    stream.restore_checkpoint(copy)
    stream.run(write)
    for place in (path, f"{path}-2"):
        assert sorted(row.id for row in spark.read.format("delta").load(place).collect()) == [1, 2, 3]


def test_restore_amid_a_batch_is_done_once_more(stream, table, path):
    """To the version of the first RESTORE, and the checkpoint with it."""
    sink = DeltaSink(path, stream="orders")

    @exactly_once(sink)
    def restoring(frame, batch_id):
        table.restore(0)
        return frame

    stream.feed([1])
    stream.run(sink)
    copy = stream.copy_checkpoint("copy")
    stream.feed([2])
    stream.run(sink)
    stream.feed([3])
    with refused("LedgerError", "put back by RESTORE while batch 2"):
        stream.run(restoring)
    table.restore(2)  # 0 and 1: batches; 2: the RESTORE; 3: batch 2
    assert table.ids() == [1]
    stream.restore_checkpoint(copy)
    stream.run(sink)
    assert table.ids() == [1, 2, 3]
