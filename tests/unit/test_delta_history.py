"""A Delta table's history and the head that it tells, against a model, without Spark."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreachonce.delta import history
from foreachonce.delta.commit import (
    Foreign,
    Own,
    Restore,
    copies_folder,
    file_changes,
    from_copy,
    parse,
    to_copy,
    user_metadata,
)
from foreachonce.delta.folder import LocalTable
from foreachonce.delta.history import restored_version
from foreachonce.delta.log import KEPT, CommitLog, LogCache, commit_file
from foreachonce.entry import Decision, Entry
from foreachonce.errors import ConfigurationError, LedgerError
from tests.unit.builders import epoch as make_epoch

NOW = datetime(2026, 1, 2, tzinfo=timezone.utc)


class Nobody:
    """A witness who must not be asked."""

    def guard(self):
        raise AssertionError("the newest state was asked")

    def has_file(self, paths):
        raise AssertionError("the newest state was asked")


class Saw:
    def __init__(self, guard=-1, files=()):
        self._guard, self._files = guard, files

    def guard(self):
        return self._guard

    def has_file(self, paths):
        return bool(set(paths) & set(self._files))


class Table:
    """A table's folder, written as Delta would, and the model of what it holds."""

    def __init__(self, root):
        self.folder = LocalTable(str(root))
        self.states: list[tuple[tuple[Entry, ...], frozenset[str]]] = []
        self.own: list[Own] = []
        self.cache = LogCache()

    @property
    def newest(self):
        return len(self.states) - 1

    @property
    def state(self):
        return self.states[-1] if self.states else ((), frozenset())

    def _commit(self, info, entries, files):
        before = self.state[1]
        lines = [json.dumps({"commitInfo": info}, separators=(",", ":"))]
        lines += [json.dumps({"remove": {"path": path}}, separators=(",", ":")) for path in sorted(before - files)]
        lines += [json.dumps({"add": {"path": path}}, separators=(",", ":")) for path in sorted(files - before)]
        self.states.append((entries, files))
        self.folder.write(commit_file(self.newest), "\n".join(lines) + "\n")

    def foreign(self):
        self._commit({"operation": "WRITE"}, self.state[0], self.state[1] | {f"foreign-{self.newest + 1}"})

    def optimize(self):
        self._commit({"operation": "OPTIMIZE"}, self.state[0], frozenset({f"one-{self.newest + 1}"}))

    def write(self, run="r", rows=1):
        entries, files = self.state
        epoch = make_epoch(batch_id=len(self.own), run_id=run)
        entry = Entry.next(entries[-1] if entries else None, epoch, sink="t")
        entry = replace(entry, time=NOW, rows=rows)
        own = Own(guard=len(self.own), entry=entry, last_batch=len(self.own))
        self.own.append(own)
        new = {f"part-{self.newest + 1}"} if rows else set()
        info = {
            "operation": "WRITE",
            "userMetadata": user_metadata(own),
            "operationMetrics": {"numOutputRows": str(rows)},
        }
        self._commit(info, (*entries, entry), files | new)

    def restore(self, version, *, by_time=False):
        parameters = {"version": None if by_time else version, "timestamp": "2026-01-01 00:00:00" if by_time else None}
        self._commit({"operation": "RESTORE", "operationParameters": parameters}, *self.states[version])

    def lose(self, *versions):
        for version in versions:
            self.folder.remove(commit_file(version))

    def log(self, witness=None, cache=None, **keywords):
        return CommitLog("s", self.folder, LogCache() if cache is None else cache, witness or Nobody(), **keywords)

    def look(self, *arguments, **keywords):
        log = self.log(*arguments, **keywords)
        found = [own.entry for own in history.live(log)][::-1], history.newest_own(log)
        log.keep_copies()
        return found


def own(stream, guard=3):
    """A commit of the stream."""
    entry = Entry.next(None, make_epoch(stream=stream), sink="t")
    return Own(guard=guard, entry=replace(entry, time=NOW), last_batch=0)


