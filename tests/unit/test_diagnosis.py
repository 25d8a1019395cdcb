"""A checkpoint agrees only if Spark goes on from it where the ledger ends; whatever became of it, it is written anew."""

from __future__ import annotations

import json

import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

from foreachonce.errors import Mismatch
from foreachonce.position import log_pointer
from foreachonce.recovery.diagnosis import diagnose
from foreachonce.recovery.goal import Goal
from foreachonce.recovery.past import past_of
from foreachonce.recovery.rebuild import Rebuilt, rebuild
from tests.unit.builders import FakeFolder, entry, kafka, position
from tests.unit.spark_model import CannotStart, Query, Restart, restart


def query(*batches, **keywords) -> Query:
    return Query(FakeFolder(), **keywords).run(*batches)


def goal_of(query: Query, number: int | None = None, *, begun: bool = False) -> Goal:
    """The goal of a ledger that ends with entry ``number``; ``begun``: the one after it is settled too."""
    number = len(query.chain) - 1 if number is None else number
    last = query.chain[number] if number >= 0 else None
    return Goal(query.query_id, last, query.chain[number + 1] if begun else None)


def written(rebuilt: Rebuilt, old: FakeFolder) -> FakeFolder:
    folder = old.beside(".mended")
    for path in rebuilt.kept:
        old.copy(path, folder.root)
    for path, text in rebuilt.texts.items():
        folder.write(path, text)
    return folder


# --- each kind -------------------------------------------------------------------------------------------------------


def test_any_checkpoint_will_do_for_a_new_stream():
    assert diagnose(FakeFolder(), None).kind == "new"
    assert diagnose(query(1).folder, None).kind == "new"


@pytest.mark.parametrize(("path", "text"), [
    ("metadata", None), ("metadata", ""), ("offsets/0", ""),
    ("sources/0/0", None), ("sources/0/0", "v1"), ("sources/0/0", "v1\n{"),
])  # fmt: skip
def test_first_batch_of_a_new_stream_is_damaged_where_spark_could_not_run_it(path, text):
    made = Query(FakeFolder())
    made.plan(2)
    assert diagnose(made.folder, None).kind == "new"
    made.folder.remove(path) if text is None else made.folder.write(path, text)
    with pytest.raises(CannotStart):
        restart(made.folder)
    assert diagnose(made.folder, None).kind == "damaged"
    made.commit()
    found = diagnose(made.folder, None)
    assert (found.kind, "batch 0 as finished" in found.details) == ("new", True)


@pytest.mark.parametrize("texts", [
    {"_delta_log/0.json": "{}"}, {"orders/metadata": "{}", "customers/metadata": "{}"}, {"0": "v1"}, {"keep.txt": ""},
    {"state/0/0/1.delta": "", "keep.txt": ""}, {"": "a file"},
])  # fmt: skip
def test_what_is_no_checkpoint_is_said_to_be_none(texts):
    assert diagnose(FakeFolder(texts), goal_of(query(1))).kind == "other"


@pytest.mark.parametrize("texts", [{}, {"state/0/0/1.delta": ""}, {"offsets.tmp": ""}])
def test_missing(texts):
    assert diagnose(FakeFolder(texts), goal_of(query(1))).kind == "missing"


@pytest.mark.parametrize("sources", [("files",), ("kafka",), ("files", "kafka"), ("kafka", "files", "files")], ids="-".join)
@pytest.mark.parametrize("named", [False, True])
def test_checkpoint_of_which_every_batch_is_entered_agrees(sources, named):
    made = query(1, 2, 0, 1, sources=sources, named=("a", "b", "c")[: len(sources)] if named else ())
    found = diagnose(made.folder, goal_of(made))
    assert (found.kind, found.details) == ("agrees", "query query-1, newest batch 3, newest commit 3")
    assert found.is_fine


def test_batch_that_spark_has_planned_or_not_committed_agrees():
    made = query(1, 1)
    made.plan(1)
    assert diagnose(made.folder, goal_of(made)).kind == "agrees"
    made.enter()
    assert diagnose(made.folder, goal_of(made)).kind == "agrees"
    assert diagnose(made.folder, goal_of(made, 1, begun=True)).kind == "agrees"
    assert diagnose(made.folder, goal_of(made, 1)).kind == "agrees"


def test_first_batch_that_was_begun_agrees():
    made = Query(FakeFolder())
    made.plan(2)
    made.enter()
    assert diagnose(made.folder, goal_of(made, -1, begun=True)).kind == "agrees"


