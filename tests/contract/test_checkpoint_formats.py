"""Checkpoints that Spark 2.1 to 4.2 have written are read, and written back byte for byte; so are those of this Spark."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import pytest

from foreachonce.checkpoint import (
    CommitLog,
    OffsetLog,
    by_entry,
    is_stateful,
    metadata_text,
    query_id,
    read_end,
    read_position,
    source_log_files,
    source_log_lines,
)
from foreachonce.checkpoint.local import LocalCheckpoint
from foreachonce.errors import EpochError
from foreachonce.position import SourceSpan
from foreachonce.recovery.diagnosis import diagnose, missing_records
from foreachonce.recovery.goal import Goal
from foreachonce.recovery.past import KeptState, kept_state, past_of
from foreachonce.recovery.rebuild import offsets_before, rebuild
from tests.servers.checkpoints import spark_checkpoints
from tests.unit.builders import FakeFolder, entry

# A file that ends with a newline, which no Spark writes: somebody's editor has. It is read, and not written back.
EDITED = {
    "checkpoint-version-4.0.0-tws-avro/offsets/0",
    "checkpoint-version-4.0.0-tws-avro/offsets/1",
    "checkpoint-version-4.0.0-tws-unsaferow/offsets/0",
    "checkpoint-version-4.0.0-tws-unsaferow/offsets/1",
    "offset-log-version-2.1.0/0",
    *(f"offset-map/{number}" for number in range(4)),
    "file-source-log-version-2.1.0/2.compact",
    "file-source-log-version-2.1.0/3",
    "file-source-log-version-2.1.0/4",
}


@pytest.fixture(scope="module")
def files() -> Mapping[str, bytes]:
    return spark_checkpoints()


@pytest.fixture(scope="module")
def checkpoints(files) -> Mapping[str, FakeFolder]:
    """Every whole checkpoint, by its path; without the files of its state, which are no text."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    roots = sorted({path.partition("/offsets/")[0] for path in files if "/offsets/" in path and "/state/" not in path})
    for path, content in files.items():
        root = next((each for each in roots if path.startswith(f"{each}/")), None)
        if root is not None and not path.endswith(".crc"):
            is_text = "/state/" not in path
            found[root][path.removeprefix(f"{root}/")] = content.decode() if is_text else ""
    return {root: FakeFolder(texts, root=f"/{root}") for root, texts in found.items()}


def some(files, pattern) -> dict[str, str]:
    """The texts of the files whose whole path a pattern matches, outside of state."""
    return {path: content.decode() for path, content in files.items()
            if re.fullmatch(pattern, path) and "/state/" not in path}  # fmt: skip


def differing(texts, written) -> set[str]:
    """The files that are not written back as they are; what is known of them is checked."""
    found = {path for path, text in texts.items() if written(text) != text}
    assert all(written(texts[path]) + "\n" == texts[path] for path in found)
    return found


def test_every_offset_log_is_written_back(files):
    texts = some(files, r".*/offsets/\d+|offset-map/\d+|offset-log-version-2.1.0/\d+")
    assert len(texts) >= 108
    assert {text.split("\n")[0] for text in texts.values()} == {"v1", "v2"}
    assert differing(texts, lambda text: OffsetLog.parse(text).text()) == EDITED & texts.keys()
    assert len(EDITED & texts.keys()) == 9


def test_every_commit_log_is_written_back(files):
    texts = some(files, r".*/commits/\d+|testCommitLog.*/testCommitLog")
    assert len(texts) >= 103
    assert {text.split("\n")[0] for text in texts.values()} == {"v1", "v2"}
    assert differing(texts, lambda text: CommitLog.parse(text).text()) == set()


def test_every_metadata_is_written_back(files):
    texts = some(files, r".*/metadata")
    assert len(texts) >= 40
    assert differing(texts, lambda text: metadata_text(json.loads(text)["id"])) == set()


def test_source_log_of_spark_2_1_is_written_back(files):
    texts = some(files, r"file-source-log-version-2.1.0/.*")
    log = {number: lines for text in texts.values() for number, lines in by_entry(source_log_lines(text)).items()}
    anew = {f"file-source-log-version-2.1.0/{name}": text for name, text in source_log_files(log, 3).items()}
    assert (
        differing(texts, lambda text: next(each for path, each in anew.items() if texts[path] == text))
        == EDITED & texts.keys()
    )
    assert len(texts) == 3


def test_offsets_of_files_and_of_kafka_are_told_apart(files):
    (text,) = some(files, r"offset-log-version-2.1.0/0").values()
    files_before = {"sources/0/345": 'v1\n{"path":"file:///a","timestamp":1,"batchId":345}'}
    folder = FakeFolder({"offsets/1": text, "offsets/0": text} | files_before)
    spans = read_position(folder, 1)[0].sources
    assert spans["0"].start_files == ('{"path":"file:///a","timestamp":1,"batchId":345}',)
    assert spans["1"] == SourceSpan('{"topic-0":{"0":1}}', '{"topic-0":{"0":1}}')
    with pytest.raises(EpochError, match="neither sources/0/345 nor a compact file"):
        read_position(FakeFolder({"offsets/0": text, "offsets/1": text}), 1)


