"""A checkpoint is mended with a real ledger: the stream is taken, the repair entered, the folders swapped."""

from __future__ import annotations

import pytest

from foreachonce import JdbcSink, SqlLedger
from foreachonce.checkpoint import query_id
from foreachonce.errors import ConfigurationError, Conflict, EpochError, Expired, Mismatch, SinkUnavailable, StateLost
from foreachonce.recovery.diagnosis import diagnose
from foreachonce.recovery.goal import Goal
from tests.unit.builders import FakeFolder, mend
from tests.unit.spark_model import Query, restart


@pytest.fixture
def sink(sqlite_url):
    return JdbcSink(sqlite_url, table="events", stream="s")


@pytest.fixture
def query(sink):
    """A query whose batches are entered; of some more, the sink was put back to before them."""

    def query(*batches, more=(), **keywords) -> Query:
        made = Query(FakeFolder(), **keywords).run(*batches)
        sink.ledger.take(made.chain[0].epoch, None)
        for entry in made.chain:
            sink.ledger.append(entry)
        ledger = list(made.chain)
        made.run(*more)
        made.chain = ledger
        return made

    return query


def texts(folder: FakeFolder) -> dict[str, str]:
    return {path: folder.text(path) for path in folder.walk("")}


def roots(folder: FakeFolder) -> set[str]:
    """The roots of all folders on the disk."""
    return {path.split("/")[1] for path in folder.disk}


def entries(sink):
    return list(sink.ledger.entries("s"))


def goal(query: Query) -> Goal:
    return Goal(query.query_id, query.chain[-1])


def test_checkpoint_that_agrees_is_left_alone(query, sink):
    made = query(1, 1)
    before = dict(made.folder.disk)
    assert not mend([sink], made.folder).is_needed
    assert (made.folder.disk, len(entries(sink))) == (before, 2)


@pytest.mark.parametrize("damage", [
    lambda folder: folder.discard(), lambda folder: folder.remove("metadata"), lambda folder: folder.remove("offsets/11"),
    lambda folder: folder.tear("sources/0/9.compact", 300), lambda folder: folder.write("offsets/11", ""),
])  # fmt: skip
def test_damaged_checkpoint_is_written_anew_and_moved_aside(query, sink, damage):
    made = query(*[1] * 12)
    damage(made.folder)
    old = {path: made.folder.disk[f"/checkpoint/{path}"] for path in made.folder.walk("")}
    repair = mend([sink], made.folder)
    assert (repair.is_done, diagnose(made.folder, goal(made)).kind) == (True, "agrees")
    assert restart(made.folder).batch_id == 12
    if repair.aside is not None:
        aside = FakeFolder(root=repair.aside, disk=made.folder.disk)
        assert {path: aside.disk[f"{aside.root}/{path}"] for path in aside.walk("")} == old
    assert roots(made.folder) == {"checkpoint", *([repair.aside.strip("/")] if repair.aside else [])}
    (*_, last) = entries(sink)
    assert last.is_repair
    assert str(last.decision).startswith(f"repair: checkpoint {repair.kind}, mended to go on after batch 11")
    assert not mend([sink], made.folder).is_needed


def test_dry_run_changes_nothing(query, sink):
    made = query(1, 1)
    made.folder.remove("metadata")
    before = dict(made.folder.disk)
    repair = mend([sink], made.folder, dry_run=True)
    assert (repair.is_needed, repair.is_done, "write it anew from the ledger" in str(repair)) == (True, False, True)
    assert (made.folder.disk, len(entries(sink))) == (before, 2)


def test_interval_of_the_session_shapes_the_log(query, sink):
    made = query(*[1] * 8, interval=3)
    made.folder.discard()
    mend([sink], made.folder, interval=3)
    assert made.folder.names("sources/0") == ["2.compact", "5.compact", "6", "7"]
    assert restart(made.folder, 3).batch_id == 8


def test_checkpoint_of_another_query_is_refused_in_its_own_words(query, sink):
    """Not for the files that its log names, which are numbered otherwise."""
    query(1)
    other = Query(FakeFolder(), query_id="query-2").run(1, 1, 1)
    before = dict(other.folder.disk)
    with pytest.raises(Mismatch, match="another query's"):
        mend([sink], other.folder)
    assert other.folder.disk == before


