"""What a user is told of a batch that was written in spite of a mismatch."""

from __future__ import annotations

import logging
from contextlib import nullcontext

import pytest
import sqlalchemy as sa

from foreachonce import SqlLedger
from foreachonce.errors import WriteFailed
from foreachonce.runner import write_once
from tests.unit.builders import epoch
from tests.unit.test_model import ListSink


@pytest.fixture
def sink(sqlite_url):
    """A sink with one batch of query-1, that goes on in spite of a mismatch."""
    engine = sa.create_engine(sqlite_url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.execute(sa.text("create table numbers (n bigint)"))
    sink = ListSink(SqlLedger(sqlite_url))
    write(sink, epoch(None, 4))
    sink.on_mismatch = "write"
    return sink


def write(sink, batch):
    return write_once(sink, batch, lambda sink: nullcontext(sink.check(range(1))))


def warnings(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def of_query_2(start, end, batch_id):
    return epoch(start, end, query_id="query-2", run_id="run-2", batch_id=batch_id)


def test_first_entry_says_so_and_those_that_follow_line_up(sink):
    for batch_id, (start, end) in enumerate([(None, 2), (2, 4), (4, 6)]):
        write(sink, of_query_2(start, end, batch_id))
    assert [str(entry.decision) for entry in sink.ledger.entries("s")] == [
        "write", "on_mismatch=write: behind", "write", "write"
    ]  # fmt: skip


def test_mismatch_is_logged_once(sink, caplog):
    write(sink, of_query_2(None, 2, 0))
    write(sink, of_query_2(2, 4, 1))
    (warning,) = warnings(caplog)
    assert "'s'" in warning
    assert "batch 0 (seq 1) was written in spite of a mismatch: on_mismatch=write: behind" in warning


def test_mismatch_is_logged_after_a_lost_reply(sink, caplog):
    sink.crash = "lost reply"
    assert write(sink, of_query_2(None, 2, 0)) == "written"
    assert ["in spite of a mismatch" in warning for warning in warnings(caplog)] == [False, True]


def test_nothing_is_logged_of_a_batch_that_was_not_written(sink, caplog, monkeypatch):
    def refuse(rows, entry):
        raise WriteFailed("no such value")

    monkeypatch.setattr(sink, "commit", refuse)
    with pytest.raises(WriteFailed):
        write(sink, of_query_2(None, 2, 0))
    assert warnings(caplog) == []
