"""A checkpoint that was written anew holds what Spark needs to go on after the ledger's newest batch, and nothing else."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreachonce.checkpoint import CommitLog, OffsetLog
from foreachonce.errors import Mismatch
from foreachonce.position import Position, SourceSpan
from foreachonce.recovery.diagnosis import diagnose
from foreachonce.recovery.goal import Goal
from foreachonce.recovery.past import KeptState, past_of
from foreachonce.recovery.rebuild import begin_anew, offsets_before, rebuild
from tests.unit.builders import FakeFolder, entry, kafka, line, pointer
from tests.unit.spark_model import META, Query, restart


def query(*batches, **keywords) -> Query:
    return Query(FakeFolder(), **keywords).run(*batches)


def goal_of(query: Query, number: int = -1) -> Goal:
    return Goal(query.query_id, query.chain[number])


def anew(goal, chain, old=None, **keywords) -> FakeFolder:
    """The rebuilt checkpoint in a folder of its own."""
    rebuilt = rebuild(goal, past_of(goal, chain, old), **keywords)
    folder = FakeFolder(root="/anew", disk={} if old is None else old.disk)
    folder.discard()
    for path in rebuilt.kept:
        old.copy(path, folder.root)
    for path, text in rebuilt.texts.items():
        folder.write(path, text)
    return folder


SIZES = st.lists(st.integers(0, 2), max_size=34).map(lambda sizes: [1, *sizes])


@given(SIZES, st.sampled_from([3, 10, 17]), st.sampled_from([("files",), ("files", "kafka"), ("files", "files")]))
def test_lost_checkpoint_of_any_length_is_written_from_the_ledger_alone(sizes, interval, sources):
    made = query(*sizes, sources=sources, interval=interval)
    goal = goal_of(made)
    found = restart(anew(goal, made.chain, interval=interval), interval)
    files = {source: [each for entry in log for each in entry] for source, log in made.logs.items()}
    assert (found.query_id, found.batch_id, found.ends, found.seen) == ("query-1", len(sizes), None, files)
    assert found.starts == {source: span.end for source, span in goal.last.position.sources.items()}


def test_files_of_a_checkpoint_that_was_written_anew():
    made = query(1, 1, 1)
    folder = anew(goal_of(made), made.chain)
    names = ["commits/2", "metadata", "offsets/1", "offsets/2", "sources/0/0", "sources/0/1", "sources/0/2"]
    assert list(folder.walk("")) == names
    same = [path for path in names if path != "commits/2"]
    assert [folder.text(path) for path in same] == [made.folder.text(path) for path in same]


def test_metadata_is_written_last():
    made = query(1)
    assert list(rebuild(goal_of(made), past_of(goal_of(made), made.chain, None)).texts)[-1] == "metadata"


def test_first_batch_has_no_offsets_before_it():
    made = query(1)
    assert list(anew(goal_of(made), made.chain).walk("offsets")) == ["offsets/0"]


def test_commit_that_is_made_up_has_the_watermark_of_its_batch():
    made = query(1, 1)
    assert anew(goal_of(made), made.chain).text("commits/1") == 'v1\n{"nextBatchWatermarkMs":1000}'


def test_commit_that_can_be_read_is_kept():
    made = query(1, 1)
    commit = 'v3\n{"nextBatchWatermarkMs":7,"stateUniqueIds":{},"sinkMetadataMap":{}}'
    made.folder.write("commits/1", commit)
    assert anew(goal_of(made), made.chain, made.folder).text("commits/1") == commit
    made.folder.write("commits/1", commit[:-1])
    assert anew(goal_of(made), made.chain, made.folder).text("commits/1") == 'v1\n{"nextBatchWatermarkMs":1000}'


def test_entries_of_other_queries_tell_nothing():
    made, other = query(1, 1), query(2, 2, query_id="query-0")
    folder = anew(goal_of(made), [*other.chain, *made.chain])
    assert folder.text("sources/0/0") == made.folder.text("sources/0/0")


# --- the offsets before ----------------------------------------------------------------------------------------------


def test_offsets_before_are_the_ledgers():
    made = query(1, 1)
    made.folder.write("offsets/0", "v1\n{}\n1")
    assert anew(goal_of(made), made.chain, made.folder).text("offsets/0") == made.chain[0].offset_log


def test_offsets_before_are_the_checkpoints_where_the_ledger_lacks_them():
    made = query(1, 1, sources=("kafka",))
    text = made.folder.text("offsets/0")
    assert anew(goal_of(made), made.chain[1:], made.folder).text("offsets/0") == text
    made.folder.write("offsets/0", text.replace('{"0": 1}', '{"0": 2}'))
    assert anew(goal_of(made), made.chain[1:], made.folder).text("offsets/0") == "\n".join(["v1", META % 1000, kafka(1)])


def test_offsets_before_are_not_those_of_an_entry_that_does_not_line_up():
    """As after a batch that was written in spite of a mismatch."""
    made = query(1, 1, sources=("kafka",))
    strange = entry(None, 7, batch_id=0, offset_log=f"v1\n{{}}\n{kafka(7)}")
    assert anew(goal_of(made), [strange, made.chain[1]]).text("offsets/0") == "\n".join(["v1", META % 1000, kafka(1)])


@given(st.lists(st.none() | st.integers(0, 9), min_size=1, max_size=12), st.sampled_from(["v1", "v2"]))
def test_offsets_before_that_are_made_up_are_where_the_batch_starts(starts, version):
    spans = {str(number): SourceSpan(None if at is None else str(at), str(number + 10)) for number, at in enumerate(starts)}
    text = OffsetLog(version, META % 5, {source: span.end for source, span in spans.items()}).text()
    found = OffsetLog.parse(offsets_before(entry(position=Position(spans), offset_log=text)))
    assert (found.version, found.metadata) == (version, META % 5)
    assert found.offsets == {source: span.start for source, span in spans.items()}


# --- several sources -------------------------------------------------------------------------------------------------


def test_named_sources_keep_their_names():
    made = query(1, 1, sources=("files", "kafka"), named=("orders", "clicks"))
    folder = anew(goal_of(made), made.chain, made.folder)
    assert folder.text("offsets/0").split("\n")[2:] == ['orders:{"logOffset":0}', f"clicks:{kafka(1)}"]
    assert folder.names("sources") == ["clicks", "orders"]
    assert folder.text("sources/clicks/0") == made.folder.text("sources/clicks/0")
    assert restart(folder).starts == {"orders": pointer(1), "clicks": kafka(2)}


def test_source_without_data_yet():
    made = query({"0": 1}, {"0": 1}, sources=("files", "files"))
    folder = anew(goal_of(made), made.chain)
    assert folder.text("offsets/0").split("\n")[2:] == [pointer(0), "-"]
    assert folder.names("sources") == ["0"]
    assert restart(folder).starts == {"0": pointer(1), "1": None}


def test_files_that_a_source_found_after_the_ledger_ends_are_found_anew():
    """Also where they were its first: its log is not kept."""
    made = query({"0": 1}, {"0": 1, "1": 1}, sources=("files", "files"))
    assert anew(goal_of(made, 0), made.chain[:1], made.folder).names("sources") == ["0"]
    made.folder.write("sources/1/0", "")
    assert anew(goal_of(made, 0), made.chain[:1], made.folder).names("sources") == ["0"]


def test_what_kafkas_source_remembers_is_kept_unless_it_is_torn():
    made = query(1, 1, sources=("files", "kafka"))
    assert anew(goal_of(made), made.chain, made.folder).text("sources/1/0") == '\0v1\n{"events":{"0":0}}'
    for break_it in (lambda: made.folder.write("sources/1/0", ""), lambda: made.folder.tear("sources/1/0", 3)):
        break_it()
        assert anew(goal_of(made), made.chain, made.folder).names("sources") == ["0"]


MANY = ("files", "files", "kafka", "kafka", "files")
USES = {"1": "0", "3": "2"}


def test_sources_that_the_query_uses_twice_have_one_folder():
    """As in ``union``: they stand twice in the offset log, and those after them have a smaller number as a folder."""
    made = query(1, 2, 1, sources=MANY, uses=USES)
    assert made.folder.names("sources") == ["0", "1", "2"]
    assert made.chain[2].position.folders == {"0": "0", "2": "1", "4": "2"}
    goal = goal_of(made)
    assert diagnose(made.folder, goal).kind == "agrees"
    for old in (None, made.folder):
        folder = anew(goal, made.chain, old)
        assert folder.names("sources") == (["0", "2"] if old is None else ["0", "1", "2"])
        assert diagnose(folder, goal).kind == "agrees"
        found = restart(folder, uses=USES)
        assert found.starts == {"0": pointer(2), "1": pointer(2), "2": kafka(4), "3": kafka(4), "4": pointer(2)}
        assert found.seen == {source: [each for lines in made.logs[source] for each in lines] for source in ("0", "4")}


def test_sources_that_the_query_uses_twice_begin_anew():
    made = query(1, 2, sources=MANY, uses=USES)
    epoch, rebuilt = begin_anew(made.chain[-1], past_of(goal_of(made), made.chain, made.folder))
    assert (epoch.position.shared, rebuilt.kept) == ({"1", "3"}, ("sources/1",))
    assert restart(FakeFolder(rebuilt.texts), uses=USES).files["4"] == list(epoch.position.sources["4"].files)


# --- a batch that was begun ------------------------------------------------------------------------------------------


def test_batch_that_was_begun_is_planned_again_as_it_was():
    made = query(1, 2, 1)
    goal = Goal("query-1", made.chain[1], made.chain[2])
    found = restart(anew(goal, made.chain[:2]))
    assert (found.batch_id, found.starts, found.ends) == (2, {"0": pointer(1)}, {"0": pointer(2)})
    assert found.files == {"0": list(made.chain[2].position.sources["0"].files)}


def test_first_batch_that_was_begun():
    made = query(2)
    goal = Goal("query-1", None, made.chain[0])
    folder = anew(goal, [])
    assert list(folder.walk("")) == ["metadata", "offsets/0", "sources/0/0"]
    assert restart(folder).files == {"0": list(made.chain[0].position.sources["0"].files)}


def test_first_batch_from_kafka_is_not_run_again_from_elsewhere():
    made = query(2, sources=("files", "kafka"))
    goal = Goal("query-1", None, made.chain[0])
    assert restart(anew(goal, [], made.folder)).ends == {"0": pointer(0), "1": kafka(2)}
    for old in (None, FakeFolder()):
        with pytest.raises(Mismatch, match=r"(?s)batch 0 of query query-1 .*sources/1/0 .*Nothing was changed"):
            anew(goal, [], old)


# --- a log of which the ledger lacks a part --------------------------------------------------------------------------


def test_entries_that_were_pruned_are_the_checkpoints():
    made = query(*[1] * 14)
    folder = anew(goal_of(made), made.chain[6:], made.folder)
    assert restart(folder).seen["0"] == [each for lines in made.logs["0"] for each in lines]


def test_entries_that_nobody_holds_are_named():
    made = query(1, 1, 1, 1)
    torn = FakeFolder({"sources/0/0": made.folder.text("sources/0/0"), "sources/0/1": "v"})
    torn.write("sources/0/2", made.folder.text("sources/0/2"))
    for old, first in ((None, 0), (torn, 1)):
        with pytest.raises(Mismatch, match=rf"all 4 entries .* unknown is {first}\..*up to entry 2 .*Nothing was changed"):
            anew(goal_of(made), made.chain[3:], old)


def test_entries_of_a_checkpoint_are_believed_only_below_one_that_the_ledger_has_too():
    """The newest may be of a batch that was cut otherwise, and refused."""
    made, older = query(1, 1, 1, 1), query(1, 1)
    with pytest.raises(Mismatch, match="unknown is 0"):
        anew(goal_of(made), made.chain[3:], older.folder)
    assert restart(anew(goal_of(made), made.chain[2:], older.folder)).batch_id == 4


def test_older_entries_of_a_checkpoint_that_was_cut_anew_are_believed_up_to_the_cut():
    """The ledger knows entry 4 on, and the checkpoint another entry 5: what is before 4 is the same in both."""
    made, other = query(*[1] * 7), query(*[1] * 5, 2, 2)
    assert restart(anew(goal_of(made), made.chain[5:], other.folder)).seen["0"] == [line[0] for line in made.logs["0"]]


def test_older_entries_of_a_checkpoint_that_was_cut_anew_before_them_are_not_believed():
    made, other = query(*[1] * 7), query(1, 1, 2, 1, 2, 2, 2)
    with pytest.raises(Mismatch, match="unknown is 0"):
        anew(goal_of(made), made.chain[5:], other.folder)


def test_ledger_is_believed_where_the_checkpoint_says_otherwise():
    made, other = query(1, 1, 1), query(1, 2, 2)
    assert restart(anew(goal_of(made), made.chain, other.folder)).seen["0"] == [line[0] for line in made.logs["0"]]


# --- state -----------------------------------------------------------------------------------------------------------


def test_state_is_kept_with_its_commit():
    made = query(1, 1, is_stateful=True)
    folder = anew(goal_of(made), made.chain, made.folder, state=KeptState(2, runs_again=False))
    assert folder.text("state/0/1/2.delta") == made.folder.text("state/0/1/2.delta")
    assert list(folder.walk("commits")) == ["commits/0", "commits/1"]
    assert restart(folder).ends is None


def test_batch_runs_again_for_the_sake_of_the_state():
    """Without its own commit, also where there is one: that of a batch which was cut otherwise."""
    made = query(1, 1, is_stateful=True)
    folder = anew(goal_of(made), made.chain, made.folder, state=KeptState(1, runs_again=True))
    assert list(folder.walk("commits")) == ["commits/0"]
    assert (restart(folder).batch_id, restart(folder).ends) == (1, {"0": pointer(1)})


def test_state_that_does_not_follow_is_left():
    made = query(1, 1, is_stateful=True)
    assert not anew(goal_of(made), made.chain, made.folder).exists("state")


def test_query_begins_anew_with_all_that_the_sink_has():
    made = query(*[2] * 12, sources=("files", "kafka"), is_stateful=True)
    past = past_of(goal_of(made), made.chain, made.folder)
    epoch, rebuilt = begin_anew(made.chain[-1], past)
    folder = FakeFolder({path: text for path, text in rebuilt.texts.items()})
    assert (epoch.batch_id, epoch.query_id != "query-1", epoch.run_id != "run-1") == (0, True, True)
    assert rebuilt.kept == ("sources/1",)
    assert json.loads(folder.text("metadata")) == {"id": epoch.query_id}
    found = restart(folder)
    assert (found.batch_id, found.starts, found.ends) == (0, {"0": None, "1": None}, {"0": pointer(11), "1": kafka(24)})
    assert found.files["0"] == list(epoch.position.sources["0"].files)
    assert found.files["0"] == [each for lines in made.logs["0"] for each in lines]
    assert OffsetLog.parse(folder.text("offsets/0")).watermark == 11_000


def test_query_that_has_begun_anew_is_written_anew_from_its_one_entry():
    made = query(*[2] * 12)
    epoch, _ = begin_anew(made.chain[-1], past_of(goal_of(made), made.chain, None))
    first = entry(position=epoch.position, offset_log=epoch.offset_log, query_id=epoch.query_id, batch_id=0)
    folder = anew(Goal(epoch.query_id, first), [*made.chain, first])
    assert restart(folder).seen["0"] == [each for lines in made.logs["0"] for each in lines]
    assert restart(folder).batch_id == 1


# --- texts that are kept ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [
    "v1\n\n1", "v1\n{}\n1\n-\n{}", 'v2\n{"a":1}\nb:1\na:{"x":{"0":1}}\n10:-', f"v1\n{META % 3}\n{pointer(1)}",
], ids=repr)  # fmt: skip
def test_offset_log_comes_back_in_its_order(text):
    assert OffsetLog.parse(text).text() == OffsetLog.parse(text + "\n").text() == text


@pytest.mark.parametrize("text", ["v2\n\n0:1", "v1\n[]\n1", "v1\nnull\n1", 'v1\n"x"\n1'])
def test_offset_log_without_metadata_that_it_must_have_is_refused(text):
    with pytest.raises(ValueError, match=r"metadata|Expecting"):
        OffsetLog.parse(text)


@pytest.mark.parametrize(
    "text", ["v1\n", "v1\n{}", 'v2\n{"nextBatchWatermarkMs":1,"stateUniqueIds":{"0":[["a"]]}}', "v3\n{}"]
)
def test_commit_log_comes_back(text):
    assert CommitLog.parse(text).text() == text


@pytest.mark.parametrize("text", ["", "v0\n{}", "v4\n{}", "v1\n[]", "v1\n{", "{}"])
def test_torn_or_unknown_commit_is_refused(text):
    with pytest.raises(ValueError, match=r"version|metadata|Expecting"):
        CommitLog.parse(text)


def test_watermark_of_an_offset_log():
    assert [OffsetLog.parse(f"v1\n{meta}\n1").watermark for meta in ("", "{}", '{"batchWatermarkMs":5}')] == [0, 0, 5]


def test_line_of_a_log_is_kept_verbatim():
    strange = line("Z%C3%BCrich%20%22", 0).replace('{"path', '{ "path')
    folder = FakeFolder({"offsets/0": f"v1\n{{}}\n{pointer(0)}", "sources/0/0": f"v1\n{strange}"})
    made = Query(FakeFolder())
    made.folder, made.planned = folder, 0
    made.enter()
    assert anew(goal_of(made), made.chain).text("sources/0/0") == f"v1\n{strange}"
