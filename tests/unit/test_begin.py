"""A new stream can begin where another one stood after an entry. On SQLite files."""

from __future__ import annotations

import pytest

from foreachonce import ConfigurationError, JdbcSink, Mismatch, exactly_once
from foreachonce.chain import breaks
from foreachonce.checkpoint import OffsetLog
from foreachonce.checkpoint.local import LocalCheckpoint
from foreachonce.sql import statements
from tests.unit.builders import line, mend, of_files, pointer


@pytest.fixture
def old(sqlite_url) -> JdbcSink:
    """The sink of a stream that has written four files."""
    sink = JdbcSink(sqlite_url, table="orders", stream="s")
    assert sink.ledger.head("s") is None
    write(sink, *map(of_files, range(4)))
    return sink


def write(sink, *entries):
    with sink.ledger.database.writing(sink.ledger.url) as connection:
        for each in entries:
            statements.append_entry(connection, None, each, 1)


@pytest.fixture
def again(sqlite_url) -> JdbcSink:
    return JdbcSink(sqlite_url, table="orders_again", stream="again")


def test_first_entry_holds_all_that_was_read_and_brings_no_rows(old, again):
    begun = again.begin_after(old.ledger, "s", 2)
    assert list(again.ledger.entries("again")) == [begun]
    assert (begun.seq, begun.batch_id, begun.rows, str(begun.decision)) == (0, 0, 0, "begun after seq 2 of stream 's'")
    assert begun.position.starts == "0:-"
    assert begun.position.ends == f"0:{pointer(2)}"
    assert begun.position.sources["0"].files == tuple(line(f"{number}.json", number) for number in range(3))
    assert begun.query_id != old.ledger.head("s").query_id
    assert len(list(old.ledger.entries("s"))) == 4


def test_checkpoint_is_built_from_it(old, again, tmp_path):
    begun = again.begin_after(old.ledger, "s", 2)
    folder = LocalCheckpoint(str(tmp_path / "checkpoint"))
    assert mend([again], folder).is_done
    assert folder.names("commits") == folder.names("offsets") == ["0"]
    assert OffsetLog.parse(folder.text("offsets/0")).offsets == {"0": pointer(2)}
    assert folder.names("sources/0") == ["0", "1", "2"]
    assert begun.query_id in folder.text("metadata")
    assert list(breaks(again.ledger.entries("again"))) == []


def test_all_sinks_of_a_query_begin_at_the_same_place(old, sqlite_url, tmp_path):
    sinks = [JdbcSink(sqlite_url, table=name, stream=name) for name in ("first", "second")]

    @exactly_once(sinks)
    def both(frame, batch_id):
        return frame

    both.begin_after(old.ledger, "s", 1)
    folder = LocalCheckpoint(str(tmp_path / "checkpoint"))
    mend(sinks, folder)
    first, second = (next(iter(sink.ledger.entries(sink.stream))) for sink in sinks)
    assert (first.stream, second.stream) == ("first", "second")
    assert first.query_id == second.query_id
    assert first.position.same_as(second.position)


@pytest.mark.parametrize("seq", [4, -1])
def test_entry_that_is_not_there_is_refused(old, again, seq):
    with pytest.raises(ConfigurationError, match=rf"seq={seq}: stream 's' has no such entry.*Nothing was begun"):
        again.begin_after(old.ledger, "s", seq)
    assert again.ledger.streams() == ["s"]


def test_stream_that_is_not_new_is_refused(old):
    with pytest.raises(ConfigurationError, match=r"'s' has entries.*another stream="):
        old.begin_after(old.ledger, "s", 1)
    assert len(list(old.ledger.entries("s"))) == 4


def test_files_of_entries_that_are_gone_are_not_guessed(sqlite_url, again):
    sink = JdbcSink(sqlite_url, table="orders", stream="s")
    _ = sink.ledger.identity
    write(sink, *map(of_files, range(2, 4)))
    with pytest.raises(Mismatch, match=r"neither ledger nor checkpoint holds all 4 entries.*unknown is 0"):
        again.begin_after(sink.ledger, "s", 3)
    assert again.ledger.streams() == ["s"]
