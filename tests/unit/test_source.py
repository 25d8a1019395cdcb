"""What the source no longer holds of what the sink lacks is told exactly, and nothing that the sink has."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreachonce.position import Position, SourceSpan, kafka_offsets
from foreachonce.recovery.diagnosis import MissingInput, missing_files, missing_records
from foreachonce.recovery.goal import Goal
from tests.unit.builders import FakeFolder, entry, kafka, line, pointer
from tests.unit.spark_model import Query


def ending_at(*ends: str | None) -> Goal:
    return Goal("query-1", entry(position=Position({str(number): SourceSpan(None, end) for number, end in enumerate(ends)})))


# --- records ---------------------------------------------------------------------------------------------------------


def test_records_between_the_sink_and_what_kafka_holds():
    goal = ending_at('{"clicks":{"0":5},"orders":{"0":10,"2":7,"10":3}}')
    earliest = {"orders": {0: 13, 2: 7, 10: 4}, "clicks": {0: 4}, "other": {0: 99}}
    assert list(missing_records(goal, earliest)) == [
        MissingInput("0", "topic orders, partition 0", 10, 12), MissingInput("0", "topic orders, partition 10", 3, 3),
    ]  # fmt: skip


def test_lost_records_in_words():
    (lost,) = missing_records(ending_at(kafka(10)), {"events": {0: 13}})
    assert str(lost) == "source 0: topic events, partition 0, offsets 10 to 12 (3 records)"


@given(st.dictionaries(st.integers(0, 12), st.tuples(st.integers(0, 99), st.integers(0, 99)), max_size=5))
def test_every_lost_record_is_counted_once(partitions):
    ends = ", ".join(f'"{number}": {end}' for number, (end, _) in partitions.items())
    found = list(
        missing_records(
            ending_at(f'{{"t": {{{ends}}}}}'), {"t": {number: first for number, (_, first) in partitions.items()}}
        )
    )
    assert sum(lost.last - lost.first + 1 for lost in found) == sum(
        max(0, first - end) for end, first in partitions.values()
    )


def test_records_of_a_source_that_the_query_uses_twice_are_lost_once():
    spans = {"0": SourceSpan(None, kafka(3)), "1": SourceSpan(None, kafka(3), is_shared=True)}
    goal = Goal("query-1", entry(position=Position(spans)))
    assert [lost.source for lost in missing_records(goal, {"events": {0: 9}})] == ["0"]


def test_of_what_nobody_knows_nothing_is_lost():
    """Partitions that Kafka does not tell of, other sources, and a stream without a batch."""
    assert list(missing_records(ending_at(kafka(10), pointer(3), None, "17"), {})) == []
    assert list(missing_records(Goal("query-1", None, entry()), {"events": {0: 9}})) == []


@pytest.mark.parametrize("offset", [
    None, "17", pointer(3), "[]", '{"a":{"0":"x"}}', '{"a":{"x":1}}', '{"a":{"0":true}}', '{"a":[1]}', '{"a":{"0":1},"b":2}',
])  # fmt: skip
def test_offset_of_another_source_is_none_of_kafkas(offset):
    assert kafka_offsets(offset) == {}


def test_offsets_of_kafka():
    assert kafka_offsets('{"a":{"0":1,"10":2},"b":{}}') == {"a": {0: 1, 10: 2}, "b": {}}


# --- files -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def ahead():
    """A checkpoint of twelve batches of two files each, all of which are there."""
    made = Query(FakeFolder()).run(*[2] * 12)
    for lines in made.logs["0"]:
        for each in lines:
            made.folder.disk[path_of(each)] = ""
    return made


def path_of(line: str) -> str:
    return line.split('"')[3].removeprefix("file://")


def test_files_that_the_sink_lacks_and_the_source_too(ahead):
    goal = Goal("query-1", ahead.chain[6])
    assert missing_files(goal, ahead.folder) == []
    gone = [ahead.logs["0"][number][1] for number in (3, 6, 7, 9, 11)]
    for each in gone:
        del ahead.folder.disk[path_of(each)]
    # Entries 7 and 9 stand in the compact file too.
    assert {lost.what for lost in missing_files(goal, ahead.folder)} == {f"file://{path_of(each)}" for each in gone[2:]}
    assert len(missing_files(goal, ahead.folder)) == 3


def test_file_of_a_batch_that_was_begun_is_lost_too(ahead):
    gone = ahead.logs["0"][0][0]
    del ahead.folder.disk[path_of(gone)]
    assert [lost.what for lost in missing_files(Goal("query-1", None, ahead.chain[0]), ahead.folder)] == [
        f"file://{path_of(gone)}"
    ]
    assert missing_files(Goal("query-1", ahead.chain[0], ahead.chain[1]), ahead.folder) == []


def test_file_of_a_source_that_the_sink_has_nothing_of(ahead):
    folder = FakeFolder({"sources/0/0": f"v1\n{line('gone', 0)}"})
    assert [lost.what for lost in missing_files(ending_at(None), folder)] == ["file:///in/gone"]
    assert str(*missing_files(ending_at(None), folder)) == "source 0: the file file:///in/gone"


def test_file_is_looked_for_by_its_real_name():
    name = "/in/Zürich 1%20#.json"
    text = f'v1\n{{"path":"file://{quote(name)}","timestamp":1,"batchId":1}}'
    folder = FakeFolder({"sources/0/1": text})
    assert len(missing_files(ending_at(pointer(0)), folder)) == 1
    folder.disk[name] = ""
    assert missing_files(ending_at(pointer(0)), folder) == []


@pytest.mark.parametrize("torn", ["", "v1", "v1\n{", 'v1\n{"batchId":', '\0v1\n{"events":{"0":0}}', "v9\n{}"])
def test_what_is_torn_or_another_sources_tells_nothing(torn):
    folder = FakeFolder(
        {"sources/0/1": torn, "sources/0/2": f"v1\n{line('gone', 2)}", "sources/1/0": torn, "sources/0/x": "v1"}
    )
    assert [lost.what for lost in missing_files(ending_at(pointer(0), kafka(3)), folder)] == ["file:///in/gone"]


def test_file_that_was_cut_short_tells_nothing():
    folder = FakeFolder({"sources/0/1": f"v1\n{line('gone', 1)}"})
    folder.tear("sources/0/1", 10)
    assert missing_files(ending_at(pointer(0)), folder) == []