def test_checkpoint_of_which_spark_has_deleted_the_older_files_agrees():
    made = query(*[1] * 5, retain=2)
    assert made.folder.names("offsets") == ["3", "4"]
    assert diagnose(made.folder, goal_of(made)).kind == "agrees"
    made.plan(1)
    assert diagnose(made.folder, goal_of(made)).kind == "agrees"


def test_source_log_beyond_the_offsets_agrees():
    """Spark had found files when it broke off; they are read with the next batch."""
    made = query(1, 1)
    made.plan(1)
    made.folder.remove("offsets/2")
    assert diagnose(made.folder, goal_of(made)).kind == "agrees"


@pytest.mark.parametrize(("done", "kind"), [(False, "replaced"), (True, "foreign")])
def test_checkpoint_of_another_query(done, kind):
    other = Query(FakeFolder(), query_id="query-2")
    other.plan(1)
    if done:
        other.commit()
    found = diagnose(other.folder, goal_of(query(1)))
    assert (found.kind, "query query-2" in found.details) == (kind, True)


def test_older_and_newer_than_the_ledger():
    made = query(*[1] * 5)
    kinds = [diagnose(query(*[1] * number).folder, goal_of(made, 2)).kind for number in range(1, 7)]
    assert kinds == ["behind", "behind", "agrees", "ahead", "ahead", "ahead"]


def test_commit_without_its_offsets_is_ahead():
    made = query(1, 1)
    made.folder.write("commits/2", "v1\n{}")
    assert diagnose(made.folder, goal_of(made)).kind == "ahead"


def test_unfinished_batch_that_the_checkpoint_lacks_is_behind():
    made = query(1, 1)
    assert diagnose(query(1).folder, goal_of(made, 0, begun=True)).kind == "behind"


def test_batch_that_was_cut_otherwise_is_changed():
    """The same offsets, other files."""
    made, other = query(1, 1), query(1, 2)
    assert made.folder.text("offsets/1") == other.folder.text("offsets/1")
    found = diagnose(other.folder, goal_of(made))
    assert (found.kind, found.details.split("; ")[1]) == ("changed", "its batch 1 holds other rows than the ledger's")


def test_batch_that_starts_elsewhere_and_ends_alike_is_changed():
    made, other = query(1, 2, sources=("kafka",)), query(2, 1, sources=("kafka",))
    assert diagnose(other.folder, goal_of(made)).kind == "changed"


def test_unfinished_batch_that_was_cut_otherwise_is_changed():
    made, other = query(1, 1), query(1)
    other.plan(2)
    assert diagnose(other.folder, goal_of(made, 0, begun=True)).kind == "changed"


def test_planned_batch_that_starts_after_other_files_is_changed():
    made, other = query(1, 1), query(1, 2)
    other.plan(1)
    found = diagnose(other.folder, goal_of(made))
    assert (found.kind, "its batch 2 starts elsewhere than the ledger's batch 1 ends" in found.details) == ("changed", True)


def test_idle_source_whose_last_files_are_others_is_changed():
    """The newest batch has nothing of it, and yet the next one starts there."""
    batches = [{"0": 1, "1": 1}, {"0": 1}]
    made = query(*batches, sources=("files", "files"))
    other = query({"0": 1, "1": 2}, batches[1], sources=("files", "files"))
    assert diagnose(other.folder, goal_of(made)).kind == "changed"


def test_another_number_of_sources_is_changed():
    made, other = query(1, sources=("kafka",)), query(1, sources=("kafka", "kafka"))
    assert diagnose(other.folder, goal_of(made)).kind == "changed"


@pytest.mark.parametrize(("path", "text"), [
    ("metadata", None), ("metadata", ""), ("metadata", "{"),
    ("offsets/10", None), ("offsets/11", ""), ("offsets/11", "v1\n{}"), ("offsets/11", "v3\n{}\n1"),
    ("commits/11", ""), ("commits/11", "v"), ("commits/11", "v1\n{"), ("commits/11", "v4\n{}"),
    ("sources/0/10", None), ("sources/0/11", None), ("sources/0/11", ""), ("sources/0/11", "v1"),
    ("sources/0/9.compact", None), ("sources/0/9.compact", "v1\n{"), ("sources/0/9.compact", 'v1\n{"path":"file:///a","timestamp":1,"batchId":9}'),
])  # fmt: skip
def test_lost_or_torn_file_is_damage(path, text):
    made = query(*[1] * 12, retain=3)
    assert made.folder.text(path)
    made.folder.remove(path)
    if text is not None:
        made.folder.write(path, text)
    found = diagnose(made.folder, goal_of(made))
    assert found.kind == "damaged"
    assert path.replace("/11", "").replace("/10", "").split("/9")[0] in found.details