@pytest.fixture
def table(tmp_path):
    return Table(tmp_path)


STEPS = st.lists(
    st.one_of(
        st.sampled_from(["write", "write", "foreign", "empty", "optimize", "look", "fresh"]),
        st.tuples(st.sampled_from(["restore", "by_time"]), st.integers(0, 30)),
    ),
    max_size=25,
)


@given(STEPS)
def test_every_look_sees_what_the_table_holds(tmp_path_factory, steps):
    table = Table(tmp_path_factory.mktemp("table"))
    cache = LogCache()
    for step in steps:
        _step(table, step)
        if step in ("look", "fresh"):
            entries, own = table.look(cache=cache if step == "look" else LogCache())
            assert _with_rows(entries) == _with_rows(table.state[0])
            assert own == (None if not table.own else replace(table.own[-1], files=own.files))
    for looked in (cache, LogCache()):
        assert _with_rows(table.look(cache=looked)[0]) == _with_rows(table.state[0])


def _step(table, step):
    if step == "empty":
        table.write(rows=0)
    elif isinstance(step, tuple):
        if table.newest >= 1:
            table.restore(step[1] % table.newest, by_time=step[0] == "by_time")
    elif step not in ("look", "fresh"):
        getattr(table, step)()


def _with_rows(entries):
    # After a RESTORE by time nothing tells entries apart that had no rows.
    return [entry for entry in entries if entry.rows]


@pytest.mark.parametrize("names", [[], [".hidden"], ["_spark_metadata/0"], ["_delta_log/notes", "part-0"]])
def test_table_may_be_made_where_no_other_file_is_seen(table, names):
    for name in names:
        table.folder.write(name, "")
    table.log().refuse_other_files()


@pytest.mark.parametrize("name", ["part-0", "day=1/part-0"])
def test_table_is_not_made_among_other_files(table, name):
    table.folder.write(name, "")
    with pytest.raises(ConfigurationError, match=rf"such as '{name.partition('/')[0]}'.*Nothing was written"):
        table.log().refuse_other_files()
    table.write()
    table.log().refuse_other_files()


def test_new_table_has_no_head(table):
    assert table.look() == ([], None)


def test_restore_by_version_takes_entries_back_and_no_guard(table):
    table.write()
    table.write()
    table.restore(0)
    entries, own = table.look()
    assert [entry.seq for entry in entries] == [0]
    assert own.guard == 1


def test_restore_by_time_is_told_by_files(table):
    for _ in range(3):
        table.write()
    table.restore(1, by_time=True)
    assert [entry.seq for entry in table.look()[0]] == [0, 1]


def test_restore_of_a_restore(table):
    table.write()
    table.write()
    table.restore(0)
    table.restore(1)
    assert [entry.seq for entry in table.look()[0]] == [0, 1]


def test_restore_by_time_to_files_that_no_version_had():
    changes = {0: file_changes(['{"add":{"path":"a"}}']), 1: file_changes(['{"remove":{"path":"b"}}'])}
    with pytest.raises(LedgerError, match="version 1 is a RESTORE by time"):
        restored_version(1, changes.__getitem__)


def test_deletion_vectors_tell_files_apart():
    first, second = '{"add":{"path":"a"}}', '{"add":{"path":"a","deletionVector":{"offset":1}}}'
    assert file_changes([first]) != file_changes([second])


def test_other_streams_and_other_writers_texts_are_foreign(table):
    for text in (user_metadata(own("other")), "a note", '"foreachonce"', "[1]", None):
        line = json.dumps({"commitInfo": {"operation": "WRITE", "userMetadata": text}}, separators=(",", ":"))
        assert isinstance(parse("s", [line]), Foreign)


def test_entry_of_a_newer_format_is_refused():
    text = json.dumps({"foreachonce": 2, "stream": "s"})
    with pytest.raises(LedgerError, match="format 2"):
        parse("s", [json.dumps({"commitInfo": {"userMetadata": text}}, separators=(",", ":"))])


