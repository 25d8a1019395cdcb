"""What docs/operations tells to do, done: the pages' own blocks run, on a database and folders of the test."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import typer
from pyspark.errors import StreamingQueryException
from pyspark.sql import functions as F

from foreachonce import ConfigurationError, DeltaSink, DeltaTables, JdbcSink, Mismatch, SqlLedger, StateLost, exactly_once
from foreachonce.chain import breaks
from foreachonce.cli.app import app
from foreachonce.errors import Expired
from foreachonce.sql import statements
from foreachonce.testing.contract import refused
from foreachonce.testing.recovery import start
from foreachonce.testing.stream import SCHEMA, open_stream
from tests import pages
from tests.servers.kafka import KafkaStream
from tests.unit.builders import of_files

PAGES = pages.DOCS / "operations"


def blocks(page: str, language: str, heading: str = "") -> list[str]:
    return pages.blocks(f"operations/{page}", language, heading)


def asked(url: str, query: str) -> list[Any]:
    with sa.create_engine(url, poolclass=sa.NullPool).begin() as connection:
        return connection.execute(sa.text(query)).all()


def ids(url: str, table: str = "orders") -> list[int]:
    return [row.id for row in asked(url, f"select id from {table} order by id")]


@pytest.fixture
def path(tmp_path) -> str:
    return str(tmp_path / "orders")


class Shop:
    """Runs the blocks of pages: their addresses are places of the test, ``events`` is its stream, and names stay."""

    def __init__(self, stream, path: str, url: str, capsys) -> None:
        self._stream, self._url, self._capsys = stream, url, capsys
        bucket = stream.source.parent / "bucket"
        self._places = {
            "postgresql://app@db/shop": url,
            "postgresql://app@db/ops": url,
            "s3a://new-bucket/checkpoints/orders": str(bucket / "checkpoint"),
            "s3a://new-bucket": str(bucket),
            "/data/orders": path,
            "/checkpoints/orders": str(stream.checkpoint),
            "/checkpoints/crm": str(stream.checkpoint),
        }
        self.names: dict[str, Any] = {"spark": stream.spark, "schema": SCHEMA}
        self.change = lambda frame: frame

    def python(self, block: str) -> str:
        """Run a block, and the query that it starts until all is written; return what is printed."""
        block = self._here(block)
        self._capsys.readouterr()
        self.names["events"] = self.change(open_stream(self._stream.spark, self._stream.source, limit=1))
        pages.run_block(block, self.names)
        return self._capsys.readouterr().out

    def sql(self, query: str) -> list[Any]:
        return asked(self._url, query)

    def ids(self, table: str = "orders") -> list[int]:
        return ids(self._url, table)

    def folder(self, place: str) -> Path:
        """What an address of the pages is here."""
        return Path(self._here(place))

    def _here(self, text: str) -> str:
        return pages.placed(text, self._places)


@pytest.fixture
def shop(stream, path, sqlite_url, capsys) -> Shop:
    return Shop(stream, path, sqlite_url, capsys)


@pytest.fixture
def database(tmp_path):
    """Dump the database, and put the dump back."""

    class Database:
        file = tmp_path / "sink.db"

        def dump(self) -> None:
            shutil.copy(self.file, self.file.with_suffix(".dump"))

        def restore(self) -> None:
            shutil.copy(self.file.with_suffix(".dump"), self.file)

    return Database()


@pytest.fixture
def table(spark, path):
    """Ask the Delta table, and put it back."""

    class Table:
        def ids(self) -> list[int]:
            return [row.id for row in spark.read.format("delta").load(path).orderBy("id").collect()]

        def restore(self, version: int, path: str = path) -> None:
            spark.sql(f"RESTORE delta.`{path}` TO VERSION AS OF {version}").collect()

    return Table()


# --- my checkpoint is gone ------------------------------------------------------------------------------------------

GONE = "my-checkpoint-is-gone.md"


def test_lost_checkpoint_is_written_anew(stream, shop):
    begin, prepare, files, _ = blocks(GONE, "python")
    whose, what = blocks(GONE, "sql")
    stream.feed([1], [2])
    shop.python(begin)
    (before,) = shop.sql(whose)
    stream.lose_checkpoint()
    assert "the checkpoint is gone" in shop.python(prepare)
    assert before.query_id in (stream.checkpoint / "metadata").read_text()
    stream.feed([3])
    shop.python(begin)
    assert shop.ids() == [1, 2, 3]
    (repair,) = shop.sql(what)
    assert repair.batch_id < 0
    assert str(repair.decision) == "repair: checkpoint missing, mended to go on after batch 1"
    assert [Path(line).name for line in shop.python(files).splitlines()] == ["00000.json", "00001.json", "00002.json"]


def go_on_with_a_new_checkpoint(stream, sink):
    """Write two batches, lose the checkpoint, and write both again and a third."""
    stream.feed([1], [2])
    stream.run(sink("raise"))
    stream.lose_checkpoint()
    stream.feed([3])
    stream.run(sink("write"))


def test_entry_that_was_forced_is_found_by_sql(stream, shop, sqlite_url):
    go_on_with_a_new_checkpoint(stream, lambda way: JdbcSink(sqlite_url, table="orders", stream="orders", on_mismatch=way))
    (row,) = shop.sql(blocks(GONE, "sql", "## Afterwards")[0])
    assert (row.seq, row.batch_id, row.rows, str(row.decision)) == (2, 0, 1, "on_mismatch=write: behind")


def test_entry_that_was_forced_is_found_by_python(stream, table, path, shop):
    go_on_with_a_new_checkpoint(stream, lambda way: DeltaSink(path, stream="orders", on_mismatch=way))
    (line,) = shop.python(blocks(GONE, "python", "## Afterwards")[0]).splitlines()
    assert line.startswith("2 ")
    assert line.endswith(" 0 1 on_mismatch=write: behind")
    assert table.ids() == [1, 1, 2, 2, 3]


# --- the database was restored --------------------------------------------------------------------------------------


def test_restored_database_gets_what_it_lacks(stream, shop, database):
    begin, accept = blocks("the-database-was-restored.md", "python")
    stream.feed([1])
    shop.python(begin)
    database.dump()
    stream.feed([2], [3])
    shop.python(begin)
    database.restore()
    assert shop.ids() == [1]
    shop.python(begin)
    assert shop.ids() == [1, 2, 3]
    (counts,) = shop.sql(blocks("the-database-was-restored.md", "sql")[0])
    assert counts.ledger == counts.found == 3
    database.restore()
    (stream.source / "00001.json").unlink()
    with pytest.raises(Expired, match=r"00001\.json"):
        shop.python(begin)
    shop.python(accept)
    shop.python(begin)
    assert shop.ids() == [1, 3]


# --- a table was restored -------------------------------------------------------------------------------------------


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


def test_restore_is_noticed_at_the_start(stream, table, shop):
    """Though the source brings nothing new."""
    look, begin = blocks("a-table-was-restored.md", "python")
    stream.feed([1])
    shop.python(begin)
    stream.feed([2], [3])
    shop.python(begin)
    table.restore(0)
    assert "seq=0, " in shop.python(look)
    shop.python(begin)
    assert table.ids() == [1, 2, 3]


def test_restore_goes_unnoticed_then_is_refused_then_its_rows_are_given_up(stream, table, path):
    sink = DeltaSink(path, stream="orders")
    stream.feed([1])
    stream.run(sink)
    stream.feed([2], [3])
    stream.run(sink)
    table.restore(0)
    stream.run(sink)
    assert table.ids() == [1]
    stream.feed([4])
    with refused("Mismatch", "ahead", f"Delta table {path}", "RESTORE", "docs/operations/a-table-was-restored.md"):
        stream.run(sink)
    stream.run(DeltaSink(path, stream="orders", on_mismatch="write"))
    assert table.ids() == [1, 4]
    assert str(list(sink.ledger.entries("orders"))[1].decision) == "on_mismatch=write: ahead"


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


def test_restore_amid_a_batch_is_done_once_more(stream, table, path, shop):
    """To the version of the first RESTORE; the checkpoint follows."""
    sink = DeltaSink(path, stream="orders")

    @exactly_once(sink)
    def restoring(frame, batch_id):
        table.restore(0)
        return frame

    stream.feed([1])
    stream.run(sink)
    stream.feed([2])
    stream.run(sink)
    stream.feed([3])
    with refused("LedgerError", "put back by RESTORE while batch 2"):
        stream.run(restoring)
    table.restore(2)  # 0 and 1: batches; 2: the RESTORE; 3: batch 2
    assert table.ids() == [1]
    shop.python(blocks("a-table-was-restored.md", "python")[1])
    assert table.ids() == [1, 2, 3]


# --- a batch is in doubt --------------------------------------------------------------------------------------------


def test_call_in_doubt_is_settled_though_its_checkpoint_is_gone(stream, shop, sqlite_url):
    @exactly_once(ledger=sqlite_url, stream="crm")
    def push(df, batch_id):
        if batch_id == 1:
            raise TimeoutError("no reply")

    stream.feed([1], [2])
    with pytest.raises(StreamingQueryException, match="no reply"):
        stream.run(push)
    (intent,) = shop.sql(blocks("a-batch-is-in-doubt.md", "sql")[0])
    assert (intent.seq, intent.attempt, intent.batch_id) == (1, 0, 1)
    stream.lose_checkpoint()
    stream.feed([3])
    shop.python(blocks("a-batch-is-in-doubt.md", "python")[0])
    entries = list(SqlLedger(sqlite_url).entries("crm"))
    assert [str(entry.decision) for entry in entries] == ["write", "in_doubt=probe: the effect was there", "write"]
    assert list(breaks(entries)) == []


# --- move a stream to another cluster -------------------------------------------------------------------------------


def test_stream_goes_on_at_another_place_and_over_moved_files(stream, shop, sqlite_url):
    begin, moved = blocks("move-a-stream-to-another-cluster.md", "python")
    stream.feed([1], [2])
    stream.run(JdbcSink(sqlite_url, table="orders", stream="orders"))
    stream.feed([3])
    shop.python(begin)
    assert shop.ids() == [1, 2, 3]
    assert len({entry.query_id for entry in SqlLedger(sqlite_url).entries("orders")}) == 1
    stream.source = stream.source.rename(shop.folder("s3a://new-bucket/orders"))
    shutil.rmtree(shop.folder("s3a://new-bucket/checkpoints/orders"))
    stream.feed([4])
    shop.python(moved)
    assert shop.ids() == [1, 2, 3, 4]


# --- replay on purpose from a point in time -------------------------------------------------------------------------

REPLAY = "replay-on-purpose-from-a-point-in-time.md"


def test_what_came_after_an_entry_is_written_again_into_a_new_table(stream, shop, sqlite_url):
    listed, begin = blocks(REPLAY, "python")
    stream.feed([1], [2], [3])
    stream.run(JdbcSink(sqlite_url, table="orders", stream="orders"))
    lines = shop.python(listed).splitlines()
    _, _, third = SqlLedger(sqlite_url).entries("orders")
    find = blocks(REPLAY, "sql")[0].replace("2026-03-03T00:00:00", third.time.isoformat())
    (found,) = shop.sql(find)
    assert lines[found.seq].startswith("1 1 ")
    shop.python(begin.replace("seq=41", f"seq={found.seq}"))
    assert shop.ids("orders_again") == [3]
    shutil.rmtree(shop.folder("/checkpoints/orders-again"))
    stream.feed([4])
    shop.python(begin.splitlines()[-1])
    assert shop.ids("orders_again") == [3, 4]
    assert list(breaks(SqlLedger(sqlite_url).entries("orders-again"))) == []


def test_delta_table_of_a_replay_must_be_there(stream, table, spark, path, sqlite_url):
    stream.feed([1], [2])
    sink = JdbcSink(sqlite_url, table="orders", stream="orders")
    stream.run(sink)
    again = DeltaSink(path, stream="again", heal=True)
    with pytest.raises(ConfigurationError, match="no entry before there is a table"):
        again.begin_after(sink.ledger, "orders", 0)
    spark.createDataFrame([], SCHEMA).write.format("delta").save(path)
    again.begin_after(sink.ledger, "orders", 0)
    stream.lose_checkpoint()
    start(stream, again)
    assert table.ids() == [2]


# --- a stateful query lost its state --------------------------------------------------------------------------------


def test_lost_state_is_replayed_from_a_copy_or_read_again(stream, shop, sqlite_url):
    shop.change = lambda frame: frame.dropDuplicates(["id"])
    (accept,) = blocks("a-stateful-query-lost-its-state.md", "python")
    sink = JdbcSink(sqlite_url, table="orders", stream="orders")
    healing = JdbcSink(sqlite_url, table="orders", stream="orders", heal=True)
    stream.feed([1, 2])
    stream.run(sink, change=shop.change)
    copy = stream.copy_checkpoint("copy")
    stream.feed([2, 3], [3])
    stream.run(sink, change=shop.change)
    stream.restore_checkpoint(copy)
    stream.feed([3, 4])
    with pytest.raises(StateLost, match="older than the ledger"):
        start(stream, healing, change=shop.change)
    stream.run(sink, change=shop.change)
    assert shop.ids() == [1, 2, 3, 4]
    stream.lose_checkpoint()
    stream.feed([1, 4, 5])
    assert "whose batch 0 is the whole source up to there" in shop.python(accept)
    assert shop.ids() == [1, 2, 3, 4, 5]
    # Moved as docs/operations/move-a-stream-to-another-cluster.md says of state.
    stream.checkpoint = stream.copy_checkpoint("elsewhere")
    stream.feed([2, 6])
    start(stream, healing, change=shop.change)
    assert shop.ids() == [1, 2, 3, 4, 5, 6]


def test_windows_that_were_closed_stay_closed_when_the_state_is_read_again(stream, shop):
    """The first two are; that of row 21 was open when the state was lost."""

    def counted(frame):
        at = frame.withColumn("at", F.timestamp_seconds("id")).withWatermark("at", "10 seconds")
        return at.groupBy(F.window("at", "10 seconds")).count().selectExpr("cast(window.start as long) as id", "count")

    shop.change = counted
    (accept,) = blocks("a-stateful-query-lost-its-state.md", "python")
    stream.feed([1, 2, 3], [11, 12], [21, 35])
    shop.python(blocks(GONE, "python")[0])
    assert shop.ids() == [0, 10]
    stream.lose_checkpoint()
    stream.feed([36, 50], [70])
    shop.python(accept)
    assert [tuple(row) for row in shop.sql("select id, count from orders order by id")] == [
        (0, 3), (10, 2), (20, 1), (30, 2), (50, 1),
    ]  # fmt: skip


def test_state_is_read_again_from_where_starting_offsets_say(spark, kafka_server, tmp_path, sqlite_url):
    """Of Kafka; what a query with "latest" has left must be moved away."""
    stream = KafkaStream(kafka_server, tmp_path)
    sink = JdbcSink(sqlite_url, table="orders", stream="orders")

    def run(starting: str) -> None:
        options = {"kafka.bootstrap.servers": kafka_server, "subscribe": stream.source.topic, "startingOffsets": starting}
        records = spark.readStream.format("kafka").options(**options).load()
        rows = records.selectExpr("cast(cast(key as string) as long) as id")
        writer = rows.dropDuplicates(["id"]).writeStream.trigger(availableNow=True)
        sink.start(writer, str(stream.checkpoint)).awaitTermination()

    stream.feed([1, 2])
    run("earliest")
    shutil.rmtree(stream.checkpoint)
    stream.feed([2, 3])
    sink.prepare(spark, str(stream.checkpoint), accept_state_loss=True)
    with pytest.raises(StreamingQueryException, match="offset was changed from"):
        run("latest")
    shutil.rmtree(stream.checkpoint)
    sink.prepare(spark, str(stream.checkpoint), accept_state_loss=True)
    run("earliest")
    assert ids(sqlite_url) == [1, 2, 3]


# --- two queries, one name; a run was fenced ------------------------------------------------------------------------


def test_second_query_on_a_new_checkpoint_takes_the_stream_over(stream, shop, sqlite_url, tmp_path):
    sink = JdbcSink(sqlite_url, table="orders", stream="orders", heal=True)
    stream.feed([1])
    start(stream, sink)
    (first,) = shop.sql(blocks("two-queries-one-name.md", "sql")[0])
    stream.checkpoint = tmp_path / "second"
    stream.feed([2])
    start(stream, sink)
    (both,) = shop.sql(blocks("two-queries-one-name.md", "sql")[0])
    assert (both.query_id, both.first, both.last, both.rows) == (first.query_id, 0, 2, 2)
    runs = shop.sql(blocks("a-run-was-fenced.md", "sql")[0])
    written = [entry.run_id for entry in sink.ledger.entries("orders")]
    assert [(run.token, run.run_id) for run in runs] == list(enumerate(written))


# --- the ledger grows -----------------------------------------------------------------------------------------------


def test_pruned_ledger_needs_a_copy_of_what_names_the_files(stream, shop, sqlite_url):
    """150 batches of a file each; what is pruned named the first ones."""
    sink = JdbcSink(sqlite_url, table="orders", stream="orders")
    _ = sink.ledger.identity
    with sink.ledger.database.writing(sink.ledger.url) as connection:
        for number in range(150):
            statements.append_entry(connection, None, of_files(number, stream="orders"), 1)
    checkpoint = str(stream.checkpoint)
    sink.prepare(stream.spark, checkpoint)
    sources = Path(shutil.copytree(stream.checkpoint / "sources", stream.checkpoint.with_name("sources.copy")))
    stream.lose_checkpoint()
    (prune,) = blocks("the-ledger-grows.md", "python")
    shop.python(prune.replace("days=90", "0"))
    assert len(list(sink.ledger.entries("orders"))) == 100
    with pytest.raises(Mismatch, match="Were entries pruned"):
        sink.prepare(stream.spark, checkpoint)
    shutil.copytree(sources, stream.checkpoint / "sources")
    assert sink.prepare(stream.spark, checkpoint).is_done
    assert "149" in [file.name for file in (stream.checkpoint / "offsets").iterdir()]


# --- the commands ---------------------------------------------------------------------------------------------------


def commands() -> list[str]:
    return sorted({line for page in PAGES.glob("*.md") for block in blocks(page.name, "sh") for line in block.splitlines()
                   if line.startswith("foreachonce ")})  # fmt: skip


@pytest.mark.parametrize("command", commands())
def test_commands_of_the_pages_are_understood(command):
    found, words = typer.main.get_command(app), shlex.split(command)[1:]
    while hasattr(found, "commands"):
        found, words = found.commands[words[0]], words[1:]
    context = found.context_class(found, info_name=found.name)
    found.parse_args(context, words)