def test_file_that_was_cut_short_is_damage_though_its_newest_lines_are_whole():
    made = query(*[2] * 12)
    text = made.folder.text("sources/0/9.compact")
    made.folder.disk[f"{made.folder.root}/sources/0/9.compact"] = text
    made.folder.tear("sources/0/9.compact", len(text) - len(text.split("\n")[-1]) - 1)
    assert diagnose(made.folder, goal_of(made)).kind == "damaged"


def test_gap_in_a_source_log_beyond_the_offsets_is_damage():
    """Spark reads the log up to its newest file."""
    made = query(1, 1, 1, 1)
    for path in ("offsets/2", "offsets/3", "commits/2", "commits/3", "sources/0/2"):
        made.folder.remove(path)
    with pytest.raises(CannotStart):
        restart(made.folder)
    assert diagnose(made.folder, goal_of(made, 1)).kind == "damaged"


def test_query_with_state_that_has_none_is_damage():
    made = query(1, 1, is_stateful=True)
    assert diagnose(made.folder, goal_of(made)).kind == "agrees"
    for path in list(made.folder.walk("state")):
        made.folder.remove(path)
    assert diagnose(made.folder, goal_of(made)).kind == "damaged"


def test_query_with_state_that_lacks_the_commit_before_is_damage():
    """In format 2 the commit names the state's files. Without state Spark warns, and goes on."""
    for is_stateful, kind in ((True, "damaged"), (False, "agrees")):
        made = query(1, 1, is_stateful=is_stateful)
        made.plan(1)
        made.folder.remove("commits/1")
        assert diagnose(made.folder, goal_of(made)).kind == kind


def test_first_batch_from_kafka_that_was_begun_and_would_run_again_from_elsewhere_is_damage():
    """Only ``sources/0/0`` tells where it starts; nobody minds once the sink has the batch, and skips it."""
    made = Query(FakeFolder(), sources=("kafka",))
    made.plan(3)
    made.enter()
    assert diagnose(made.folder, goal_of(made, -1, begun=True)).kind == "agrees"
    made.folder.remove("sources/0/0")
    found = diagnose(made.folder, goal_of(made, -1, begun=True))
    assert (found.kind, "sources/0/0" in found.details) == ("damaged", True)
    assert diagnose(made.folder, goal_of(made)).kind == "agrees"
    made.commit()
    made.plan(1)
    made.enter()
    assert diagnose(made.folder, goal_of(made, 0, begun=True)).kind == "agrees"


def test_word_for_no_batch():
    folder = FakeFolder({"metadata": '{"id":"query-1"}'})
    goal = Goal("query-1", entry(position=position(None, 3), offset_log=f"v1\n{{}}\n{kafka(3)}"))
    assert diagnose(folder, goal).details == "query query-1, newest batch none, newest commit none"
    assert diagnose(folder, goal).kind == "behind"


# --- whatever becomes of it ------------------------------------------------------------------------------------------

SOURCES = st.sampled_from([("files",), ("kafka",), ("files", "kafka"), ("files", "files")])
SIZE = st.integers(0, 2)
SIZES = st.lists(SIZE | st.fixed_dictionaries({"0": SIZE, "1": SIZE}), min_size=1, max_size=24)


@st.composite
def damaged(draw):
    """A healthy checkpoint with its ledger, the newest batch of which may be begun only; and one to three damages."""
    keywords = {
        "sources": draw(SOURCES),
        "interval": draw(st.sampled_from([3, 10])),
        "retain": draw(st.sampled_from([2, 9])),
    }
    made = query(*draw(SIZES), **keywords)
    is_begun = len(made.chain) > 1 and draw(st.booleans())
    goal = goal_of(made, len(made.chain) - 2, begun=True) if is_begun else goal_of(made)
    for _ in range(draw(st.integers(1, 3))):
        draw(st.sampled_from([delete, empty, tear, roll_back, roll_offsets_back, run_ahead, run_ahead_unfinished]))(
            draw, made
        )
    return made, goal


def any_path(draw, made):
    return draw(st.sampled_from(sorted(made.folder.walk("")) or ["metadata"]))


def delete(draw, made):
    made.folder.remove(any_path(draw, made))


def empty(draw, made):
    made.folder.write(any_path(draw, made), "")


