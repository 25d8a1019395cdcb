"""What plain Delta loses, repeats or leaks, each beside what the sink does."""

from __future__ import annotations

import shutil
import threading
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from pyspark.sql import functions as F

from foreachonce import DeltaSink, exactly_once
from foreachonce.delta import commit, ledger, write
from foreachonce.delta import sink as delta_sink
from foreachonce.delta.commit import APP_ID, METADATA, VERSION
from foreachonce.testing.contract import refused
from foreachonce.testing.driver import Job


@pytest.fixture
def table(spark, tmp_path):
    """The folders of two tables, and ways to ask them."""
    return Tables(spark, tmp_path)


class Tables:
    def __init__(self, spark, folder: Path):
        self.spark, self.ours, self.plain = spark, str(folder / "ours"), str(folder / "plain")

    def ids(self, path: str) -> list[int]:
        return [row.id for row in self.spark.read.format("delta").load(path).orderBy("id").collect()]

    def sql(self, statement: str, path: str):
        return self.spark.sql(statement.format(f"delta.`{path}`")).collect()

    def history(self, path: str):
        return self.sql("DESCRIBE HISTORY {}", path)

    def forget(self):
        """As in a new process."""
        ledger._tables.clear()
        self.spark._jvm.org.apache.spark.sql.delta.DeltaLog.clearCache()

    def checkpoint(self, path: str):
        jvm, session = self.spark._jvm, self.spark._jsparkSession
        jvm.org.apache.spark.sql.delta.DeltaLog.forTable(session, path).checkpoint()

    def lose_commits(self, path: str, up_to: int):
        """What Delta's log clean-up does with commits that are older than ``delta.logRetentionDuration``."""
        for version in range(up_to + 1):
            for file in Path(path, "_delta_log").glob(f"*{version:020}.*"):
                if "checkpoint" not in file.name:
                    file.unlink()


def guarded(path: str):
    """What Delta's documentation tells to do in foreachBatch for idempotent writes."""

    def write(frame, batch_id):
        options = {"txnAppId": "app", "txnVersion": str(batch_id)}
        frame.write.format("delta").mode("append").options(**options).save(path)

    return write


def copies(table) -> list[Path]:
    return list(Path(table.ours, "_foreachonce").rglob("0*.json"))


# --- a new checkpoint under an old application id -------------------------------------------------------------------


def test_plain_delta_drops_what_a_new_checkpoint_brings(stream, table):
    stream.feed([1])
    stream.run(guarded(table.plain))
    stream.lose_checkpoint()
    stream.feed([2], [3])
    stream.run(guarded(table.plain), limit=3)
    assert table.ids(table.plain) == [1]


def test_new_checkpoint_is_refused_or_written_as_the_user_says(stream, table):
    stream.feed([1])
    stream.run(DeltaSink(table.ours, stream="s"))
    stream.lose_checkpoint()
    stream.feed([2], [3])
    with refused("Mismatch", "written again"):
        stream.run(DeltaSink(table.ours, stream="s"), limit=3)
    stream.run(DeltaSink(table.ours, stream="s", on_mismatch="write"), limit=3)
    assert table.ids(table.ours) == [1, 1, 2, 3]


# --- RESTORE --------------------------------------------------------------------------------------------------------


def put_back(stream, table, path, function, *, by_time):
    """Write three batches, put table and checkpoint back to the first, and write on."""
    stream.feed([1])
    stream.run(function)
    copy, version = stream.copy_checkpoint(f"after-1-{Path(path).name}"), table.history(path)[0].version
    time.sleep(0.01)
    moment = table.history(path)[0].timestamp
    stream.feed([2], [3])
    stream.run(function)
    stream.restore_checkpoint(copy)
    # Delta writes the time in Java's time zone and reads it in the session's: RestoreTableCommand.getTimestamp.
    zone = table.spark.conf.get("spark.sql.session.timeZone")
    table.spark.conf.set("spark.sql.session.timeZone", table.spark._jvm.java.util.TimeZone.getDefault().getID())
    try:
        stamp = table.spark.createDataFrame([(moment,)], "t timestamp").select(F.col("t").cast("string")).first()[0]
        table.sql("RESTORE {} TO " + (f"TIMESTAMP AS OF '{stamp}'" if by_time else f"VERSION AS OF {version}"), path)
    finally:
        table.spark.conf.set("spark.sql.session.timeZone", zone)
    assert table.ids(path) == [1]
    stream.run(function)


