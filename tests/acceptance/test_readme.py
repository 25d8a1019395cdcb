"""What the README says runs as pasted, and leads where it says; so do its links and those of the pages."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from pyspark.sql import SparkSession

from foreachonce import JdbcSink, exactly_once
from foreachonce.sql.url import parse_url
from foreachonce.testing.driver import environment
from tests.pages import BLOCK

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
LINK = re.compile(r"\]\((?!https?:)([^)#\s]+)(?:#[^)]*)?\)")
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def test_job_runs_as_pasted_and_outlives_its_checkpoint(jdbc_driver: None, tmp_path: Path):
    (tmp_path / "job.py").write_text(next(text for kind, text in BLOCK.findall(README) if kind == "python"))
    shell = [line for kind, text in BLOCK.findall(README) if kind == "sh" for line in text.splitlines()]
    wanted = [line for line in shell if line.startswith(("mkdir in", "python job.py", "rm -r checkpoint"))]
    assert len(wanted) == 3
    script = "\n".join([f'python() {{ {sys.executable} "$@"; }}', "set -e", *wanted])
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told = [line for line in done.stdout.splitlines() if line.startswith(("rows:", "entry"))]
    assert told == [
        "entry 0: batch 0, 1 rows, write",
        "rows: 1",
        "entry 0: batch 0, 1 rows, write",
        "entry 1: batch -1, 0 rows, repair: checkpoint missing, mended to go on after batch 0",
        "rows: 1",
    ]
    with sa.create_engine(f"sqlite:///{tmp_path}/shop.db", poolclass=sa.NullPool).connect() as connection:
        assert connection.execute(sa.text("select * from orders")).all() == [(1, 9.5)]


def test_what_you_get_is_what_you_get(spark: SparkSession, postgres_url: str, tmp_path: Path):
    block = next(text for kind, text in BLOCK.findall(README) if kind == "python" and "statuses(df)" in text)
    sent: list[tuple[int, str]] = []
    names = {
        "url": postgres_url,
        "JdbcSink": JdbcSink,
        "exactly_once": exactly_once,
        "statuses": lambda df: df.select("order_id", "changed_at"),
        "send": lambda rows, key: sent.extend((row.order_id, key) for row in rows),
    }
    exec(block, names)
    (tmp_path / "in").mkdir()
    (tmp_path / "in/1.json").write_text("""{"order_id": 1, "amount": 9.5, "changed_at": 1}
{"order_id": 1, "amount": 0, "changed_at": 2}""")
    events = spark.readStream.schema("order_id long, amount double, changed_at long").json(str(tmp_path / "in"))
    for name in ("paid", "shop", "push"):
        writer = events.writeStream.foreachBatch(names[name]).option("checkpointLocation", str(tmp_path / name))
        writer.trigger(availableNow=True).start().awaitTermination()
    with sa.create_engine(parse_url(postgres_url), poolclass=sa.NullPool).connect() as connection:
        assert connection.execute(sa.text("select count(*) from paid")).scalar() == 1
        assert connection.execute(sa.text("select count(*) from orders")).scalar() == 2
        assert connection.execute(sa.text("select * from order_status")).all() == [(1, 2)]
    assert [order for order, _ in sent] == [1, 1]


def test_readme_is_short():
    assert len(README.splitlines()) <= 135


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path):
    broken = [target for target in LINK.findall(page.read_text()) if not (page.parent / target).exists()]
    assert broken == []
