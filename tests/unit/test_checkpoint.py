"""A batch's position is read out of the checkpoint's own files, and a checkpoint that cannot be read says so."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreachonce.checkpoint import OffsetLog, is_stateful, query_id, read_position
from foreachonce.errors import EpochError
from foreachonce.position import Position, SourceSpan
from tests.unit.builders import FakeFolder, kafka, line, pointer

META = '{"batchWatermarkMs":0,"batchTimestampMs":1700000000000,"conf":{"spark.sql.shuffle.partitions":"2"}}'


def v1(*offsets: str) -> str:
    return "\n".join(["v1", META, *offsets])


def v2(*pairs: str) -> str:
    return "\n".join(["v2", META, *pairs])


def log(*lines: str) -> str:
    return "\n".join(["v1", *lines])


def checkpoint(*batches: str, **others: str) -> FakeFolder:
    """A checkpoint whose ``offsets/N`` are ``batches``; a keyword ``sources_0_3`` is the file ``sources/0/3``."""
    texts = {f"offsets/{number}": text for number, text in enumerate(batches)}
    return FakeFolder(texts | {name.replace("_", "/"): text for name, text in others.items()})


# --- offsets ---------------------------------------------------------------------------------------------------------


def test_first_batch_starts_before_the_start():
    found, text = read_position(checkpoint(v1(kafka(3))), 0)
    assert (found, text) == (Position({"0": SourceSpan(None, kafka(3))}), v1(kafka(3)))


def test_later_batch_starts_where_the_one_before_ended():
    found, text = read_position(checkpoint(v1(kafka(3)), v1(kafka(5))), 1)
    assert (found, text) == (Position({"0": SourceSpan(kafka(3), kafka(5))}), v1(kafka(5)))


def test_sources_are_told_apart_by_their_place():
    found, _ = read_position(checkpoint(v1("1", "10"), v1("2", "20")), 1)
    assert found == Position({"0": SourceSpan("1", "2"), "1": SourceSpan("10", "20")})


def test_more_than_ten_sources_keep_their_places():
    found = OffsetLog.parse(v1(*map(str, range(12)))).offsets
    assert found == {str(place): str(place) for place in range(12)}


def test_source_without_data_yet_has_no_offset():
    found, _ = read_position(checkpoint(v1("-", "1"), v1("7", "1")), 1)
    assert found == Position({"0": SourceSpan(None, "7"), "1": SourceSpan("1", "1")})


def test_version_2_names_its_sources():
    found, _ = read_position(checkpoint(v2("orders:1", "clicks:-"), v2("clicks:" + kafka(4), "orders:2")), 1)
    assert found == Position({"orders": SourceSpan("1", "2"), "clicks": SourceSpan(None, kafka(4))})


def test_checkpoint_that_went_from_version_1_to_2_stays_in_one_chain():
    files = checkpoint(v1(kafka(3)), v2("0:" + kafka(5)))
    before, _ = read_position(files, 0)
    assert read_position(files, 1)[0].follows(before) == "equal"


@given(st.lists(st.none() | st.integers(0, 9).map(kafka), min_size=1), st.sampled_from([1, 2]))
def test_every_offset_log_is_read_verbatim(offsets, version):
    texts = ["-" if offset is None else offset for offset in offsets]
    text = v1(*texts) if version == 1 else v2(*(f"{place}:{offset}" for place, offset in enumerate(texts)))
    assert OffsetLog.parse(text).offsets == {str(place): offset for place, offset in enumerate(offsets)}


@pytest.mark.parametrize(("torn", "why"), [
    ("", "version ''"),
    ("\n", "version ''"),
    ("v", "version 'v'"),
    ("v9\n{}\n1", "version 'v9'"),
    ("garbage " * 50, "version 'garbage garbage garb'"),
    (v1(kafka(3)[:-3]), "cannot be read"),
    (v1("orders:1"), "cannot be read"),
    (v2("0:" + kafka(3)[:-3]), "cannot be read"),
    ("v1", "cannot be read"),
    ("v1\n", "cannot be read"),
    ("v1\n" + META[:20], "cannot be read"),
    ("v1\n" + META + "\n", "cannot be read"),
    (v1("", "1"), "cannot be read"),
    (v2("0"), "cannot be read"),
    (v2("0:"), "cannot be read"),
], ids=repr)  # fmt: skip
def test_torn_or_unknown_offset_log_is_refused_by_name(torn, why):
    with pytest.raises(EpochError, match=r"offsets/0.*/checkpoint") as caught:
        read_position(checkpoint(torn), 0)
    assert why in str(caught.value)


def test_torn_offset_log_of_the_batch_before_is_refused_by_name():
    with pytest.raises(EpochError, match=r"offsets/0 .*cannot be read"):
        read_position(checkpoint("", v1(kafka(5))), 1)


@pytest.mark.parametrize(("kept", "missing"), [(0, "offsets/1"), (1, "offsets/0")])
def test_missing_offset_log_is_refused_by_name(kept, missing):
    with pytest.raises(EpochError, match=f"/checkpoint holds no {missing}"):
        read_position(FakeFolder({f"offsets/{kept}": v1(kafka(3))}), 1)


# --- source logs -----------------------------------------------------------------------------------------------------


def test_first_files_stand_in_the_source_log():
    found, _ = read_position(checkpoint(v1(pointer(0)), sources_0_0=log(line("a", 0), line("b", 0))), 0)
    assert found.sources["0"] == SourceSpan(None, pointer(0), files=(line("a", 0), line("b", 0)))


def test_later_files_come_after_those_of_the_entry_before():
    files = checkpoint(v1(pointer(0)), v1(pointer(1)), sources_0_0=log(line("a", 0)), sources_0_1=log(line("b", 1)))
    found, _ = read_position(files, 1)
    assert found.sources["0"] == SourceSpan(pointer(0), pointer(1), files=(line("b", 1),), start_files=(line("a", 0),))


def test_batch_can_hold_several_entries_of_the_source_log():
    logs = {f"sources_0_{number}": log(line(f"f{number}", number)) for number in range(4)}
    found, _ = read_position(checkpoint(v1(pointer(0)), v1(pointer(3)), **logs), 1)
    assert found.sources["0"].files == (line("f1", 1), line("f2", 2), line("f3", 3))
    assert found.sources["0"].end_files == (line("f3", 3),)


def test_first_batch_can_hold_several_entries_of_the_source_log():
    files = checkpoint(v1(pointer(1)), sources_0_0=log(line("a", 0)), sources_0_1=log(line("b", 1)))
    assert read_position(files, 0)[0].sources["0"].files == (line("a", 0), line("b", 1))


def test_batch_without_new_files_keeps_those_it_starts_from():
    files = checkpoint(v1(pointer(0)), v1(pointer(0)), sources_0_0=log(line("a", 0)))
    found, _ = read_position(files, 1)
    assert found.sources["0"] == SourceSpan(pointer(0), pointer(0), start_files=(line("a", 0),))


def test_each_source_has_a_log_of_its_own():
    files = checkpoint(v1(pointer(0), kafka(1), pointer(0)), sources_0_0=log(line("a", 0)), sources_2_0=log(line("b", 0)))
    found = read_position(files, 0)[0].sources
    assert [found[source].files for source in "012"] == [(line("a", 0),), (), (line("b", 0),)]


def test_compacted_source_log_gives_each_batch_its_own_files_only():
    compact = log(*(line(f"f{number}", number) for number in range(10)))
    files = FakeFolder({"offsets/8": v1(pointer(8)), "offsets/9": v1(pointer(9)), "sources/0/9.compact": compact})
    found, _ = read_position(files, 9)
    assert found.sources["0"] == SourceSpan(pointer(8), pointer(9), files=(line("f9", 9),), start_files=(line("f8", 8),))


def test_entry_1_is_not_taken_for_entry_11_or_19():
    compact = log(*(line(f"f{number}", number) for number in range(20)))
    files = FakeFolder({"offsets/0": v1(pointer(0)), "offsets/1": v1(pointer(1)), "sources/0/19.compact": compact})
    assert read_position(files, 1)[0].sources["0"].files == (line("f1", 1),)


def test_compaction_does_not_change_a_position():
    plain = {f"sources/0/{number}": log(line(f"f{number}", number)) for number in (8, 9)}
    compact = {"sources/0/9.compact": log(*(line(f"f{number}", number) for number in range(10)))}
    offsets = {"offsets/8": v1(pointer(8)), "offsets/9": v1(pointer(9))}
    before, after = (read_position(FakeFolder(offsets | logs), 9)[0] for logs in (plain, compact))
    assert after == before


def test_entrys_own_file_is_read_where_there_is_a_compact_one_too():
    logs = {"sources/0/0": log(line("own", 0)), "sources/0/9.compact": log(line("compacted", 0))}
    assert read_position(FakeFolder({"offsets/0": v1(pointer(0))} | logs), 0)[0].sources["0"].files == (line("own", 0),)


@pytest.mark.parametrize(("kept", "missing"), [(0, 1), (1, 0)])
def test_missing_entry_of_the_source_log_is_refused_by_name(kept, missing):
    files = FakeFolder({
        "offsets/0": v1(pointer(0)), "offsets/1": v1(pointer(1)), f"sources/0/{kept}": log(line("a", kept))
    })  # fmt: skip
    with pytest.raises(EpochError, match=f"/checkpoint holds neither sources/0/{missing} nor a compact file"):
        read_position(files, 1)


@pytest.mark.parametrize("text", ["", "v1", log(line("a", 0)[:30]), "v9\n" + line("a", 0)])
def test_torn_entry_of_the_source_log_is_refused_by_name(text):
    with pytest.raises(EpochError, match="sources/0/0"):
        read_position(checkpoint(v1(pointer(0)), sources_0_0=text), 0)


def test_compact_file_that_lacks_the_entry_is_refused_by_name():
    files = FakeFolder({"offsets/0": v1(pointer(0)), "sources/0/9.compact": log(line("b", 1))})
    with pytest.raises(EpochError, match="sources/0/0"):
        read_position(files, 0)


# --- the rest --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ['{"id":"d3b0-1"}', '{"id":"d3b0-1"}\n'])
def test_metadata_tells_the_query(text):
    assert query_id(FakeFolder({"metadata": text})) == "d3b0-1"


def test_checkpoint_without_metadata_says_which_path_is_wanted():
    with pytest.raises(EpochError, match=r"/checkpoint.*checkpointLocation"):
        query_id(FakeFolder({}))


@pytest.mark.parametrize("text", ["", "\n", '{"id":', "{}", "[]"])
def test_torn_metadata_is_refused_by_name(text):
    with pytest.raises(EpochError, match=r"metadata.*/checkpoint|/checkpoint.*metadata"):
        query_id(FakeFolder({"metadata": text}))


def test_query_with_a_state_folder_is_stateful():
    assert is_stateful(FakeFolder({"state/0/_metadata/v2/0": ""}))
    assert not is_stateful(FakeFolder({"metadata": "", "stateless": ""}))