def test_plain_delta_skips_what_a_restore_undid(stream, table):
    put_back(stream, table, table.plain, guarded(table.plain), by_time=False)
    assert table.ids(table.plain) == [1]


@pytest.mark.parametrize("by_time", [False, True])
def test_what_a_restore_undid_is_written_again(stream, table, by_time):
    sink = DeltaSink(table.ours, stream="s")
    put_back(stream, table, table.ours, sink, by_time=by_time)
    assert table.ids(table.ours) == [1, 2, 3]
    assert [entry.seq for entry in sink.ledger.entries("s")] == [0, 1, 2]
    stream.forget_commit()
    table.forget()
    stream.run(sink)
    assert table.ids(table.ours) == [1, 2, 3]


def test_restored_table_under_a_checkpoint_that_went_on_is_refused(stream, table):
    sink = DeltaSink(table.ours, stream="s")
    stream.feed([1], [2])
    stream.run(sink)
    table.sql("RESTORE {} TO VERSION AS OF 0", table.ours)
    stream.feed([3])
    with refused("Mismatch", "lost"):
        stream.run(sink)
    assert table.ids(table.ours) == [1]


# --- two writes to one table in one epoch ---------------------------------------------------------------------------


def test_plain_delta_drops_the_second_write_of_a_batch(stream, table):
    def twice(frame, batch_id):
        guarded(table.plain)(frame, batch_id)
        guarded(table.plain)(frame.selectExpr("id + 100 as id", "value"), batch_id)

    stream.feed([1])
    stream.run(twice)
    assert table.ids(table.plain) == [1]


def test_two_streams_of_one_batch_into_one_table(stream, table):
    sinks = [DeltaSink(table.ours, stream=name) for name in ("a", "b")]
    stream.feed([1], [2])
    stream.run(exactly_once(sinks)(lambda frame, batch_id: frame))
    stream.forget_commit()
    stream.run(exactly_once(sinks)(lambda frame, batch_id: frame))
    assert table.ids(table.ours) == [1, 1, 2, 2]
    assert sinks[0].ledger.streams() == ["a", "b"]


# --- MERGE's settings -----------------------------------------------------------------------------------------------


def wait_at(gate: Path):
    def wait(batches):
        (gate / "begun").touch()
        while not (gate / "open").exists():
            time.sleep(0.01)
        yield from batches

    return wait


def held_up(frame, batch_id, gate: Path):
    """The batch, whose rows come only once the gate is open."""
    return frame.mapInArrow(wait_at(gate), frame.schema)


def test_merges_guard_is_seen_by_no_other_writer_of_the_session(stream, table):
    """While batches are merged, and after, others write by the batch's own session and by the user's."""
    seen, is_over, sessions = [], threading.Event(), [table.spark]

    def write_by_each():
        for session in tuple(sessions):
            session.range(3).write.format("delta").mode("append").save(table.plain)
            session.sql(f"DELETE FROM delta.`{table.plain}` WHERE id = 1")
            seen.extend(session.conf.get(name, None) for name in (APP_ID, VERSION, METADATA))

    def write_all_the_time():
        while not is_over.is_set():
            write_by_each()

    writer = threading.Thread(target=write_all_the_time)

    @exactly_once(DeltaSink(table.ours, stream="s", mode="merge", key="id"))
    def write(frame, batch_id):
        if batch_id == 1:
            sessions.append(frame.sparkSession)
            writer.start()
        return frame

    stream.feed([1], [1, 2], [3])
    try:
        stream.run(write)
    finally:
        is_over.set()
    writer.join()
    write_by_each()
    assert table.ids(table.ours) == [1, 2, 3]
    assert len(seen) >= 9
    assert set(seen) == {None}
    assert {commit.userMetadata for commit in table.history(table.plain)} == {None}
    assert '"txn"' not in "".join(file.read_text() for file in Path(table.plain, "_delta_log").glob("*.json"))


