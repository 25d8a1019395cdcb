"""One Spark session for each worker, and one server of each kind for all of them."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import Phase, settings
from pyspark.sql import SparkSession

from foreachonce.testing.driver import Driver
from foreachonce.testing.spark import session
from foreachonce.testing.stream import FileStream
from tests.servers.archive import offer_all
from tests.servers.jdbc import NoDriver
from tests.servers.kafka import NoKafka, kafka, make_topic
from tests.servers.mariadb import FAST as MARIADB_FAST
from tests.servers.mariadb import NoMariaDb, mariadb
from tests.servers.mariadb import database as mariadb_database
from tests.servers.postgres import FAST as POSTGRES_FAST
from tests.servers.postgres import NoPostgres, database, postgres
from tests.servers.shared import shared

# For mutants: what fails need not be made small, and must be found.
settings.register_profile("mutants", phases=[Phase.generate], database=None, max_examples=400)


@pytest.fixture(scope="session")
def jdbc_driver() -> None:
    """The jars that sessions use, and what lets them start fast. Without it only the tests that need a jar fail."""
    try:
        offer_all()
    except NoDriver as error:
        warnings.warn(str(error), stacklevel=1)


@pytest.fixture(scope="session")
def spark(jdbc_driver: None) -> Iterator[SparkSession]:
    spark = session()
    yield spark
    spark.stop()


@pytest.fixture(scope="session")
def other_driver(jdbc_driver: None) -> Iterator[Driver]:
    """A second driver, in a process of its own, that runs what tests hand to it."""
    with Driver() as driver:
        yield driver


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers of the run have in common."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


def _served(
    name: str, folder: Path, server: Callable[[], AbstractContextManager[str]], missing: type[Exception]
) -> Iterator[str]:
    """A superuser's address. Missing it fails the run in CI; by hand it may be skipped, loudly."""
    variable = f"FOREACHONCE_SKIP_{name}"
    if os.environ.get(variable) and not os.environ.get("CI"):
        pytest.skip(f"{variable} is set: NOTHING IS TESTED ON {name}")
    try:
        with shared(name, folder, server) as url:
            yield url
    except missing as error:
        pytest.fail(str(error))


@pytest.fixture(scope="session")
def postgres_server(run_folder: Path) -> Iterator[str]:
    yield from _served("POSTGRES", run_folder, partial(postgres, *POSTGRES_FAST), NoPostgres)


@pytest.fixture(scope="session")
def mariadb_server(run_folder: Path) -> Iterator[str]:
    yield from _served("MARIADB", run_folder, partial(mariadb, *MARIADB_FAST), NoMariaDb)


@pytest.fixture(scope="session")
def kafka_server(run_folder: Path) -> Iterator[str]:
    yield from _served("KAFKA", run_folder, kafka, NoKafka)


@pytest.fixture
def stream(spark: SparkSession, tmp_path: Path) -> FileStream:
    """A new source and checkpoint."""
    return FileStream(spark, tmp_path)


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """The address of a new, empty database."""
    with database(postgres_server) as url:
        yield url


@pytest.fixture
def mariadb_url(mariadb_server: str) -> Iterator[str]:
    """The address of a new, empty database."""
    with mariadb_database(mariadb_server) as url:
        yield url


@pytest.fixture
def new_database(request: pytest.FixtureRequest) -> Iterator[Callable[[str], str]]:
    """Makes new, empty databases of "postgres" or "mariadb", and returns their addresses."""
    makers = {"postgres": database, "mariadb": mariadb_database}
    with ExitStack() as stack:
        yield lambda kind: stack.enter_context(makers[kind](request.getfixturevalue(f"{kind}_server")))


@pytest.fixture
def kafka_place(kafka_server: str) -> str:
    """A new topic of one partition, for drivers in processes of their own."""
    topic = f"events-{uuid4().hex[:12]}"
    make_topic(kafka_server, topic, partitions=1)
    return f"kafka://{kafka_server}/{topic}"


@pytest.fixture
def delta_path(jdbc_driver: None, tmp_path: Path) -> str:
    """The path of a new Delta table, for drivers in processes of their own."""
    return str(tmp_path / "events")


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """The address of a new file."""
    return f"sqlite:///{tmp_path / 'sink.db'}"
