"""A Spark session of a command's own: quiet, with the packages that were asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from py4j.java_gateway import JavaClass
from py4j.protocol import Py4JError, Py4JJavaError

from foreachonce.delta.spark import NEEDED, PACKAGE
from foreachonce.errors import ConfigurationError, SinkUnavailable
from foreachonce.secrets import scrub_texts

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

QUIET = {"spark.ui.enabled": "false", "spark.ui.showConsoleProgress": "false", "spark.log.level": "ERROR"}
# Hadoop's settings may have this before their names in Spark's configuration, and not in a session's.
_HADOOP = "spark.hadoop."
# How Hadoop says that it has no code for an address.
_NO_FILE_SYSTEM = ("No FileSystem for scheme", "ClassNotFoundException")


@contextmanager
def running(
    packages: Sequence[str], settings: Mapping[str, str], secrets: Mapping[str, str], *, with_delta: bool
) -> Iterator[SparkSession]:
    """Start a session, and stop it when the block ends; one that runs already is taken as it is, and goes on.

    Args:
        packages: Maven coordinates.
        settings: of Spark.
        secrets: settings that are made when Java runs already, so that they do not stand on its command line.
        with_delta: whether Delta Lake must be there; its settings are made.

    Raises:
        SinkUnavailable: Spark did not start, or failed in the block.
        ConfigurationError: Delta Lake or a file system is missing.
    """
    from pyspark.errors import PySparkException
    from pyspark.sql import SparkSession

    there = SparkSession.getActiveSession()
    session: SparkSession | None = there
    try:
        session = there or _start(packages, settings, with_delta=with_delta)
        for name, value in secrets.items():
            session.conf.set(name.removeprefix(_HADOOP), value)
        if with_delta:
            _require_delta(session)
        yield session
    except (Py4JError, PySparkException) as error:
        failed = _failed(error, list(secrets.values()), session)
    else:
        return
    finally:
        _leave(session, is_ours=there is None, names=[name.removeprefix(_HADOOP) for name in secrets])
    raise failed


def _start(packages: Sequence[str], settings: Mapping[str, str], *, with_delta: bool) -> SparkSession:
    from pyspark.sql import SparkSession

    given = {**QUIET, **settings}
    if packages:
        given["spark.jars.packages"] = ",".join(packages)
    for name, value in NEEDED.items() if with_delta else ():
        given[name] = value if value in given.get(name, value) else f"{given[name]},{value}"
    builder = SparkSession.builder.appName("foreachonce")
    for name, value in given.items():
        builder = builder.config(name, value)
    return builder.getOrCreate()


def _leave(session: SparkSession | None, *, is_ours: bool, names: Sequence[str]) -> None:
    if session is not None and is_ours:
        session.stop()
    elif session is not None:
        for name in names:
            session.conf.unset(name)


def _require_delta(session: SparkSession) -> None:
    # Not a class but a package is what py4j takes a name for that Java does not know.
    if not isinstance(_jvm(session).io.delta.tables.DeltaTable, JavaClass):
        raise ConfigurationError(
            f"a Delta table's ledger needs Delta Lake in Spark: give its package for this Spark, --packages {PACKAGE}."
        )


def _failed(error: Exception, secrets: Sequence[str], session: SparkSession | None) -> SinkUnavailable | ConfigurationError:
    text = scrub_texts(_words(error), secrets)
    if session is None:
        return SinkUnavailable(f"Spark did not start (it has said why above): {text}")
    if any(word in text for word in _NO_FILE_SYSTEM):
        hadoop = _jvm(session).org.apache.hadoop.util.VersionInfo.getVersion()
        return ConfigurationError(
            f"Spark has no file system for that address: give its package, for s3a: --packages "
            f"org.apache.hadoop:hadoop-aws:{hadoop}. {text}"
        )
    return SinkUnavailable(f"Spark failed: {text}")


def _words(error: Exception) -> str:
    """What was thrown, without the way there."""
    thrown = str(error.java_exception.toString()) if isinstance(error, Py4JJavaError) else str(error)
    return thrown.strip().partition("\n")[0]


def _jvm(session: SparkSession) -> Any:
    return session.sparkContext._jvm
