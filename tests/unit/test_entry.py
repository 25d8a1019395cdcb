"""An entry as the fields that every ledger keeps, and a decision as its text."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from importlib.metadata import PackageNotFoundError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreachonce.entry import WRITE, Decision, Entry, Parts, versions
from tests.unit.builders import entry, files

TEXTS = {
    "write": Decision("write"),
    "on_mismatch=write: behind": Decision("on_mismatch", "behind"),
    "in_doubt=rerun": Decision("in_doubt", "rerun"),
    "in_doubt=probe: the effect was there": Decision("in_doubt", "probe: the effect was there"),
    "begun after seq 5 of stream 's'": Decision("begin", "seq 5 of stream 's'"),
    "repair: checkpoint missing, mended to go on after batch 3": Decision(
        "repair", "checkpoint missing, mended to go on after batch 3"
    ),
    "adopted: of a later version": Decision("other", "adopted: of a later version"),
    "": Decision("other", ""),
}


@pytest.mark.parametrize("text", TEXTS)
def test_decision_of_each_kind_is_read_from_its_text_and_written_back(text):
    assert Decision.parse(text) == TEXTS[text]
    assert str(TEXTS[text]) == text


@given(st.text())
def test_any_text_comes_back_as_it_was(text):
    assert str(Decision.parse(text)) == text


@given(st.sampled_from(["on_mismatch", "in_doubt", "begin", "repair"]), st.text())
def test_any_decision_comes_back_as_it_was(kind, note):
    assert Decision.parse(str(Decision(kind, note))) == Decision(kind, note)


@pytest.mark.parametrize("changed", [
    {},
    {"position": files(0, 1, ["b", "c"], ["a"]), "is_stateful": True},
    {"decision": Decision("on_mismatch", "ahead"), "seq": 2**40, "batch_id": -3, "stream": 'é "quoted"\n'},
])  # fmt: skip
def test_entry_comes_back_from_its_fields(changed):
    written = entry(**changed)
    read = Entry.from_fields(json.loads(json.dumps(written.to_fields())), rows=written.rows)
    assert read == written


def test_entry_of_the_first_version_keeps_no_state():
    old = entry(is_stateful=True).to_fields()
    del old["is_stateful"]
    assert not Entry.from_fields(old).is_stateful


def test_every_field_is_kept_but_for_what_reading_derives():
    """A field that is added to the entry must be added to the codec too, or be named here."""
    one = entry(position=files(0, 1, ["b"], ["a"]), is_stateful=True, decision=Decision("repair", "x"))
    derived = {"rows", "parts"}
    for each in {field.name for field in fields(Entry)} - derived:
        kept = getattr(Entry.from_fields(one.to_fields()), each)
        assert kept == getattr(one, each), each
    assert Entry.from_fields(replace(one, parts=Parts(1, 2)).to_fields()).parts is None


def test_missing_transactions_in_words():
    assert str(Parts(1, 2)) == "1 of 2 transactions"
    assert entry().decision == WRITE


def test_versions_of_both_libraries_are_recorded(monkeypatch):
    assert versions().startswith("foreachonce ")
    assert ", pyspark " in versions()

    def nowhere(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("foreachonce.entry.version", nowhere)
    assert versions.__wrapped__().startswith("foreachonce (not installed, sent along), pyspark ")