def tear(draw, made):
    path = any_path(draw, made)
    if made.folder.exists(path):
        made.folder.tear(path, draw(st.integers(0, 200)))


def roll_back(draw, made):
    """An older copy is put back: what is newer than one of its batches is gone."""
    batch = draw(st.integers(0, made.planned))
    roll_offsets_back(draw, made, batch)
    for source in made.logs if batch < len(made.chain) else ():
        last = log_pointer(made.chain[batch].position.sources[source].end)
        entries = made.logs[source] = made.logs[source][: 0 if last is None else last + 1]
        for path in list(made.folder.walk(f"sources/{source}")):
            number = int(path.rpartition("/")[2].removesuffix(".compact"))
            if number >= len(entries):
                made.folder.remove(path)


def roll_offsets_back(draw, made, batch=None):
    """Some files of an older copy are put back."""
    batch = draw(st.integers(0, made.planned)) if batch is None else batch
    for kind in ("offsets", "commits"):
        for number in range(batch + 1, made.planned + 1):
            made.folder.remove(f"{kind}/{number}")
    made.planned = batch


def run_ahead(draw, made):
    """Another sink lets the query go on from what is there, with other limits."""
    for size in draw(st.lists(st.integers(0, 3), min_size=1, max_size=3)):
        made.plan(size)
        made.commit()


def run_ahead_unfinished(draw, made):
    made.plan(draw(st.integers(0, 3)))


def goes_on_from_the_ledger(found: Restart, goal: Goal, chain) -> bool:
    """Whether Spark's first batch is the newest that is settled, or starts where the newest of the sink ends."""
    spans = chain[-1].position.sources
    ends = {source: span.end for source, span in spans.items()}
    if found.query_id != goal.query_id or not known(found, chain):
        return False
    if found.ends is not None and found.batch_id == goal.newest:
        return (found.ends, found.files) == (ends, {source: list(spans[source].files) for source in found.files})
    return goal.unfinished is None and (found.batch_id, found.starts) == (goal.batch_id + 1, ends)


def known(found: Restart, chain) -> bool:
    """Whether no file of the ledger is new for Spark, and none passes for the ledger's that it does not have."""
    has = {source: paths(chain, source) for source in found.seen}
    return all(by_name(found.seen[source])[: len(has[source])] == has[source] for source in found.seen)


def paths(chain, source) -> list[str]:
    return by_name(line for one in chain for line in one.position.sources[source].files)


def by_name(lines) -> list[str]:
    return [json.loads(line)["path"] for line in lines]


@settings(max_examples=250, deadline=None)
@given(damaged())
def test_checkpoint_that_agrees_goes_on_from_the_ledger(case):
    made, goal = case
    if diagnose(made.folder, goal, interval=made.interval).is_fine:
        assert goes_on_from_the_ledger(restart(made.folder, made.interval), goal, made.chain)


@settings(max_examples=250, deadline=None)
@given(damaged())
def test_checkpoint_is_written_anew_from_the_ledger_whatever_became_of_it(case):
    made, goal = case
    rebuilt = rebuild(goal, past_of(goal, made.chain, made.folder), interval=made.interval)
    folder = written(rebuilt, made.folder)
    assert diagnose(folder, goal, interval=made.interval).kind == "agrees"
    found = restart(folder, made.interval)
    assert goes_on_from_the_ledger(found, goal, made.chain)
    assert (found.batch_id, found.ends is None) == (goal.batch_id + 1, goal.unfinished is None)


@settings(max_examples=250, deadline=None)
@given(damaged(), st.integers(0, 25))
def test_pruned_ledger_and_damaged_checkpoint_give_the_whole_log_or_nothing(case, pruned):
    """Where the ledger's older entries are gone, the checkpoint may tell them; what it tells must be the ledger's."""
    made, goal = case
    try:
        rebuilt = rebuild(goal, past_of(goal, made.chain[pruned:], made.folder), interval=made.interval)
    except Mismatch:
        return
    assert goes_on_from_the_ledger(restart(written(rebuilt, made.folder), made.interval), goal, made.chain)


@pytest.mark.parametrize("kind", ["agrees", "damaged", "behind", "ahead", "changed"])
def test_each_kind_is_met(kind):
    """The properties are not about nothing."""
    once = settings(max_examples=5000, deadline=None, database=None, derandomize=True, phases=[Phase.generate])
    find(damaged(), lambda case: diagnose(case[0].folder, case[1]).kind == kind, settings=once)
