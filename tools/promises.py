"""Write the second table of docs/guarantees-by-sink.md: each test of the contract, and the sinks that it runs on.

The tests' names are the promises. They are read from the sources, so that a promise that a sink leaves out, or a sink that
no test class joins, shows in the table.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "guarantees-by-sink.md"
BEGIN, END = "<!-- promises -->", "<!-- end -->"
CONTRACTS = [ROOT / "src/foreachonce/testing" / f"{name}.py" for name in ("writing", "contract", "recovery", "ledger")]
# By how the name of a test class begins, in the order of the columns.
SINKS = {
    "TestSqlite": "SQLite",
    "TestPostgres": "PostgreSQL",
    "TestMariaDb": "MariaDB",
    "TestDelta": "Delta",
    "TestKafka": "Kafka",
    "TestGeneric": "other databases",
    "TestFunction": "functions",
    "TestJdbc": "PostgreSQL on Connect",
}


class Class(NamedTuple):
    """A class of the tests: what it derives from, its own tests, and those that it leaves out."""

    bases: tuple[str, ...]
    tests: frozenset[str]
    skipped: frozenset[str]


def classes() -> dict[str, dict[str, Class]]:
    """All classes, by file and by name; the names of a contract are the same everywhere."""
    files = [*CONTRACTS, *sorted((ROOT / "tests/contract").glob("*.py")), *sorted((ROOT / "tests/connect").glob("*.py"))]
    return {file.as_posix(): dict(_classes(ast.parse(file.read_text()))) for file in files}


def _classes(module: ast.Module) -> Iterator[tuple[str, Class]]:
    for node in module.body:
        if isinstance(node, ast.ClassDef):
            tests = [each for each in node.body if isinstance(each, ast.FunctionDef) and each.name.startswith("test_")]
            skipped = frozenset(test.name for test in tests if _is_left_out(test))
            bases = tuple(base.id for base in node.bases if isinstance(base, ast.Name))
            yield node.name, Class(bases, frozenset(test.name for test in tests) - skipped, skipped)


def _is_left_out(test: ast.FunctionDef) -> bool:
    """Whether a class says that a test does not run for it, or that it fails."""
    return "pytest.skip(" in ast.unparse(test.body[0]) or any(
        "mark.xfail" in ast.unparse(each) for each in test.decorator_list
    )


def tests_of(name: str, near: dict[str, Class], everywhere: dict[str, Class]) -> set[str]:
    """What a class runs: its bases' tests and its own, without those that it skips."""
    found = near.get(name) or everywhere.get(name)
    if found is None:
        return set()
    inherited = {test for base in found.bases for test in tests_of(base, near, everywhere)}
    return (inherited | found.tests) - found.skipped


def promises() -> dict[str, set[str]]:
    """By sink, the tests of the contract that run on it.

    Raises:
        LookupError: a class of tests joins the contract, and nothing tells which sink it is about.
    """
    known = classes()
    everywhere = {name: each for file in known.values() for name, each in file.items() if not name.startswith("Test")}
    contract = {test for file in CONTRACTS for each in known[file.as_posix()].values() for test in each.tests}
    run: dict[str, set[str]] = {sink: set() for sink in SINKS.values()}
    for near in known.values():
        for name in near:
            kept = tests_of(name, near, everywhere) & contract
            if name.startswith("Test") and kept:
                run[_sink(name)] |= kept
    return run


def _sink(name: str) -> str:
    """The sink that a class of tests is about."""
    for prefix, sink in SINKS.items():
        if name.startswith(prefix):
            return sink
    raise LookupError(f"{name} joins the contract, and no name in SINKS begins it: add it to SINKS in tools/promises.py")


def table() -> str:
    """One line for each test, in the order of the contract's files."""
    run = promises()
    lines = [f"| promise | {' | '.join(run)} |", f"|---|{':-:|' * len(run)}"]
    for file in CONTRACTS:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                words = node.name.removeprefix("test_").replace("_", " ")
                lines.append(f"| {words} | {' | '.join('yes' if node.name in tests else '' for tests in run.values())} |")
    return "\n".join(lines)


def page() -> str:
    """The page, with the table renewed."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(page())