# --- a driver that stands still amid Delta's own write --------------------------------------------------------------


@pytest.mark.parametrize("mode", ["append", "merge"])
def test_commit_in_flight_of_a_run_that_was_replaced_fails(stream, table, tmp_path, other_driver, mode):
    sink = DeltaSink(table.ours, stream="s", mode=mode, key="id" if mode == "merge" else None)
    stream.feed([1])
    stream.run(sink)
    stream.feed([2])
    other_driver.submit(Job(exactly_once(sink)(partial(held_up, gate=tmp_path)), stream.source, stream.checkpoint))
    while not (tmp_path / "begun").exists():
        assert other_driver.is_busy, other_driver.log()
        time.sleep(0.01)
    stream.run(sink)
    (tmp_path / "open").touch()
    assert "foreachonce.errors.Fenced" in other_driver.result()
    assert table.ids(table.ours) == [1, 2]
    assert [entry.seq for entry in sink.ledger.entries("s")] == [0, 1]


# --- a commit is looked at before it is believed --------------------------------------------------------------------


def test_commit_that_delta_skips_is_noticed(stream, table, monkeypatch):
    """Another run makes its commit under the same guard first, with other rows."""
    sink = DeltaSink(table.ours, stream="s")

    def second(work, own, root):
        entry = replace(own.entry, run_id="another", query_id="another")
        write.write(work._replace(frame=work.frame.selectExpr("id + 10 as id", "value")), replace(own, entry=entry), root)
        write.write(work, own, root)

    stream.feed([1])
    stream.run(sink)
    stream.feed([2])
    monkeypatch.setattr(delta_sink, "write", second)
    with refused("Fenced", "was replaced by run another"):
        stream.run(sink)
    assert table.ids(table.ours) == [1, 12]


def test_commit_without_its_entry_is_noticed(stream, table, monkeypatch):
    """As with a catalog or an extension that drops ``userMetadata``."""
    sink = DeltaSink(table.ours, stream="s")
    stream.feed([1])
    stream.run(sink)
    stream.feed([2])
    with monkeypatch.context() as patch:
        patch.setattr(write, "write_options", lambda own: {**commit.write_options(own), "userMetadata": ""})
        with refused("LedgerError", "drops userMetadata", "RESTORE the version before", "another stream="):
            stream.run(sink)
    table.sql("RESTORE {} TO VERSION AS OF 0", table.ours)
    stream.run(DeltaSink(table.ours, stream="s2"))
    assert table.ids(table.ours) == [1, 2]


@pytest.mark.parametrize("version", [0, 1])
def test_restore_amid_a_batch_is_noticed(stream, table, version):
    """Delta lets an append through that began before a RESTORE: version 0 has no batch, 1 has one."""
    sink = DeltaSink(table.ours, stream="s")
    table.spark.sql(f"CREATE TABLE delta.`{table.ours}` (id bigint, value string) USING delta")

    @exactly_once(sink)
    def restoring(frame, batch_id):
        table.sql(f"RESTORE {{}} TO VERSION AS OF {version}", table.ours)
        return frame

    stream.feed([1], [2])
    stream.run(sink)
    stream.feed([3])
    for function in (restoring, sink):
        with refused("LedgerError", "put back by RESTORE while batch 2", f"those of seq {version} to 1 are not"):
            stream.run(function)
    table.sql("RESTORE {} TO VERSION AS OF 2", table.ours)
    stream.run(sink)
    assert table.ids(table.ours) == [1, 2, 3]


