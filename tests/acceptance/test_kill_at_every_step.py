"""A real driver is killed at every step between offsets/N and commits/N; each batch is there once."""

from __future__ import annotations

from pathlib import Path

import pytest

from foreachonce import JdbcSink
from foreachonce.chain import breaks
from foreachonce.testing.driver import Driver, Job
from foreachonce.testing.stream import FileStream
from tests.acceptance.reader import Reader, file_ids

DIRECT = ["epoch-resolved", "head-read", "rows-half", "rows-written", "entry-written", "committed", "function-done"]
# The steps before are the same code on both paths.
STAGED = ["rows-half", "rows-staged", "rows-written", "entry-written", "committed"]


@pytest.mark.parametrize(("place", "path", "steps"), [
    ("sqlite_url", "direct", DIRECT), ("postgres_url", "direct", DIRECT), ("postgres_url", "staged", STAGED),
])  # fmt: skip
def test_a_kill_at_any_step_loses_and_repeats_nothing(place, path, steps, request, tmp_path: Path):
    url = request.getfixturevalue(place)
    sink = JdbcSink(url, table="events", stream="s", path=path)
    stream = FileStream(None, tmp_path)  # the session is in the drivers
    stream.feed(*(file_ids(number) for number in range(len(steps) + 1)))
    job = Job(sink, stream.source, stream.checkpoint)
    with Reader(url) as reader:
        for number, step in enumerate(steps):
            batches_before = _entries(sink)
            with Driver(job, fault=step) as driver:
                driver.wait_at_point()
                driver.kill("all")
            # The driver came to its point in a replay or in the next batch; either way all or nothing was committed.
            batches_after = _entries(sink)
            assert batches_after - batches_before in (0, 1), (number, step)
            if batches_after:
                assert reader.ids() == stream.ids()[: batches_after * len(file_ids(0))], step
        with Driver(job) as driver:
            assert driver.wait() == 0, driver.log()
    assert reader.ids() == stream.ids()
    assert reader.parts == []
    entries = list(sink.ledger.entries("s"))
    assert list(breaks(entries)) == []
    assert [entry.batch_id for entry in entries] == list(range(len(steps) + 1))


def _entries(sink: JdbcSink) -> int:
    head = sink.ledger.head("s")
    return 0 if head is None else head.seq + 1
