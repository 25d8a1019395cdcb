"""A file source's log that was written anew is read by Spark whole, whatever its setting, and goes on as Spark's own."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from foreachonce.checkpoint import (
    COMPACT_INTERVAL,
    by_entry,
    log_number,
    read_position,
    source_log_files,
    source_log_lines,
    source_log_names,
)
from foreachonce.errors import EpochError
from tests.unit.builders import FakeFolder, line, pointer
from tests.unit.spark_model import CannotStart, Query, all_files

LENGTHS = st.integers(1, 35)
INTERVALS = st.integers(1, 25)


def log_of(length: int) -> dict[int, tuple[str, ...]]:
    """Entry n names n % 3 + 1 files."""
    return {number: tuple(line(f"{number}-{file}", number) for file in range(number % 3 + 1)) for number in range(length)}


def written(log, interval=COMPACT_INTERVAL) -> FakeFolder:
    return FakeFolder({f"sources/0/{name}": text for name, text in source_log_files(log, interval).items()})


@given(LENGTHS, INTERVALS)
def test_spark_reads_every_line_of_a_log_that_was_written_anew(length, interval):
    log = log_of(length)
    assert all_files(written(log, interval), "0", interval) == [each for number in log for each in log[number]]


@given(st.integers(2 * COMPACT_INTERVAL, 60), INTERVALS)
def test_log_of_two_intervals_is_read_with_any_setting(length, setting):
    assert len(all_files(written(log_of(length)), "0", setting)) == sum(map(len, log_of(length).values()))


@given(LENGTHS, INTERVALS, st.integers(1, 30))
def test_spark_goes_on_with_a_log_that_was_written_anew(length, interval, more):
    """What Spark compacts next is what it would have been."""
    folder = written(log_of(length), interval)
    query = Query(folder, interval=interval, logs={"0": [list(lines) for lines in log_of(length).values()]})
    for _ in range(more):
        query.plan(1)
        assert all_files(folder, "0", interval) == [each for lines in query.logs["0"] for each in lines]


@given(LENGTHS, INTERVALS)
def test_spark_and_this_library_name_the_newest_files_alike(length, interval):
    query = Query(FakeFolder(), interval=interval)
    for _ in range(length):
        query.plan(1)
    log = {number: tuple(lines) for number, lines in enumerate(query.logs["0"])}
    anew, old = source_log_files(log, interval), query.folder
    assert all(old.text(f"sources/0/{name}") == text for name, text in anew.items())


def test_file_of_each_entry_until_there_are_enough():
    assert sorted(source_log_files(log_of(9))) == [str(number) for number in range(9)]
    assert sorted(source_log_files(log_of(12))) == ["10", "11", "9.compact"]
    # The distance of two compact files tells Spark their interval; without the older one it would be 20 from here on.
    assert sorted(source_log_files(log_of(21))) == ["19.compact", "20", "9.compact"]


def test_log_without_entries_has_no_file():
    assert source_log_files({}) == {}


@given(LENGTHS, INTERVALS)
def test_lines_come_back_by_entry(length, interval):
    log = log_of(length)
    files = source_log_files(log, interval)
    found = {number: lines for text in files.values() for number, lines in by_entry(source_log_lines(text)).items()}
    assert found == log


@pytest.mark.parametrize(("text", "why"), [
    ("", "version ''"), ("v2\n{}", "version 'v2'"), ("\0v1\n{}", "version"), ("v1", "no file"), ("v1\n", "no file"),
])  # fmt: skip
def test_other_text_is_no_file_of_a_log(text, why):
    with pytest.raises(ValueError, match=why):
        source_log_lines(text)


@pytest.mark.parametrize("torn", ["", "{", '{"path":"file:///in/0"}', "null", "[]", '{"batchId":null}', '"batchId"'])
def test_torn_line_is_refused(torn):
    with pytest.raises(ValueError, match=r"torn|none of a file source|Expecting"):
        by_entry([line("0", 0), torn])


def test_files_of_a_log_are_told_by_their_names():
    names = ["0", "19.compact", ".0.crc", "0.tmp", "²", "-1", "compact", ""]
    assert [log_number(name) for name in names] == [0, 19, *[None] * 6]


# --- read back --------------------------------------------------------------------------------------------------------


@given(st.integers(1, 35), st.integers(0, 34), st.integers(0, 34), INTERVALS)
def test_any_batch_is_read_from_a_log_that_was_written_anew(length, one, other, interval):
    first, last = sorted((one % length, other % length))
    log, folder = log_of(length), written(log_of(length), interval)
    folder.write("offsets/4", f"v1\n{{}}\n{pointer(first)}")
    folder.write("offsets/5", f"v1\n{{}}\n{pointer(last)}")
    span = read_position(folder, 5)[0].sources["0"]
    assert span.start_files == log[first]
    assert span.files == tuple(each for number in range(first + 1, last + 1) for each in log[number])


def test_batch_of_a_long_log_is_read_whole():
    """As of a query that reads its source again for its state: its first batch is all that there is."""
    folder = written(log_of(500))
    folder.write("offsets/0", f"v1\n{{}}\n{pointer(499)}")
    assert len(read_position(folder, 0)[0].sources["0"].files) == sum(map(len, log_of(500).values()))


def test_batch_that_goes_back_in_the_log_has_no_files():
    folder = written(log_of(3))
    folder.write("offsets/0", f"v1\n{{}}\n{pointer(2)}")
    folder.write("offsets/1", f"v1\n{{}}\n{pointer(1)}")
    span = read_position(folder, 1)[0].sources["0"]
    assert (span.files, span.start_files) == ((), log_of(3)[2])


def test_offset_of_files_in_the_form_of_spark_2_0_is_refused_by_name():
    folder = FakeFolder({"offsets/0": "v1\n\n345", "offsets/1": f"v1\n{{}}\n{pointer(346)}"})
    with pytest.raises(EpochError, match=r'source 0 .* starts at 345: since version 2.1 Spark writes {"logOffset":N}'):
        read_position(folder, 1)


# --- what Spark looks for ---------------------------------------------------------------------------------------------


@settings(max_examples=300, deadline=None)
@example(length=30, interval=20, setting=10, gone=set())
@given(st.integers(1, 60), INTERVALS, INTERVALS, st.sets(st.integers(0, 60), max_size=4))
def test_files_that_spark_looks_for_are_known(length, interval, setting, gone):
    """Whatever is missing: a compact file less changes what Spark takes for its interval."""
    folder = Query(FakeFolder(), interval=interval).run(*[1] * length).folder
    for number in gone:
        folder.remove(f"sources/0/{number}")
        folder.remove(f"sources/0/{number}.compact")
    names = source_log_names(folder.names("sources/0"), setting)
    try:
        lines = all_files(folder, "0", setting)
    except CannotStart:
        assert not set(names) <= set(folder.names("sources/0"))
    else:
        assert [each for name in names for each in source_log_lines(folder.text(f"sources/0/{name}"))] == lines
