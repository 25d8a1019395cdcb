"""``foreachonce doctor`` and ``restore``: what they find, what they mend, and the command that one gives for the other."""

from __future__ import annotations

import shlex
from dataclasses import replace

import pytest

from foreachonce import SqlLedger
from foreachonce.sql import statements
from tests.unit.builders import chain, entry, files, kafka, of_files
from tests.unit.command import checkpoint_after, files_of, fill, run, told

CHAIN = chain(100, 200, 300)


@pytest.fixture
def ledger(sqlite_url) -> SqlLedger:
    return fill(sqlite_url, *CHAIN)


@pytest.fixture
def doctor(ledger, sqlite_url, tmp_path):
    """Ask about the checkpoint of the test."""
    return lambda *more, code=0: told(
        "doctor", "s", "--ledger", sqlite_url, "--checkpoint", tmp_path / "check point", *more, code=code
    )


@pytest.fixture
def checkpoint(tmp_path):
    return tmp_path / "check point"


def carried_out(command: str) -> str:
    """What a command that was printed says when it is pasted into a shell."""
    name, *words = shlex.split(command)
    assert name == "foreachonce"
    return run(*words)


def test_checkpoint_that_agrees_is_said_to(doctor, checkpoint, sqlite_url):
    checkpoint_after(checkpoint, *CHAIN)
    found = doctor()
    assert (found["kind"], found["agrees"], found["command"], found["lost"]) == ("agrees", True, None, [])
    assert "checkpoint and ledger agree" in run("doctor", "s", "--ledger", sqlite_url, "--checkpoint", checkpoint)


@pytest.mark.parametrize(("left", "named"), [
    ((), "If it is new, start its query"),
    (CHAIN, "The newest batch of 's' is of this checkpoint's query"),
    (chain(100, 200, query_id="query-2"), "holds finished batches, the newest 1"),
])  # fmt: skip
def test_stream_that_the_ledger_does_not_know_is_somebodys_decision(ledger, checkpoint, sqlite_url, left, named):
    before = files_of(checkpoint_after(checkpoint, *left)) if left else {}
    asked = ("S", "--ledger", sqlite_url, "--checkpoint", checkpoint)
    found = told("doctor", *asked, code=2)
    assert (found["kind"], found["agrees"], found["command"]) == ("new", None, None)
    assert "it has 's'" in found["text"]
    assert named in found["text"]
    for more in ((), ("--dry-run",)):
        assert named in run("restore", *asked, *more, code=2)
    (checkpoint / "metadata").unlink(missing_ok=True)
    assert "it has 's'" in run("restore", *asked, code=2)
    assert files_of(checkpoint).items() <= before.items()


def test_old_jobs_unfinished_batch_is_not_started_without_a_warning(ledger, checkpoint, sqlite_url):
    checkpoint_after(checkpoint, *chain(100, 200, query_id="query-2"))
    asked = ("doctor", "S", "--ledger", sqlite_url, "--checkpoint", checkpoint)
    assert "start it, and the ledger begins with its next batch" in run(*asked, code=2)
    (checkpoint / "commits" / "1").rename(checkpoint / "commits" / "0")
    said = run(*asked, code=2)
    assert "batch 1 was started and is not finished" in said
    assert "docs/operations/adopt-a-running-job.md" in said


def test_path_that_is_no_checkpoints_is_left_alone(ledger, sqlite_url, tmp_path):
    asked = ("restore", "s", "--ledger", sqlite_url, "--checkpoint")
    (tmp_path / "lake").mkdir()
    (tmp_path / "lake" / "keep.txt").write_text("")
    for place in (tmp_path / "lake", tmp_path / "lake" / "keep.txt"):
        assert "is not a checkpoint" in run(*asked, place, code=2)
    assert "--checkpoint is empty" in run(*asked, "", code=2)
    assert files_of(tmp_path / "lake") == {"keep.txt": ""}


