"""The blocks of the documentation's pages, and what runs them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from foreachonce.sql.url import parse_url
from foreachonce.testing.stream import open_stream

DOCS = Path(__file__).parents[1] / "docs"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def blocks(page: str, language: str, heading: str = "") -> list[str]:
    """The page's blocks of a language, from a heading on."""
    text = (DOCS / page).read_text()
    return [block for kind, block in BLOCK.findall(text[text.index(heading) :]) if kind == language]


def placed(text: str, places: dict[str, str]) -> str:
    """The text with the pages' addresses replaced by places of the test; of two that begin alike the longer one counts."""
    addresses = sorted(places, key=len, reverse=True)
    return re.sub("|".join(map(re.escape, addresses)), lambda found: places[found.group()], text)


def run_block(block: str, names: dict[str, Any]) -> None:
    """Run a block of Python, and the query that it starts until all is written."""
    exec(block, names)
    query = names.pop("query", None)
    if query is not None:
        try:
            query.processAllAvailable()
        finally:
            query.stop()


class Page:
    """Runs a page's blocks: its addresses are places of the test, and names stay from one block to the next."""

    def __init__(self, page: str, stream, url: str, places: dict[str, str]) -> None:
        self.python_blocks, self.sh_blocks, self.sql_blocks = (blocks(page, kind) for kind in ("python", "sh", "sql"))
        self.url, self._places = url, places
        self.names: dict[str, Any] = {"spark": stream.spark, "events": open_stream(stream.spark, stream.source, limit=1)}

    def python(self, number: int) -> None:
        run_block(placed(self.python_blocks[number], self._places), self.names)

    def sh(self, number: int) -> str:
        command = f'foreachonce() {{ {sys.executable} -m foreachonce.cli "$@"; }}\nset -e\n'
        script = ["bash", "-c", command + placed(self.sh_blocks[number], self._places)]
        done = subprocess.run(script, capture_output=True, text=True, check=False, env=os.environ | {"COLUMNS": "200"})
        return done.stdout + done.stderr * (done.returncode != 0)

    def sql(self, number: int) -> list[Any]:
        return self.execute(self.sql_blocks[number].rstrip(";\n"))

    def execute(self, statement: str) -> list[Any]:
        with sa.create_engine(parse_url(self.url), poolclass=sa.NullPool).begin() as connection:
            result = connection.execute(sa.text(statement))
            return [tuple(row) for row in result] if result.returns_rows else []

    def ids(self) -> list[int]:
        return [number for (number,) in self.execute("select id from orders order by id")]
