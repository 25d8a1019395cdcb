"""The blocks of docs/howto run as written."""

from __future__ import annotations

import subprocess
import sys

from foreachonce import KafkaSink, observe
from foreachonce.testing.driver import environment
from tests.pages import Page, blocks


def test_tuned_streams_run(stream, postgres_url, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(observe, "_observers", ())
    places = {"postgresql://app@db/shop": postgres_url, "/data/in": str(stream.source), "/data": str(tmp_path)}
    page = Page("howto/tune.md", stream, postgres_url, {**places, "/checkpoints": str(tmp_path / "checkpoints")})
    show, files, clicks, staged, merged, kafka, sqlite = range(7)
    assert "maxOffsetsPerTrigger" in page.python_blocks[clicks]  # needs a broker
    stream.feed([1], [2])
    for block in (show, files, staged):
        page.python(block)
    assert "many tasks, by a stage" in capsys.readouterr().out
    page.sql(0)
    for block in (merged, kafka, sqlite):
        page.python(block)
    assert page.ids() == [1, 2]
    assert int(page.sql(1)[0][0]) > 0
    assert isinstance(page.names["shipped"], KafkaSink)


def test_test_files_run_as_pasted(postgres_server, tmp_path):
    for name, text in zip(("job", "test_job", "test_sink"), blocks("howto/test-your-job.md", "python"), strict=True):
        (tmp_path / f"{name}.py").write_text(text)
    variables = environment(tmp_path) | {"TEST_SERVER": postgres_server}
    for words in (["test_job.py"], ["test_sink.py", "-k", "committed or says_what"]):
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *words]
        done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-5000:]
        assert "skipped" not in done.stdout


def test_pipeline_is_verified(stream, sqlite_url):
    page = Page("howto/test-your-job.md", stream, sqlite_url, {"sqlite:///shop.db": sqlite_url})
    page.python(0)
    (stream.source / "1.json").write_text('{"order_id": 1, "amount": 9.5}')
    page.names["run"](stream.spark, stream.source, stream.checkpoint, sqlite_url)
    assert "Rows: 1 by the entries, 1 in the table" in page.sh(0)