def test_commit_info_may_come_last(table):
    table.write()
    lines = table.folder.lines(commit_file(0))
    table.folder.write(commit_file(0), "\n".join([*['{"add":{"path":"x"}}'] * 20, *lines]))
    assert len(table.look()[0]) == 1


def test_copies_say_what_commits_say(table):
    table.write()
    table.restore(0)
    log = table.log()
    for version in range(2):
        commit = log.commit(version)
        assert from_copy(to_copy("s", commit)) == commit


# What version 1 of the format wrote, in its own order of keys.
OLD = (
    '{"foreachonce": 1, "guard": 4, "last_batch": 7, "stream": "s", "seq": 0, "query_id": "query-1", "batch_id": 0, '
    '"run_id": "run-1", "time": "2026-01-02T00:00:00+00:00", "start_offsets": "0:-", '
    r'"end_offsets": "0:{\"events\": {\"0\": 1}}", "source_log": null, "offset_log": "v1\n{}\n{\"events\": {\"0\": 1}}", '
    '"is_stateful": true, "sink": "t", "versions": "v", "decision": "on_mismatch=write: behind"%s}'
)


def test_entries_of_older_versions_are_read_and_written_in_the_same_fields():
    old = from_copy(OLD % ', "rows": 3, "files": ["a", "b"]')
    assert isinstance(old, Own)
    assert (old.guard, old.last_batch, old.files) == (4, 7, ("a", "b"))
    made = Entry.next(None, make_epoch(is_stateful=True), sink="t", decision=Decision("on_mismatch", "behind"))
    assert old.entry == replace(made, time=NOW, versions="v", rows=3)
    info = {"operation": "WRITE", "userMetadata": OLD % "", "operationMetrics": {"numOutputRows": "3"}}
    assert parse("s", [json.dumps({"commitInfo": info}, separators=(",", ":"))]) == replace(old, files=())
    assert json.loads(to_copy("s", old)) == json.loads(OLD % ', "rows": 3, "files": ["a", "b"]')
    assert json.loads(user_metadata(old)) == json.loads(OLD % "")
    assert from_copy('{"foreachonce": 1, "stream": "s", "restored": 3}') == Restore(3)
    assert to_copy("s", Restore(3)) == '{"foreachonce": 1, "stream": "s", "restored": 3}'


def test_copies_bound_the_walk(table):
    table.write()
    table.look()
    table.folder.write(commit_file(0), "torn, and not read any more beyond its first look")
    table.foreign()
    log = table.log(cache=table.cache)
    table.folder.lines = None  # type: ignore[assignment]
    assert log.newest == 1


def test_head_outlives_the_commit_files(table):
    for _ in range(3):
        table.write()
    table.look()
    for _ in range(5):
        table.foreign()
    table.lose(*range(6))
    entries, own = table.look(Saw(guard=2, files={"part-2"}))
    assert [entry.seq for entry in entries] == [0, 1, 2]
    assert own.guard == 2


def test_head_outlives_all_commit_files_but_the_newest_checkpoint(table):
    table.write()
    table.look()
    table.lose(0)
    table.folder.write(f"_delta_log/{0:020}.checkpoint.parquet", "")
    assert [entry.seq for entry in table.look()[0]] == [0]


@pytest.mark.parametrize("witness", [Saw(guard=1, files={"part-0"}), Saw(guard=0), Saw(guard=0, files={"other"})])
def test_what_neither_log_nor_copy_tells_is_refused(table, witness):
    """Another commit of the stream may be gone, or a RESTORE that undid the newest one."""
    table.write()
    table.look()
    table.foreign()
    table.foreign()
    table.lose(0, 1)
    with pytest.raises(LedgerError, match="neither _foreachonce"):
        table.look(witness)
    assert [entry.seq for entry in table.look(witness, trust=True)[0]] == [0]