def test_files_of_a_replaced_checkpoint_are_not_taken_for_lost(query, sink):
    made = query(1)
    other = Query(made.folder.beside("x"), query_id="query-2")
    for _ in range(3):
        other.plan(1)
    assert mend([sink], other.folder).kind == "replaced"
    assert restart(other.folder).query_id == "query-1"


def test_lost_files_are_refused_before_anything_is_done(query, sink):
    made = query(1, more=[1])
    before = dict(made.folder.disk)
    with pytest.raises(Expired, match=r"(?s)in/0/1\b.*accept_data_loss=True"):
        mend([sink], made.folder)
    assert made.folder.disk == before
    assert mend([sink], made.folder, accept_data_loss=True).is_done


def test_damaged_log_does_not_hide_what_is_lost_nor_stop_the_repair(query, sink):
    made = query(1, more=[1, 1])
    made.folder.write("sources/0/1", "v1\n{")
    repair = mend([sink], made.folder, dry_run=True)
    assert (repair.kind, [lost.what for lost in repair.lost]) == ("ahead", ["file:///in/0/2"])
    assert mend([sink], made.folder, accept_data_loss=True).is_done


def test_run_that_went_on_meanwhile_is_not_overtaken(query, sink, monkeypatch):
    made = query(1, 1)
    made.folder.remove("metadata")
    before = texts(made.folder)
    take = SqlLedger.take
    late = iter(Query(FakeFolder()).run(1, 1, 1, 1).chain[2:])

    def take_late(self, epoch, head):
        self.append(next(late))
        return take(self, epoch, head)

    monkeypatch.setattr(SqlLedger, "take", take_late)
    with pytest.raises(Conflict, match="another run goes on with it"):
        mend([sink], made.folder)
    assert (texts(made.folder), roots(made.folder)) == (before, {"checkpoint"})


def test_batch_that_could_not_be_read_at_first_is_not_another_runs(query, sink, monkeypatch):
    made = query(1, 1)
    late = Query(FakeFolder()).run(1, 1, 1).chain[2]
    made.folder.discard()
    take = SqlLedger.take

    def take_late(self, epoch, head):
        if head.seq == 1:
            self.append(late)
        return take(self, epoch, head)

    monkeypatch.setattr(SqlLedger, "take", take_late)
    assert mend([sink], made.folder).is_done
    assert restart(made.folder).batch_id == 3