@pytest.mark.parametrize(("kind", "left"), [
    ("missing", None), ("behind", CHAIN[:2]), ("ahead", chain(100, 200, 300, 400, 500)),
])  # fmt: skip
def test_command_of_the_doctor_mends_what_it_found(ledger, doctor, checkpoint, kind, left):
    if left is not None:
        checkpoint_after(checkpoint, *left)
    found = doctor(code=1)
    assert (found["kind"], found["agrees"]) == (kind, False)
    assert found["text"].splitlines()[-1] == found["command"]
    assert carried_out(found["command"]).splitlines()[-1].startswith("Done.")
    assert files_of(checkpoint)["offsets/2"] == CHAIN[-1].offset_log
    assert doctor()["kind"] == "agrees"
    head = ledger.head("s")
    assert (head.is_repair, head.sink) == (True, f"sqlite:///{ledger.url.database}, by the command foreachonce")


def test_old_checkpoint_is_moved_aside_and_its_place_is_told(ledger, checkpoint, sqlite_url):
    before = files_of(checkpoint_after(checkpoint, *CHAIN[:2]))
    done = told("restore", "s", "--ledger", sqlite_url, "--checkpoint", f"file://{checkpoint}")
    assert (done["done"], done["kind"]) == (True, "behind")
    (aside,) = checkpoint.parent.glob("check point.aside-*")
    assert (done["aside"], files_of(aside)) == (str(aside), before)


def test_dry_run_changes_nothing(ledger, checkpoint, sqlite_url):
    before = files_of(checkpoint_after(checkpoint, *CHAIN[:2]))
    done = run("restore", "s", "--ledger", sqlite_url, "--checkpoint", checkpoint, "--dry-run", code=1)
    assert "put it forward to the ledger" in done
    assert done.splitlines()[-1] == "A dry run: nothing was changed."
    assert (files_of(checkpoint), ledger.head("s").seq) == (before, 2)


def test_checkpoint_that_agrees_is_left_alone(ledger, checkpoint, sqlite_url):
    checkpoint_after(checkpoint, *CHAIN)
    said = run("restore", "s", "--ledger", sqlite_url, "--checkpoint", checkpoint)
    assert said.splitlines()[-1] == "Nothing to repair."
    assert ledger.head("s").seq == 2


def test_foreign_checkpoint_cannot_be_told(doctor, checkpoint, sqlite_url):
    checkpoint_after(checkpoint, *chain(100, 200, query_id="query-2"))
    found = doctor(code=2)
    assert (found["kind"], found["agrees"], found["command"]) == ("Mismatch", None, None)
    assert "another query's" in found["text"]
    assert "another query's" in run("restore", "s", "--ledger", sqlite_url, "--checkpoint", checkpoint, code=2)


def test_state_that_is_lost_is_somebodys_decision(sqlite_url, checkpoint):
    fill(sqlite_url, *(replace(each, is_stateful=True) for each in CHAIN))
    asked = ("--ledger", sqlite_url, "--checkpoint", checkpoint)
    found = told("doctor", "s", *asked, code=2)
    assert (found["kind"], found["agrees"]) == ("StateLost", None)
    assert found["command"].endswith("--accept-state-loss")
    refused = run("restore", "s", *asked, code=2)
    assert found["command"] in refused
    assert not checkpoint.exists()
    carried_out(found["command"])
    assert told("doctor", "s", *asked)["kind"] == "agrees"


INTERVAL = "--conf", "spark.sql.streaming.fileSource.log.compactInterval=3"


def test_log_of_files_goes_with_the_interval_that_the_query_has(sqlite_url, checkpoint):
    """Spark looks for compact files by its setting; the query would not start."""
    fill(sqlite_url, *(of_files(number) for number in range(5)))
    asked = ("--ledger", sqlite_url, "--checkpoint", checkpoint)
    run("restore", "s", *asked, *INTERVAL)
    assert [path.name for path in sorted((checkpoint / "sources" / "0").iterdir())] == ["2.compact", "3", "4"]
    assert told("doctor", "s", *asked, *INTERVAL)["kind"] == "agrees"


@pytest.mark.parametrize("value", ["0", "-1", "ten", ""])
def test_interval_that_is_none_is_refused(ledger, sqlite_url, checkpoint, value):
    words = ("--ledger", sqlite_url, "--checkpoint", checkpoint, "--conf", f"{INTERVAL[1][:-1]}{value}")
    assert "whole number from 1 on" in run("doctor", "s", *words, code=2)