def test_lost_copies_and_commits_are_refused_where_delta_still_has_the_guard(table):
    table.write()
    table.foreign()
    table.lose(0)
    with pytest.raises(LedgerError, match="txn version 0"):
        table.look(Saw(guard=0))
    assert table.look(Saw()) == ([], None)


def test_crash_between_commit_and_copy_is_healed(table):
    table.write()
    table.look()
    table.write()  # and no look: the writer was killed
    table.look()
    assert len(table.folder.names(copies_folder("s"))) == 2


def test_torn_copy_is_not_believed(table):
    table.write()
    table.look()
    table.folder.write(f"{copies_folder('s')}/{0:020}.json", '{"foreachonce"')
    assert len(table.look()[0]) == 1


def test_copies_of_another_table_are_dropped(table, tmp_path):
    table.write()
    table.write()
    table.look()
    table.lose(0, 1)
    again = Table(tmp_path)
    again.foreign()
    again.foreign()
    again.foreign()
    assert again.look() == ([], None)
    assert again.folder.names(copies_folder("s")) == []


def test_copies_of_a_table_that_the_stream_wrote_anew_are_dropped(table, tmp_path):
    table.write()
    table.look()
    table.lose(0)
    again = Table(tmp_path)
    again.write("other")
    assert [entry.run_id for entry in again.look()[0]] == ["other"]


def test_table_that_is_made_anew_in_the_same_process(table, tmp_path):
    table.write()
    table.look(cache=table.cache)
    table.lose(0)
    table.folder.remove(f"{copies_folder('s')}/{0:020}.json")
    assert table.look(cache=table.cache) == ([], None)


def test_old_copies_are_pruned_and_the_chain_ends_there(table):
    for _ in range(2 * KEPT + 1):
        table.write()
        table.look(cache=table.cache)
    copies = len(table.folder.names(copies_folder("s")))
    assert KEPT <= copies < 2 * KEPT
    table.lose(*range(2 * KEPT))
    entries, _ = table.look()
    assert len(entries) == copies
    log = table.log()
    assert history.same_batch(log, "another query", 0) is None
    table.restore(0)
    with pytest.raises(LedgerError, match="put back to version"):
        table.look()


def test_batch_of_a_query_that_goes_on_is_told_by_the_head_alone(table):
    table.write()
    table.write()
    log = table.log()
    head = next(history.live(log)).entry
    log.commit = {1: log.commit(1)}.__getitem__  # type: ignore[method-assign]
    assert history.same_batch(log, head.query_id, head.batch_id) == head
    assert history.same_batch(log, head.query_id, head.batch_id + 1) is None


def test_greatest_batch_of_a_query_is_known_to_its_head(table):
    table.write()
    table.write()
    log = table.log()
    query = next(history.live(log)).entry.query_id
    assert history.last_batch(log, query, 7) == 7
    assert history.last_batch(log, query, 0) == 1
    assert history.last_batch(log, "another", 3) == 3


def test_commit_that_is_older_than_the_newest_is_found_by_its_guard(table):
    table.write()
    table.write("other")
    assert history.newest_own(table.log(), up_to=0).entry.run_id == "r"
    assert history.newest_own(table.log()).entry.run_id == "other"


def test_entry_before_is_the_live_one(table):
    for _ in range(3):
        table.write()
    assert history.seq_before(table.log(), 2) == 1
    table.restore(0)
    assert history.seq_before(table.log(), 3) == 0
    assert history.seq_before(table.log(), 0) == -1


def test_entry_before_is_unknown_where_it_is_not_kept(table):
    table.write()
    table.write()
    table.look()
    table.folder.remove(f"{copies_folder('s')}/{0:020}.json")
    table.lose(0)
    assert history.seq_before(table.log(), 1) is None


def test_restore_keeps_what_it_went_back_to(table):
    table.write()
    table.write()
    table.restore(0, by_time=True)
    table.look()
    table.foreign()
    table.lose(0, 1, 2)
    copy = from_copy("\n".join(table.folder.lines(f"{copies_folder('s')}/{2:020}.json")))
    assert copy == Restore(0)