@pytest.mark.parametrize("fails", ["move", "write", "copy"])
def test_file_system_that_fails_leaves_the_old_checkpoint(query, sink, monkeypatch, fails):
    made = query(1, 1, is_stateful=True)
    made.folder.remove("offsets/0")
    before = texts(made.folder)

    def fail(self, *arguments):
        raise SinkUnavailable("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(FakeFolder, fails, fail)
        with pytest.raises(SinkUnavailable):
            mend([sink], made.folder)
    assert texts(made.folder) == before
    mend([sink], made.folder)
    assert diagnose(made.folder, goal(made)).kind == "agrees"
    assert len(roots(made.folder)) == 2


def test_repair_that_broke_off_between_its_two_moves_is_finished(query, sink):
    made = query(1, 1)
    made.folder.remove("offsets/0")
    mend([sink], made.folder)
    whole = texts(made.folder)
    made.folder.move("/checkpoint.mended")
    assert not mend([sink], made.folder).is_needed
    assert texts(made.folder) == whole


@pytest.mark.parametrize("repairs", [1, 15, 16, 17, 70])
def test_newest_batch_is_found_behind_any_number_of_repairs(query, sink, repairs):
    made = query(1, 1)
    for _ in range(repairs):
        made.folder.discard()
        assert mend([sink], made.folder).is_done
    assert restart(made.folder).batch_id == 2
    assert mend([sink], made.folder).kind == "agrees"


@pytest.mark.parametrize("breaks_off", [False, True])
def test_new_query_begins_again_where_its_sources_began(sink, breaks_off):
    made = Query(FakeFolder(), sources=("files", "kafka"))
    made.plan(2)
    beginning = made.folder.text("sources/1/0")
    made.folder.write("sources/0/0", "v1\n{")
    repair = mend([sink], made.folder)
    assert (repair.is_done, repair.kind) == (True, "damaged")
    if breaks_off:
        made.folder.move("/checkpoint.mended")
        assert mend([sink], made.folder, dry_run=True).kind == "new"
    assert mend([sink], made.folder).kind == "new"
    assert set(made.folder.walk("")) == {"metadata", "sources/1/0"}
    assert (query_id(made.folder), made.folder.text("sources/1/0"), entries(sink)) == (made.query_id, beginning, [])


def test_new_query_is_not_begun_again_where_nothing_tells_where_it_began(sink):
    made = Query(FakeFolder(), sources=("files", "kafka"))
    made.plan(2)
    made.folder.write("offsets/0", "")
    made.folder.write("sources/1/0", "")
    before = dict(made.folder.disk)
    with pytest.raises(Mismatch, match="sources/1, which tells where its first one starts, is torn"):
        mend([sink], made.folder)
    assert made.folder.disk == before


def test_batches_that_a_repair_left_long_ago_are_not_a_new_streams(sink):
    made = Query(FakeFolder()).run(1, 1)
    made.folder.move("/checkpoint.mended")
    assert mend([sink], made.folder).kind == "new"
    assert not made.folder.exists("")


@pytest.mark.parametrize("texts", [{"_delta_log/0.json": "{}"}, {"": "a file"}])
def test_what_is_no_checkpoint_is_not_moved(query, sink, texts):
    query(1, 1)
    folder = FakeFolder(texts, root="/lake/orders")
    before = dict(folder.disk)
    with pytest.raises(Mismatch, match=r"(?s)/lake/orders is not a checkpoint: it (is|holds) .*Is the path spelt wrong"):
        mend([sink], folder)
    assert (folder.disk, len(entries(sink))) == (before, 2)


def test_query_that_runs_in_this_process_is_not_mended(query, sink):
    made = query(1, 1)
    made.folder.discard()
    with pytest.raises(ConfigurationError, match="stop it before its checkpoint is repaired"):
        mend([sink], made.folder, running={made.query_id})
    assert (made.folder.disk, len(entries(sink))) == ({}, 2)


# --- state -----------------------------------------------------------------------------------------------------------


def test_state_goes_back_without_the_batches_that_were_taken_back(query, sink):
    """A snapshot that Spark had made of them would be loaded for the batches that come in their place."""
    made = query(1, 1, more=[1, 1], is_stateful=True)
    for path in ("state/0/0/2.snapshot", "state/0/0/4.snapshot", "state/0/_metadata/metadata"):
        made.folder.write(path, "")
    assert mend([sink], made.folder, accept_data_loss=True).kind == "ahead"
    assert made.folder.names("state/0/0") == ["1.delta", "2.delta", "2.snapshot"]
    assert made.folder.exists("state/0/_metadata/metadata")
    assert (restart(made.folder).batch_id, restart(made.folder).ends) == (2, None)


def test_state_of_other_batches_is_refused(query, sink):
    query(1, 1, 1, is_stateful=True)
    stale = Query(FakeFolder(), is_stateful=True).run(1, 2, 2, 2)
    before = dict(stale.folder.disk)
    with pytest.raises(StateLost, match=r"(?s)does not have the state after batch 2.*accept_state_loss=True"):
        mend([sink], stale.folder, accept_data_loss=True)
    assert stale.folder.disk == before


def test_state_that_is_lost_is_read_again_where_the_user_says_so(query, sink):
    made = query(1, 1, is_stateful=True)
    made.folder.discard()
    with pytest.raises(StateLost):
        mend([sink], made.folder)
    assert mend([sink], made.folder, accept_state_loss=True).is_done
    (*_, last) = entries(sink)
    found = restart(made.folder)
    assert (last.query_id, last.batch_id, found.query_id, found.batch_id) == (found.query_id, 0, found.query_id, 0)
    assert diagnose(made.folder, Goal(last.query_id, last)).kind == "agrees"


def test_state_of_one_batch_is_fed_again_by_that_batch(query, sink):
    made = query(2, is_stateful=True)
    made.folder.discard()
    assert mend([sink], made.folder).is_done
    assert (restart(made.folder).batch_id, restart(made.folder).ends) == (0, {"0": '{"logOffset":0}'})


def test_damaged_state_is_named_and_nothing_is_changed(query, sink):
    made = query(1, 1, is_stateful=True)
    made.folder.remove("metadata")
    made.folder.tear("state/0/1/2.delta", 0)
    before = dict(made.folder.disk)
    with pytest.raises(EpochError, match=r"state/0/1/2\.delta .* is damaged"):
        mend([sink], made.folder)
    assert {path: made.folder.disk[path] for path in before} == before
    assert len(entries(sink)) == 2