def test_files_that_are_gone_are_named(sqlite_url, checkpoint, tmp_path):
    there = entry(position=files(None, 0, ["a"]), offset_log='v1\n{}\n{"logOffset":0}')
    fill(sqlite_url, there)
    nowhere = files(0, 1, ["b"], ["a"])
    checkpoint_after(checkpoint, there, entry(position=nowhere, offset_log='v1\n{}\n{"logOffset":1}', batch_id=1, seq=1))
    asked = ("--ledger", sqlite_url, "--checkpoint", checkpoint)
    found = told("doctor", "s", *asked, code=2)
    assert (found["kind"], found["agrees"], found["lost"]) == ("Expired", None, ["source 0: the file file:///in/b"])
    assert "file:///in/b" in run("restore", "s", *asked, code=2)
    planned = checkpoint / "commits" / "1"
    done = planned.read_text()
    planned.unlink()
    assert told("doctor", "s", *asked, code=2)["command"] is None  # no repair brings the file of a batch back that is next
    planned.write_text(done)
    carried_out(found["command"])
    assert told("doctor", "s", *asked)["kind"] == "agrees"


def test_call_of_a_function_that_was_begun_keeps_its_place(ledger, sqlite_url, checkpoint):
    begun = entry(300, 400, seq=3, batch_id=3)
    with ledger.database.writing(ledger.url) as connection:
        statements.append_intent(connection, None, begun, 0)
    assert ledger.unfinished("s").batch_id == 3
    run("restore", "s", "--ledger", sqlite_url, "--checkpoint", checkpoint)
    assert files_of(checkpoint)["offsets/3"] == begun.offset_log
    assert ledger.head("s").seq == 2  # the place of the batch that was begun
    said = run("doctor", "s", "--ledger", sqlite_url, "--checkpoint", checkpoint, code=2)
    assert said.startswith("The checkpoint needs no repair, but the query does not start: a call is in doubt.")
    assert "Batch 3 is in doubt: its call was started at " in said
    assert begun.epoch.idempotency_key in said
    said = run("restore", "s", "--ledger", sqlite_url, "--checkpoint", checkpoint, "--dry-run", code=2)
    assert "Batch 3 is in doubt" in said


def test_call_that_was_confirmed_is_not_begun(ledger):
    with ledger.database.writing(ledger.url) as connection:
        statements.append_intent(connection, None, CHAIN[2], 0)
    assert ledger.unfinished("s") is None


def test_relative_path_becomes_a_whole_one_in_the_command(ledger, sqlite_url, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = told("doctor", "s", "--ledger", sqlite_url, "--checkpoint", "some/where", code=1)
    assert str(tmp_path / "some" / "where") in shlex.split(found["command"])


def test_address_of_the_environment_stays_there(ledger, sqlite_url, checkpoint, monkeypatch):
    monkeypatch.setenv("FOREACHONCE_LEDGER", sqlite_url)
    found = told("doctor", "s", "--checkpoint", checkpoint, code=1)
    assert shlex.split(found["command"]) == ["foreachonce", "restore", "s", "--checkpoint", str(checkpoint)]
    carried_out(found["command"])


def test_offsets_that_kafka_no_longer_holds_are_reported(ledger, sqlite_url, checkpoint, monkeypatch):
    asked = []

    def earliest(entries, settings):
        asked.append((settings, [each.position.sources["0"].end for each in entries]))
        return {"events": {0: 350}}

    monkeypatch.setattr("foreachonce.kafka.source.earliest", earliest)
    monkeypatch.setenv("SECRET", "hush")
    kafka_words = ("--kafka", "broker:9092", "--client", "sasl.password=env:SECRET")
    words = ("--ledger", sqlite_url, "--checkpoint", checkpoint, *kafka_words)
    found = told("doctor", "s", *words, code=2)
    assert asked == [({"bootstrap_servers": "broker:9092", "sasl_password": "hush"}, [kafka(300)])]
    assert found["lost"] == ["source 0: topic events, partition 0, offsets 300 to 349 (50 records)"]
    assert shlex.split(found["command"])[-5:] == [
        "--kafka", "broker:9092", "--client", "sasl.password=env:SECRET", "--accept-data-loss"
    ]  # fmt: skip
    assert "50 records" in run("restore", "s", *words, code=2)
    carried_out(found["command"])
