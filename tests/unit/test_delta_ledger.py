"""DeltaLedger without Spark: which threads wait for each other, what a process remembers, and an entry without rows."""

from __future__ import annotations

import threading

import pytest

from foreachonce import Conflict, DeltaLedger, Fenced, LedgerError
from foreachonce.delta import ledger as delta_ledger
from foreachonce.delta.folder import LocalTable
from foreachonce.delta.ledger import RUNS
from foreachonce.delta.log import KEPT
from foreachonce.entry import Decision, Entry
from tests.unit.builders import epoch as make_epoch
from tests.unit.test_delta_history import Table

PATIENCE = 10


@pytest.fixture(autouse=True)
def no_spark(monkeypatch):
    monkeypatch.setattr(delta_ledger, "_active_session", lambda: None)
    monkeypatch.setattr(delta_ledger, "_running_session", lambda: None)
    monkeypatch.setattr(delta_ledger, "require_delta", lambda spark: None)


@pytest.fixture
def table(tmp_path):
    return Table(tmp_path / "table")


@pytest.fixture
def ledger(table):
    return DeltaLedger(table.folder.root)


def epoch(run: str, batch_id: int = 99):
    return make_epoch(run_id=run, batch_id=batch_id, query_id="query-9")


def memory(ledger):
    return delta_ledger._tables[ledger.place].streams["s"]


# --- which threads wait for each other -------------------------------------------------------------------------------


class Gate:
    """Holds up whoever reads one table, until it is opened."""

    def __init__(self, root: str):
        self.root, self.readers = root, 0
        self.entered, self.open = threading.Event(), threading.Event()

    def folder(self, root: str) -> LocalTable:
        return _Held(root, self) if root == self.root else LocalTable(root)


class _Held(LocalTable):
    def __init__(self, root: str, gate: Gate):
        super().__init__(root)
        self._gate = gate

    def stamp(self, path: str) -> str | None:
        self._gate.readers += 1
        self._gate.entered.set()
        assert self._gate.open.wait(PATIENCE)
        self._gate.readers -= 1
        return super().stamp(path)


@pytest.fixture
def gate(table, monkeypatch):
    gate = Gate(table.folder.root)
    monkeypatch.setattr(delta_ledger, "LocalTable", gate.folder)
    yield gate
    gate.open.set()


def read(ledger: DeltaLedger) -> threading.Thread:
    thread = threading.Thread(target=ledger.head, args=["s"], daemon=True)
    thread.start()
    return thread


def test_slow_log_delays_no_other_table(ledger, gate, tmp_path):
    slow = read(ledger)
    assert gate.entered.wait(PATIENCE)
    other = read(DeltaLedger(str(tmp_path / "other")))
    other.join(PATIENCE / 2)
    assert not other.is_alive()
    assert slow.is_alive()


def test_readers_of_one_table_wait_for_each_other(ledger, gate):
    readers = [read(ledger)]
    assert gate.entered.wait(PATIENCE)
    readers.append(read(ledger))
    readers[1].join(0.3)
    assert readers[1].is_alive()
    assert gate.readers == 1
    gate.open.set()
    for reader in readers:
        reader.join(PATIENCE)
        assert not reader.is_alive()


# --- what a process remembers ----------------------------------------------------------------------------------------


def test_replaced_run_stays_fenced_while_it_comes(table, ledger):
    assert ledger.take(epoch("old"), None).is_held
    table.write("new")
    for number in range(RUNS + 5):
        with pytest.raises(Fenced, match="was replaced by run new"):
            ledger.look(epoch("old"))
        ledger.take(epoch(f"run-{number}"), table.own[-1].entry)


def test_runs_of_a_process_are_forgotten_oldest_first(table, ledger):
    table.write("new")
    head = table.own[-1].entry
    for number in range(RUNS):
        ledger.take(epoch(f"run-{number}"), head)
    table.write("newer")
    with pytest.raises(Fenced):
        ledger.look(epoch("run-1"))
    assert ledger.take(epoch("another"), table.own[-1].entry).is_held
    assert len(memory(ledger).guards) == RUNS
    assert list(memory(ledger).guards)[-2:] == ["run-1", "another"]
    assert "run-0" not in memory(ledger).guards


def test_holder_is_known_by_its_commits_alone(table, ledger):
    table.write("r")
    ledger.look(epoch("r"))
    memory(ledger).guards.clear()
    assert ledger.look(epoch("r")).is_held


def test_commits_in_memory_are_bounded_by_the_copies(table, ledger):
    for number in range(4 * KEPT):
        table.write()
        if number % 10 == 0:
            table.foreign()
        assert ledger.head("s") == table.own[-1].entry
    assert len(memory(ledger).cache.commits) <= 2 * KEPT + 2 * KEPT // 10 + 1
    assert len(memory(ledger).cache.copied) < 2 * KEPT
    assert [entry.seq for entry in ledger.entries("s")] == list(range(4 * KEPT))


# --- an entry without rows -------------------------------------------------------------------------------------------


@pytest.fixture
def appended(table, monkeypatch):
    """Append commits without rows as Delta would; the list holds their options."""
    commits: list[dict[str, str]] = []

    def append_nothing(root: str, options: dict[str, str]) -> None:
        assert root == table.folder.root
        commits.append(options)
        info = {"operation": "WRITE", "userMetadata": options["userMetadata"], "operationMetrics": {"numOutputRows": "0"}}
        table._commit(info, *table.state)

    monkeypatch.setattr(delta_ledger, "append_nothing", append_nothing)
    return commits


def repair(ledger, run="repair") -> Entry:
    """The entry of a run that has taken the stream."""
    head = ledger.head("s")
    assert ledger.take(epoch(run), head).is_held
    return Entry.next(head, epoch(run), sink="t", decision=Decision("repair", "behind"))


def test_entry_is_appended_under_the_next_guard(table, ledger, appended):
    table.write()
    table.write()
    ledger.append(repair(ledger))
    assert appended[0]["txnVersion"] == "2"
    assert (ledger.head("s").seq, ledger.head("s").rows, str(ledger.head("s").decision)) == (2, 0, "repair: behind")
    assert ledger.unfinished("s") is None


def test_without_a_table_nothing_is_appended(ledger, appended):
    ledger.append(repair(ledger))
    assert appended == []
    assert ledger.head("s") is None


def test_run_that_has_not_taken_the_stream_appends_nothing(table, ledger, appended):
    table.write()
    entry = Entry.next(ledger.head("s"), epoch("repair"), sink="t")
    with pytest.raises(Conflict, match="does not hold it"):
        ledger.append(entry)
    assert appended == []


def test_run_that_was_replaced_appends_nothing(table, ledger, appended):
    table.write()
    entry = repair(ledger)
    table.write("other")
    with pytest.raises(Fenced, match="was replaced by run other"):
        ledger.append(entry)
    assert appended == []


def test_append_that_delta_skips_is_a_conflict(table, ledger, monkeypatch):
    table.write()
    entry = repair(ledger)
    monkeypatch.setattr(delta_ledger, "append_nothing", lambda root, options: table.write("other"))
    with pytest.raises(Conflict, match="has skipped the commit with guard 1"):
        ledger.append(entry)


def test_append_that_leaves_no_entry_is_an_error(table, ledger, monkeypatch):
    table.write()
    entry = repair(ledger)
    monkeypatch.setattr(delta_ledger, "append_nothing", lambda root, options: table.foreign())
    with pytest.raises(LedgerError, match="drops userMetadata"):
        ledger.append(entry)
