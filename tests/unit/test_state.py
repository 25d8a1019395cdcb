"""A query's state follows a checkpoint that is mended only if it is the state of the ledger's batches."""

from __future__ import annotations

import pytest

from foreachonce.recovery.goal import Goal
from foreachonce.recovery.past import KeptState, kept_state, newer, past_of
from tests.unit.builders import FakeFolder
from tests.unit.spark_model import Query

AFTER, AGAIN = KeptState(3, runs_again=False), KeptState(2, runs_again=True)


def query(*batches, **keywords) -> Query:
    return Query(FakeFolder(), is_stateful=True, **keywords).run(*batches)


def kept(
    ledger: Query, old: FakeFolder | None, number: int = 2, *, begun: bool = False, pruned: int = 0
) -> KeptState | None:
    goal = Goal("query-1", ledger.chain[number], ledger.chain[number + 1] if begun else None)
    return kept_state(goal, past_of(goal, ledger.chain[pruned : number + 1], old))


@pytest.fixture
def made():
    """Three batches, the newest of which is batch 2 with version 3 of the state."""
    return query(1, 1, 1)


def test_state_after_the_ledgers_newest_batch(made):
    assert kept(made, made.folder) == AFTER
    assert kept(query(1, 1, 1), query(1, 1, 1, 2, 2).folder) == AFTER


def test_state_of_batches_that_were_cut_otherwise(made):
    """An older checkpoint was put back, and batch 2 cut anew; or batch 1 too, and the state is another's."""
    assert kept(made, query(1, 1, 2).folder) == AGAIN
    assert kept(made, query(1, 2, 2).folder) is None


def test_batch_whose_commit_is_lost_runs_again(made):
    made.folder.write("commits/2", "v")
    assert kept(made, made.folder) == AGAIN
    made.folder.remove("commits/2")
    assert kept(made, made.folder) == AGAIN


def test_checkpoint_that_is_a_batch_behind_follows(made):
    assert kept(made, query(1, 1).folder) == AGAIN
    assert kept(made, query(1).folder) is None


@pytest.mark.parametrize("torn", ["offsets/2", "offsets/1", "sources/0/2", "metadata"])
def test_state_is_told_by_what_is_left_of_the_offsets(made, torn):
    made.folder.tear(torn, 3)
    assert kept(made, made.folder) == (AGAIN if torn in ("offsets/2", "sources/0/2") else AFTER)


def test_state_of_an_unknown_batch_is_not_kept(made):
    made.folder.write("offsets/2", "")
    made.folder.write("offsets/1", "")
    assert kept(made, made.folder) is None


def test_version_that_spark_has_deleted_is_not_kept(made):
    for partition in range(2):
        made.folder.remove(f"state/0/{partition}/3.delta")
    assert kept(made, made.folder) == AGAIN
    for partition in range(2):
        made.folder.remove(f"state/0/{partition}/2.delta")
    assert kept(made, made.folder) is None


def test_batch_does_not_run_again_without_the_offsets_before_it(made):
    """Nothing would tell the watermark of the batch before, and which timers were due."""
    made.folder.remove("commits/2")
    made.folder.remove("offsets/1")
    assert kept(made, made.folder) == AGAIN
    assert kept(made, made.folder, pruned=2) is None


def test_first_batch_runs_again_without_any_state(made):
    assert kept(made, None, 0) == KeptState(0, runs_again=True)
    assert kept(made, None, 1) is None


def test_first_batch_from_kafka_runs_again_only_from_where_it_started():
    made = query(1, sources=("kafka",))
    made.folder.remove("commits/0")
    assert kept(made, made.folder, 0) == KeptState(0, runs_again=True)
    made.folder.remove("sources/0/0")
    assert kept(made, made.folder, 0) is None
    assert kept(made, None, 0) is None


def test_batch_that_was_begun_needs_the_state_before_it():
    made = query(1, 1, 1, 1)
    assert kept(made, made.folder, begun=True) == AFTER
    made.folder.remove("commits/2")
    assert kept(made, made.folder, begun=True) == AFTER
    assert kept(made, query(1, 1, 2, 1).folder, begun=True) is None


def test_first_batch_that_was_begun_needs_no_state(made):
    goal = Goal("query-1", None, made.chain[0])
    for old in (None, made.folder):
        assert kept_state(goal, past_of(goal, [], old)) == KeptState(0, runs_again=False)


# From the checkpoints of Spark's own tests, and as Spark 4.2 names them.
FILES = {
    "state/0/0/{}.delta": True,
    "state/0/0/{}.snapshot": True,
    "state/0/1/left-keyToNumValues/{}.delta": True,
    "state/0/0/{}.zip": True,
    "state/0/0/{}.changelog": True,
    "state/0/0/{}_1b2e8a0c-77d8-4e7e-9f3b-1a2b3c4d5e6f.changelog": True,
    "state/0/0/default/{}_1b2e8a0c-77d8-4e7e-9f3b-1a2b3c4d5e6f.zip": True,
    "state/0/0/{}.delta.crc": True,
    "state/0/0/SSTs/00000{}-1b2e8a0c.sst": False,
    "state/0/_metadata/v2/{}": False,
    "state/0/_metadata/metadata": False,
    "state/0/0/_metadata/schema": False,
    "state/0/_stateSchema/default/{}_1b2e8a0c": False,
}


@pytest.mark.parametrize(("path", "has_version"), FILES.items())
def test_files_of_newer_versions_are_told_by_their_names(path, has_version):
    folder = FakeFolder({path.format(number): "" for number in (3, 4, 12)} | {"offsets/9": ""})
    assert list(newer(folder, 3)) == sorted({path.format(number) for number in (4, 12)} if has_version else ())
