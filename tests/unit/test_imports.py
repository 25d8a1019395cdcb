"""Who may import whom. Imports inside of functions and for type checkers count too."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import foreachonce

ROOT = Path(foreachonce.__file__).parent
MODULES = sorted(path.relative_to(ROOT).with_suffix("").as_posix() for path in ROOT.rglob("*.py"))
WINGS = ("sql", "delta", "kafka")
# From the bottom to the top: a module imports those of its own layer and of the layers below.
LAYERS = (
    (
        "errors",
        "keywords",
        "polling",
        "position",
        "entry",
        "events",
        "faults",
        "decide",
        "chain",
    ),
    ("ledger", "sink", "address", "checkpoint/", "observe/"),
    ("recovery/",),
    ("spark/",),
    ("runner",),
    ("base",),
    tuple(f"{wing}/" for wing in WINGS),
    ("decorator",),
    ("__init__",),
    ("cli/", "testing/"),
)
# What looks at Kafka as a source is called by every sink's prepare(kafka=…), and needs no sink.
UPWARD = {("base", "kafka/source")}
# The standard library is all that these need.
PURE = (*LAYERS[0], "ledger", "address", "checkpoint/", "recovery/")
CLIENTS = {
    "psycopg": ("sql/databases/",),
    "pymysql": ("sql/databases/",),
    "sqlite3": ("sql/databases/",),
    "sqlalchemy": ("sql/",),
    "confluent_kafka": ("kafka/",),
    "prometheus_client": ("observe/prometheus",),
    "opentelemetry": ("observe/opentelemetry",),
    "typer": ("cli/",),
    "rich": ("cli/",),
    "bokeh": ("cli/",),
    "jinja2": ("cli/",),
    "pytest": ("testing/",),
    "psutil": ("testing/",),
}


@cache
def imported(module: str) -> frozenset[str]:
    """The dotted names that a module imports."""
    names = set()
    for node in ast.walk(ast.parse((ROOT / f"{module}.py").read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names |= {str(node.module)} | {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(names)


@cache
def own(module: str) -> frozenset[str]:
    """The modules of the library that a module imports."""
    names = {name.removeprefix("foreachonce").lstrip(".").replace(".", "/") for name in imported(module) if is_own(name)}
    # A package is imported for what its __init__ holds only if no module of it is.
    packages = {
        f"{name}/__init__".lstrip("/") for name in names if not any(f"{name}/{each}" in names for each in inside(name))
    }
    return frozenset((names | packages) & {*MODULES} - {module})


def inside(package: str) -> list[str]:
    """The names of a package's modules."""
    return [module.rpartition("/")[2] for module in MODULES if module.rpartition("/")[0] == package]


def is_own(name: str) -> bool:
    return name == "foreachonce" or name.startswith("foreachonce.")


def packages(module: str) -> set[str]:
    return {name.partition(".")[0] for name in imported(module)}


def layer(module: str) -> int:
    found = [
        number
        for number, names in enumerate(LAYERS)
        if module in names or module.startswith(tuple(filter(is_folder, names)))
    ]
    assert found, f"{module} is in no layer: name a new wing in WINGS"
    assert len(found) == 1, f"{module} is in layers {found}"
    return found[0]


def is_folder(name: str) -> bool:
    return name.endswith("/")


def is_in(module: str, places: tuple[str, ...]) -> bool:
    return module in places or module.startswith(tuple(filter(is_folder, places)))


@pytest.mark.parametrize("module", MODULES)
def test_no_module_imports_upward(module):
    above = {other for other in own(module) if layer(other) > layer(module) and other != "__init__"}
    assert {(module, other) for other in above} <= UPWARD


def test_no_import_cycles():
    graph = {module: own(module) - {"__init__"} for module in MODULES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"these import each other: {' -> '.join(error.args[1])}")


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith(tuple(f"{wing}/" for wing in WINGS))])
def test_no_wing_imports_another(module):
    wing = module.partition("/")[0]
    others = tuple(f"{other}/" for other in WINGS if other != wing)
    assert not [name for name in own(module) if name.startswith(others)]


@pytest.mark.parametrize("module", [name for name in MODULES if is_in(name, PURE)])
def test_pure_module_needs_the_standard_library_only(module):
    assert packages(module) - {"foreachonce"} <= sys.stdlib_module_names
    assert not [name for name in own(module) if not is_in(name, PURE)]


@pytest.mark.parametrize("module", MODULES)
def test_each_client_is_imported_in_its_place_only(module):
    strangers = [package for package in packages(module) & CLIENTS.keys() if not is_in(module, CLIENTS[package])]
    assert strangers == []


@pytest.mark.parametrize("module", [name for name in MODULES if not name.startswith("testing/")])
def test_nothing_imports_the_tests_tools(module):
    assert not [name for name in own(module) if name.startswith("testing/")]


def test_import_loads_no_driver_and_starts_no_spark():
    code = """
import foreachonce, sys
loaded = {name.partition(".")[0] for name in sys.modules}
assert not loaded & {"psycopg", "psycopg_binary", "psycopg2", "pymysql", "confluent_kafka", "pandas", "pytest"}, loaded
assert not loaded & {"prometheus_client", "opentelemetry", "typer", "rich", "jinja2"}, loaded
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