@pytest.mark.parametrize(("name", "why"), [
    ("file-sink-log-version-2.1.0/8", "none of a file source"), ("testCommitLogV1/testCommitLog", "none of a file source"),
    ("testCommitLogV2/testCommitLog", "version 'v2'"),
])  # fmt: skip
def test_other_logs_are_no_source_logs(files, name, why):
    (text,) = some(files, name).values()
    with pytest.raises(ValueError, match=why):
        by_entry(source_log_lines(text))


# --- whole checkpoints -----------------------------------------------------------------------------------------------


def test_position_of_every_batch_is_read(checkpoints):
    """But for one batch, before which Spark's test has made a gap."""
    read, refused = 0, {}
    for root, folder in checkpoints.items():
        for batch_id in map(int, folder.names("offsets")):
            try:
                position, text = read_position(folder, batch_id)
            except EpochError as error:
                refused[f"{root}/offsets/{batch_id}"] = str(error)
                continue
            assert text == folder.text(f"offsets/{batch_id}")
            assert read_end(folder, batch_id).follows(position) == "equal"
            read += 1
    assert read >= 101
    (why,) = refused.values()
    assert refused.keys() == {"checkpoint-test-offsetId-commitId-inconsistent/offsets/4"}
    assert "holds no offsets/3" in why


def test_every_checkpoint_names_its_query_and_tells_its_state(checkpoints):
    assert len(checkpoints) >= 39
    assert all(
        re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", query_id(folder)) for folder in checkpoints.values()
    )
    assert sum(map(is_stateful, checkpoints.values())) >= 37


def entered(folder):
    """The ledger of a checkpoint whose batches have all been entered."""
    for number, batch_id in enumerate(sorted(map(int, folder.names("offsets")))):
        position, text = read_position(folder, batch_id)
        made = {"query_id": query_id(folder), "is_stateful": is_stateful(folder)}
        yield entry(position=position, offset_log=text, seq=number, batch_id=batch_id, **made)


def test_every_checkpoint_agrees_with_its_own_ledger_and_is_written_anew_from_it(checkpoints):
    written = 0
    for root, folder in checkpoints.items():
        if root == "checkpoint-test-offsetId-commitId-inconsistent":
            continue
        chain = list(entered(folder))
        goal = Goal(chain[-1].query_id, chain[-1])
        # Spark 2.1 wrote no commits.
        assert diagnose(folder, goal).kind == ("agrees" if folder.exists("commits") else "damaged"), root
        past = past_of(goal, chain, folder)
        rebuilt = rebuild(goal, past, state=kept_state(goal, past))
        assert {path: folder.text(path) for path in rebuilt.texts} == rebuilt.texts, root
        assert f"offsets/{goal.batch_id}" in rebuilt.texts
        written += len(rebuilt.texts)
        if goal.batch_id > 0:
            assert OffsetLog.parse(offsets_before(chain[-1])).offsets == OffsetLog.parse(chain[-2].offset_log).offsets
    assert written >= 140


def test_state_of_every_version_follows(checkpoints):
    """Where the newest batch is committed the state after it is there, under whatever names Spark has given it."""
    found = 0
    for root, folder in checkpoints.items():
        chain = list(entered(folder)) if "inconsistent" not in root else []
        if chain and folder.exists(f"commits/{chain[-1].batch_id}") and is_stateful(folder):
            goal = Goal(chain[-1].query_id, chain[-1])
            assert kept_state(goal, past_of(goal, chain, folder)) == KeptState(goal.batch_id + 1, runs_again=False), root
            found += 1
    assert found >= 30


def test_kafkas_source_and_what_it_remembers(checkpoints):
    folder = checkpoints["checkpoint-version-2.4.3-kafka-include-headers-default"]
    (last,) = entered(folder)
    goal = Goal(last.query_id, last)
    topic, partitions = next(iter(json.loads(last.position.sources["0"].end).items()))
    lost = list(missing_records(goal, {topic: {int(number): place + 2 for number, place in partitions.items()}}))
    assert [(each.first, each.last) for each in lost] == [(place, place + 1) for _, place in sorted(partitions.items())]
    assert rebuild(goal, past_of(goal, [last], folder)).kept == ("sources/0",)
    assert folder.text("sources/0/0").startswith("\0v1\n{")


def test_checksums_of_every_version_are_understood(files, tmp_path):
    """All fit but those of the files that were edited."""
    local = LocalCheckpoint(str(tmp_path))
    for path, content in files.items():
        place = tmp_path / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    checked = [path for path in local.walk("") if (tmp_path / path).with_name(f".{Path(path).name}.crc").exists()]
    assert len(checked) >= 500
    assert {path for path in checked if not fits(local, path)} == {path for path in EDITED if path.startswith("checkpoint")}


def fits(folder, path) -> bool:
    try:
        folder.copy(path, folder.beside(".copies").root)
    except EpochError:
        return False
    return True
