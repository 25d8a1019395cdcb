"""Who may import whom: the decision knows neither Spark nor a database, and no sink knows another."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

import foreachonce
from foreachonce import _version

ROOT = Path(foreachonce.__file__).parent
PURE = [
    "offsets",
    "position",
    "epoch",
    "entry",
    "decide",
    "doubt",
    "chain",
    "refusal",
    "checkpoint/__init__",
    "checkpoint/folder",
    "checkpoint/formats",
    "checkpoint/local",
    "checkpoint/read",
    "recovery/__init__",
    "recovery/beginnings",
    "recovery/diagnosis",
    "recovery/goal",
    "recovery/lost",
    "recovery/past",
    "recovery/rebuild",
    "recovery/state",
    "recovery/words",
    "cli/proof",
    "cli/rights",
    "cli/settings",
    "cli/spans",
    "cli/timeline",
    "cli/words",
    "cli/page/__init__",
    "cli/page/bins",
    "cli/page/events",
    "cli/page/html",
    "cli/page/markup",
    "cli/page/plots",
    "cli/page/scale",
    "cli/page/story",
    "errors",
    "events",
    "stopwatch",
    "keywords",
    "fields",
    "secrets",
    "naming",
]
DELTA_FILES_AND_TEXTS = ["commit", "guard", "head", "local", "log", "place", "restore", "streams", "table"]
KAFKA_TEXTS = ["record", "history"]
SINKS: list[str] = []
MODULES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.py"))


def imported(path: str) -> set[str]:
    """The dotted names that a module imports, also inside of functions and for type checkers."""
    found = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            found |= {str(node.module)} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def packages(path: str) -> set[str]:
    return {name.partition(".")[0] for name in imported(path)}


@pytest.mark.parametrize("module", PURE)
def test_pure_module_imports_the_standard_library_only(module):
    assert packages(f"{module}.py") - {"foreachonce"} <= sys.stdlib_module_names


@pytest.mark.parametrize("module", PURE)
def test_pure_module_imports_pure_modules_only(module):
    own = {name.removeprefix("foreachonce.") for name in imported(f"{module}.py") if name.startswith("foreachonce.")}
    pure = {name.removesuffix("/__init__").replace("/", ".") for name in PURE}
    # What is imported is a pure module, or a name in one.
    assert all(name in pure or name.rpartition(".")[0] in pure for name in own)


@pytest.mark.parametrize("sink", SINKS)
def test_no_sink_imports_another(sink):
    others = {f"foreachonce.sinks.{other}" for other in SINKS if other != sink} | {"foreachonce.sinks"}
    assert not others & imported(f"{sink}.py")


def test_there_are_sinks_to_look_at():
    assert "jdbc" in SINKS


@pytest.mark.parametrize("module", [name for name in MODULES if not name.startswith("testing/")])
def test_nothing_imports_the_tests_tools(module):
    assert not any(name.startswith("foreachonce.testing") for name in imported(module))
    assert not {"pytest", "hypothesis", "psutil"} & packages(module)


@pytest.mark.parametrize("module", [name for name in MODULES if not name.startswith("cli/")])
def test_nothing_imports_the_command(module):
    assert not any(name.startswith("foreachonce.cli") for name in imported(module))
    assert not {"typer", "rich"} & packages(module)


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith(("sql/", "spark/"))])
def test_what_sinks_are_made_of_knows_neither_sinks_nor_runner(module):
    assert not any(name.startswith(("foreachonce.sinks", "foreachonce.runner")) for name in imported(module))


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith("delta/")])
def test_delta_knows_neither_databases_nor_sinks_nor_runner(module):
    others = ("foreachonce.sinks", "foreachonce.runner", "foreachonce.sql")
    assert not any(name.startswith(others) for name in imported(module))


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith("kafka/")])
def test_kafka_knows_neither_databases_nor_other_sinks_nor_runner(module):
    others = ("foreachonce.sinks", "foreachonce.runner", "foreachonce.sql", "foreachonce.delta")
    assert not any(name.startswith(others) for name in imported(module))


@pytest.mark.parametrize("module", [name for name in MODULES if not name.startswith("testing/")])
def test_each_observer_alone_knows_its_package(module):
    observers = {"prometheus_client": "observe/prometheus.py", "opentelemetry": "observe/opentelemetry.py"}
    assert all(module == observers[package] for package in observers.keys() & packages(module))


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith("observe/")])
def test_observers_know_events_and_nothing_else_of_the_library(module):
    own = {name for name in imported(module) if name.startswith("foreachonce.")}
    assert all(name.startswith(("foreachonce.events", "foreachonce.observe")) for name in own)


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith("recovery/")])
def test_recovery_knows_no_sink_and_only_its_entrance_knows_spark(module):
    others = ("foreachonce.sinks", "foreachonce.runner", "foreachonce.sql", "foreachonce.delta")
    entrance = () if module == "recovery/prepare.py" else ("foreachonce.spark", "foreachonce.kafka", "pyspark")
    assert not any(name.startswith((*others, *entrance)) for name in imported(module))


@pytest.mark.parametrize("module", KAFKA_TEXTS)
def test_history_of_a_ledger_topic_needs_no_client(module):
    assert "confluent_kafka" not in packages(f"kafka/{module}.py")
    assert not any(name.startswith(("foreachonce.spark", "pyspark")) for name in imported(f"kafka/{module}.py"))


@pytest.mark.parametrize("module", DELTA_FILES_AND_TEXTS)
def test_history_of_a_delta_table_needs_no_spark(module):
    assert not any(name.startswith(("foreachonce.spark", "pyspark")) for name in imported(f"delta/{module}.py"))


def test_import_loads_no_driver_and_starts_no_spark():
    code = """
import foreachonce, sys
loaded = {name.partition(".")[0] for name in sys.modules}
assert not loaded & {"psycopg", "psycopg_binary", "psycopg2", "pymysql", "confluent_kafka", "pandas", "pytest"}, loaded
assert not loaded & {"prometheus_client", "opentelemetry", "typer", "rich"}, loaded
from pyspark import SparkContext
assert SparkContext._gateway is None and SparkContext._active_spark_context is None
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("kind", "driver", "extra"), [
    ("postgresql", "psycopg", "postgres"), ("mysql", "pymysql", "mariadb"), ("mariadb", "pymysql", "mariadb"),
])  # fmt: skip
def test_missing_driver_says_what_to_install(kind, driver, extra):
    code = f"""
import sys
sys.modules["{driver}"] = None
from foreachonce import JdbcSink, SinkUnavailable
sink = JdbcSink("{kind}://app@127.0.0.1:1/shop", table="orders", stream="s")
try:
    sink.ledger.head("s")
except SinkUnavailable as error:
    assert "pip install 'foreachonce[{extra}]'" in str(error), error
else:
    sys.exit("no error")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_everything_that_is_public_is_there():
    assert [name for name in foreachonce.__all__ if not hasattr(foreachonce, name)] == []


def test_versions_of_both_libraries_are_told():
    assert _version.versions().startswith("foreachonce ")
    assert ", pyspark " in _version.versions()


def test_versions_are_told_without_an_installed_package(monkeypatch):
    def version(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(_version, "version", version)
    assert ", pyspark " in _version.versions.__wrapped__()
