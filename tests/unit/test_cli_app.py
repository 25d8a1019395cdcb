"""How the command begins and ends: what is missing, what an error becomes, and that ``--json`` is nothing but JSON."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from foreachonce.cli.__main__ import main
from foreachonce.cli.app import app
from foreachonce.cli.output import duration, number
from tests.unit.builders import chain
from tests.unit.command import checkpoint_after, fill, run

CHAIN = chain(1, 2, 3)


@pytest.fixture
def called(monkeypatch, capsys):
    """Run the command as its script does; return its exit code and what it said on stderr."""

    def called(*words: str) -> tuple[object, str]:
        monkeypatch.setattr(sys, "argv", ["foreachonce", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code, capsys.readouterr().err

    return called


@pytest.mark.parametrize("package", ["typer", "rich"])
def test_missing_package_says_what_to_install(called, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    code, said = called("--help")
    assert (code, "pip install 'foreachonce[cli]'" in said) == (2, True)


def test_error_of_the_command_itself_says_neither_yes_nor_no(called, monkeypatch, sqlite_url):
    monkeypatch.setattr("foreachonce.cli.ledger.require_stream", lambda *_: 1 / 0)
    fill(sqlite_url, *CHAIN)
    code, said = called("ledger", "show", "s", "--ledger", sqlite_url)
    assert (code, "ZeroDivisionError" in said) == (3, True)


def test_script_is_installed():
    done = subprocess.run([sys.executable, "-c", "from foreachonce.cli.__main__ import main; main()", "--version"],
                          capture_output=True, text=True, timeout=120)  # fmt: skip
    assert (done.returncode, done.stdout.split()[0]) == (0, "foreachonce")


def test_help_loads_no_kafka_client_and_starts_no_spark():
    code = """
import sys
from pyspark import SparkContext
from foreachonce.cli.__main__ import main
sys.argv = ["foreachonce", "ledger", "--help"]
try:
    main()
except SystemExit as ended:
    assert ended.code == 0, ended.code
assert not {"confluent_kafka", "psycopg", "pymysql"} & sys.modules.keys()
assert SparkContext._gateway is None
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (done.returncode, "show" in done.stdout) == (0, True), done.stderr


@pytest.mark.parametrize("words", [["doctor"], ["nonsense"], ["verify", "s"], ["ledger", "show", "s", "--last", "0"]])
def test_bad_usage_ends_with_2(called, words, monkeypatch):
    monkeypatch.delenv("FOREACHONCE_LEDGER", raising=False)
    code, said = called(*words)
    assert (code, "Usage: foreachonce" in said) == (2, True)


@pytest.mark.parametrize("words", [
    ["ledger", "list"], ["ledger", "show", "s"], ["doctor", "s", "--checkpoint", "C"], ["restore", "s", "--checkpoint", "C"],
    ["verify", "s"], ["report", "s", "--html", "H"], ["export", "s"], ["prune", "s", "--keep", "100"], ["init"],
], ids=lambda words: words[0])  # fmt: skip
def test_json_is_one_value_and_an_error_is_none(words, sqlite_url, tmp_path):
    checkpoint_after(tmp_path / "C", *CHAIN)
    fill(sqlite_url, *CHAIN)
    given = [str(tmp_path / word) if word in ("C", "H") else word for word in words]
    runner = CliRunner()
    done = runner.invoke(app, [*given, "--ledger", sqlite_url, "--json"])
    assert (done.exit_code, done.stderr) == (0, "")
    assert isinstance(json.loads(done.stdout), dict | list)
    failed = runner.invoke(app, [*given, "--ledger", "nonsense", "--json"])
    assert (failed.exit_code, failed.stdout, len(failed.stderr.splitlines())) == (2, "", 1)


def test_address_may_stand_in_the_environment(sqlite_url):
    fill(sqlite_url, *CHAIN)
    assert "s" in run("ledger", "list", FOREACHONCE_LEDGER=sqlite_url)


def test_error_of_the_file_system_is_a_line(sqlite_url, tmp_path):
    fill(sqlite_url, *CHAIN)
    said = run("report", "s", "--ledger", sqlite_url, "--html", tmp_path / "no" / "page.html", code=2)
    assert (len(said.splitlines()), "No such file or directory" in said) == (1, True)


@pytest.mark.parametrize(("seconds", "text"), [
    (None, "-"), (0.004, "0.00 s"), (9.99, "9.99 s"), (12.34, "12.3 s"), (200, "3 min 20 s"), (18_720, "5 h 12 min"),
    (273_600, "3 d 4 h"), (0, "0.00 s"),
])  # fmt: skip
def test_durations_have_two_units(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(("value", "text"), [
    (None, "-"), (0, "0"), (1234567, "1,234,567"), (12.34, "12.3"), (1234.5, "1,234"),
])  # fmt: skip
def test_numbers_have_separators(value, text):
    assert number(value) == text
