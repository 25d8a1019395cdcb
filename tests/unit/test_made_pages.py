"""Pages that are made from the sources are what the sources say."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


def tool(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["modules", "promises"])
def test_page_is_what_its_tool_makes(name):
    made = tool(name)
    assert made.PAGE.read_text() == made.page(), f"run: python tools/{name}.py"


def test_each_sink_keeps_each_promise_of_a_write():
    promises = tool("promises").promises()
    for sink in ("SQLite", "PostgreSQL", "MariaDB", "Delta", "Kafka"):
        assert {
            "test_error_at_any_step_writes_once",
            "test_lost_reply_to_a_commit_is_settled_by_the_ledger",
            "test_every_damage_is_mended_and_every_row_there_once",
        } <= promises[sink]


def test_class_of_an_unknown_sink_is_no_silent_gap():
    made = tool("promises")
    del made.SINKS["TestDelta"]
    with pytest.raises(LookupError, match=r"TestDelta.* add it to SINKS"):
        made.promises()


def test_index_lists_every_decision():
    pages = {page.name for page in ROOT.glob("docs/decisions/0*.md")}
    index = (ROOT / "docs/decisions/index.md").read_text()
    assert {name for name in pages if f"({name})" not in index} == set()


def test_every_page_is_in_the_sites_menu():
    docs = ROOT / "docs"
    menu = set(re.findall(r"^ +- (?:.*: )?(\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE))
    pages = {str(page.relative_to(docs)) for page in docs.rglob("*.md") if not page.match("decisions/0*.md")}
    assert pages == menu


def test_links_from_the_site_to_the_repository_lead_somewhere():
    """A page of the site links to files outside of docs/ by the repository's address."""
    (repository,) = re.findall(r"^repo_url: (.*)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    for page in ROOT.glob("docs/**/*.md"):
        for kind, path in re.findall(rf"{re.escape(repository)}/(blob|tree)/main/([^)#\s]+)", page.read_text()):
            place = ROOT / path
            assert place.is_dir() if kind == "tree" else place.is_file(), f"{page.name}: {path}"


BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_blocks_of_python_are_python_and_import_what_is_there(page):
    """Those of README, tutorial, how-tos and operations also run: tests/acceptance and tests/contract/test_operations.py."""
    for block in BLOCK.findall(page.read_text()):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("foreachonce"):
                module = importlib.import_module(node.module)
                assert [name.name for name in node.names if not hasattr(module, name.name)] == []