# --- what Delta forgets ---------------------------------------------------------------------------------------------


def test_guard_that_has_expired_is_not_needed_to_skip_a_replay(stream, table):
    stream.feed([1], [2])
    for path, function in ((table.plain, guarded(table.plain)), (table.ours, DeltaSink(table.ours, stream="s"))):
        stream.run(function)
        table.sql("ALTER TABLE {} SET TBLPROPERTIES ('delta.setTransactionRetentionDuration' = 'interval 1 second')", path)
        time.sleep(1.5)
        table.checkpoint(path)
        table.forget()
        stream.forget_commit()
        stream.run(function)
        stream.lose_checkpoint()
    assert table.ids(table.plain) == [1, 2, 2]
    assert table.ids(table.ours) == [1, 2]


def test_idle_streams_head_outlives_log_clean_up(stream, table):
    sink = DeltaSink(table.ours, stream="s")
    stream.feed([1], [2])
    stream.run(sink)
    for number in (10, 11, 12):
        table.spark.range(number, number + 1).selectExpr("id", "'x' as value").write.format("delta").mode("append").save(
            table.ours
        )
    table.checkpoint(table.ours)
    newest = table.history(table.ours)[0].version
    table.lose_commits(table.ours, newest - 1)
    table.forget()
    stream.forget_commit()
    stream.run(sink)
    assert table.ids(table.ours) == [1, 2, 10, 11, 12]
    table.forget()
    stream.feed([3])
    stream.run(sink)
    assert table.ids(table.ours) == [1, 2, 3, 10, 11, 12]
    assert [entry.seq for entry in sink.ledger.entries("s")] == [0, 1, 2]


def test_clean_up_that_may_hide_a_restore_is_refused(stream, table):
    sink = DeltaSink(table.ours, stream="s")
    stream.feed([1], [2])
    stream.run(sink)
    table.sql("RESTORE {} TO VERSION AS OF 0", table.ours)
    table.sql("DELETE FROM {} WHERE id = 99", table.ours)
    table.spark.range(1).selectExpr("id", "'x' as value").write.format("delta").mode("append").save(table.ours)
    table.checkpoint(table.ours)
    table.lose_commits(table.ours, table.history(table.ours)[0].version - 1)
    table.forget()
    stream.feed([3])
    with refused("LedgerError", "log clean-up", 'on_mismatch="write"'):
        stream.run(sink)
    stream.run(DeltaSink(table.ours, stream="s", on_mismatch="write"))
    assert table.ids(table.ours) == [0, 1, 3]


def test_log_without_the_copies_does_as_well(stream, table):
    sink = DeltaSink(table.ours, stream="s")
    stream.feed([1], [2])
    stream.run(sink)
    shutil.rmtree(Path(table.ours, "_foreachonce"))
    table.forget()
    stream.forget_commit()
    stream.run(sink)
    assert table.ids(table.ours) == [1, 2]
    assert len(copies(table)) == 2


# --- what others do between ------------------------------------------------------------------------------------------


def test_vacuum_optimize_and_other_writers_between_do_not_matter(stream, table):
    sink = DeltaSink(table.ours, stream="s")
    stream.feed([1], [2])
    stream.run(sink)
    table.spark.range(50, 52).selectExpr("id", "'x' as value").write.format("delta").mode("append").save(table.ours)
    table.sql("OPTIMIZE {}", table.ours)
    table.spark.conf.set("spark.databricks.delta.retentionDurationCheck.enabled", "false")
    table.sql("VACUUM {} RETAIN 0 HOURS", table.ours)
    table.spark.conf.unset("spark.databricks.delta.retentionDurationCheck.enabled")
    assert len(copies(table)) == 2
    table.forget()
    stream.forget_commit()
    stream.feed([3])
    stream.run(sink)
    assert table.ids(table.ours) == [1, 2, 3, 50, 51]
    assert [entry.seq for entry in sink.ledger.entries("s")] == [0, 1, 2]
