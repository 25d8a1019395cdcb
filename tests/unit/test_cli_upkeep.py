"""``foreachonce export`` and ``prune``: entries go out as they are, and old ones go."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from foreachonce.entry import Entry
from tests.unit.builders import chain, entry, files
from tests.unit.command import fill, run, timed, told


def read(line: str):
    fields = json.loads(line)
    return Entry.from_fields(fields, rows=fields["rows"])


@pytest.fixture
def entries(sqlite_url):
    nasty = entry(position=files(None, 0, ["😀 ü"]), offset_log="v1\n\n{}", sink="ключ", rows=None)
    found = timed([nasty, entry(1, 2, seq=1, batch_id=-2, rows=0, decision="repair: …")], 0, 1)
    fill(sqlite_url, *found)
    return found


def test_exported_entries_come_back_as_they_were(entries, sqlite_url, tmp_path):
    assert list(map(read, run("export", "s", "--ledger", sqlite_url).splitlines())) == entries
    file = tmp_path / "audit.jsonl"
    done = told("export", "s", "--ledger", sqlite_url, "--output", file)
    assert done == {"stream": "s", "entries": 2, "output": str(file)}
    assert list(map(read, file.read_text().splitlines())) == entries
    assert list(tmp_path.glob(".audit*")) == []
    assert f"Wrote 2 entries of s to {file}." in run("export", "s", "--ledger", sqlite_url, "--output", file)


def test_export_as_json_is_one_array(entries, sqlite_url):
    assert [Entry.from_fields(each, rows=each["rows"]) for each in told("export", "s", "--ledger", sqlite_url)] == entries


def test_export_that_fails_leaves_the_old_file(entries, sqlite_url, tmp_path):
    file = tmp_path / "none" / "audit.jsonl"
    assert f"not there, {file.parent}" in run("export", "s", "--ledger", sqlite_url, "--output", file, code=2)
    for folder in (tmp_path, ""):
        assert "is a folder" in run("export", "s", "--ledger", sqlite_url, "--output", folder, code=2)


def test_export_goes_through_a_link_and_into_a_device(entries, sqlite_url, tmp_path):
    link, file = tmp_path / "link", tmp_path / "audit.jsonl"
    link.symlink_to(file)
    device = tmp_path / "device"
    device.symlink_to("/dev/null")
    for place in (link, device):
        run("export", "s", "--ledger", sqlite_url, "--output", place)
    assert (link.is_symlink(), len(file.read_text().splitlines())) == (True, 2)
    assert Path("/dev/null").is_char_device()


def test_old_entries_are_pruned(sqlite_url):
    now = datetime.now(timezone.utc)
    entries = chain(*range(1, 151))
    aged = [replace(each, time=now - timedelta(days=150 - each.seq - 0.5)) for each in entries]
    view = fill(sqlite_url, *aged)
    asked = ("prune", "s", "--ledger", sqlite_url)
    assert told(*asked, "--older-than", "140d")["pruned"] == 10
    assert run(*asked, "--older-than", "20w", "--keep", 120).startswith("Deleted 0 entries")
    assert told(*asked, "--keep", 120)["pruned"] == 20
    assert next(view.entries("s")).seq == 30


@pytest.mark.parametrize(("words", "text"), [
    ([], "say what stays: --keep 100 or more, --older-than AGE, or both"),
    (["--keep", 99], "keep=99 must be at least 100"),
    (["--older-than", "90"], "--older-than '90' is not an age; say 90d, 12h, 30m or 4w"),
    (["--older-than", "-1d"], "is not an age"),
])  # fmt: skip
def test_what_cannot_be_pruned_is_refused(sqlite_url, words, text):
    fill(sqlite_url, entry())
    assert text in run("prune", "s", "--ledger", sqlite_url, *words, code=2)


@pytest.mark.parametrize("address", ["delta:/data/orders", "kafka://a:9092"])
def test_only_a_databases_ledger_is_pruned(address):
    assert "only a database's ledger is pruned" in run("prune", "s", "--keep", 100, "--ledger", address, code=2)
