"""The examples of docs/cli.md do what the page says."""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from foreachonce.cli.app import app
from tests.unit.builders import entry, files
from tests.unit.command import checkpoint_after, fill, timed

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()
# A shell's commands, and what they print.
EXAMPLE = re.compile(r"^```sh\n(.*?)^```\n(?:```\n(.*?)^```\n)?", re.DOTALL | re.MULTILINE)
QUERY = "7d9d5a51-4a33-4a7f-8d0c-8a1b2c3d3c1f"


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """A folder with the ledger, the table and the checkpoint that the page speaks of."""
    monkeypatch.chdir(tmp_path)
    entries = timed([
        replace(
            entry(stream="orders", seq=number, batch_id=number, rows=1000, query_id=QUERY),
            position=files(number - 1 if number else None, number, [str(number)], [str(number - 1)] if number else None),
            offset_log=f'v1\n{{}}\n{{"logOffset":{number}}}',
            run_id="run-2" if number == 3 else "run-1",
        )
        for number in range(4)
    ], 0, 10, 20, 25.5)  # fmt: skip
    view = fill(f"sqlite:///{tmp_path}/shop.db", *entries)
    with view.database.writing(view.url) as connection:
        connection.exec_driver_sql("create table orders as with recursive n(i) as "
                                   "(select 1 union all select i + 1 from n where i < 4000) select i from n")  # fmt: skip
    checkpoint_after(tmp_path / "checkpoint", *entries[:2])


def said(commands: str, monkeypatch) -> str:
    """What the commands print, one after the other."""
    texts = []
    for line in commands.splitlines():
        name, *words = shlex.split(line)
        if name == "export":
            monkeypatch.setenv(*words[0].split("=", 1))
        else:
            assert name == "foreachonce"
            texts.append(CliRunner().invoke(app, words).output)
    return "".join(texts)


def pattern(text: str) -> re.Pattern[str]:
    """A text as a pattern: an ellipsis stands for anything, and how wide a gap is does not matter."""
    parts = [r"\s+".join(map(re.escape, part.split())) for part in text.split("…")]
    return re.compile(r"\s*" + r".*?".join(parts) + r"\s*", re.DOTALL)


def test_examples_of_the_page_do_what_it_says(shop, monkeypatch):
    examples = EXAMPLE.findall(PAGE)
    commands = {" ".join(words[1:3]) for example, _ in examples for line in example.splitlines() if (words := line.split())}
    assert {name.split()[0] for name in commands} >= {"ledger", *(each.name or each.callback.__name__
        for each in app.registered_commands)}  # fmt: skip
    for example, expected in examples:
        found = said(example, monkeypatch)
        assert pattern(expected).fullmatch(found), f"{example}\n{found}"
    assert os.path.getsize("orders.html") < 2_000_000
