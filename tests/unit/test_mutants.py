"""The list of mutants is alive: each edit still has its place, and each test its name."""

from __future__ import annotations

import pytest

from tests.mutants import MUTANTS, ROOT

PROMISES = "".join(
    (ROOT / "src/foreachonce/testing" / name).read_text()
    for name in ("contract.py", "ledger.py", "recovery.py", "writing.py")
)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_mutant_has_a_place_and_tests(mutant):
    text = (ROOT / "src" / "foreachonce" / mutant.file).read_text()
    assert text.count(mutant.old) == 1
    for test in mutant.tests:
        path, *names = test.split()[0].split("::")
        known = (ROOT / path).read_text() + PROMISES
        assert all(name in known for name in names), test
