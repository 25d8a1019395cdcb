"""A quiet Spark session for one command, with the packages that it needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from py4j.java_gateway import JavaClass
from py4j.protocol import Py4JError, Py4JJavaError

from foreachonce.address import SparkExtension
from foreachonce.errors import ConfigurationError, SinkUnavailable, scrub_texts

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

QUIET = {"spark.ui.enabled": "false", "spark.ui.showConsoleProgress": "false", "spark.log.level": "ERROR"}
# The prefix of Hadoop's settings in Spark's configuration; a session's settings do not have it.
_HADOOP = "spark.hadoop."
# Hadoop's errors for an address that it has no file system for.
_NO_FILE_SYSTEM = ("No FileSystem for scheme", "ClassNotFoundException")


@contextmanager
def running(
    packages: Sequence[str],
    settings: Mapping[str, str],
    secrets: Mapping[str, str],
    extension: SparkExtension | None = None,
) -> Iterator[SparkSession]:
    """Start a session, and stop it when the block ends; a session that runs already is used, and left running.

    Args:
        packages: Maven coordinates.
        settings: of Spark.
        secrets: settings that are made once Java runs, which keeps them off its command line.
        extension: what the session must have beyond Spark; its settings are made.

    Raises:
        SinkUnavailable: Spark did not start, or failed in the block.
        ConfigurationError: the extension or a file system is missing.
    """
    from pyspark.errors import PySparkException
    from pyspark.sql import SparkSession

    active = SparkSession.getActiveSession()
    session: SparkSession | None = active
    try:
        session = active or _start(packages, settings, {} if extension is None else extension.settings)
        for name, value in secrets.items():
            session.conf.set(name.removeprefix(_HADOOP), value)
        if extension is not None:
            _require(session, extension)
        yield session
    except (Py4JError, PySparkException) as error:
        failed = _failed(error, list(secrets.values()), session)
    else:
        return
    finally:
        _leave(session, is_ours=active is None, names=[name.removeprefix(_HADOOP) for name in secrets])
    raise failed


def _start(packages: Sequence[str], settings: Mapping[str, str], needed: Mapping[str, str]) -> SparkSession:
    from pyspark.sql import SparkSession

    given = {**QUIET, **settings}
    if packages:
        given["spark.jars.packages"] = ",".join(packages)
    for name, value in needed.items():
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


def _require(session: SparkSession, extension: SparkExtension) -> None:
    java = _jvm(session)
    for name in extension.java_class.split("."):
        java = getattr(java, name)
    # py4j takes a name that Java does not know for a package.
    if not isinstance(java, JavaClass):
        raise ConfigurationError(
            f"the ledger needs {extension.name} in Spark: give its package for this Spark, --packages {extension.package}."
        )


def _failed(error: Exception, secrets: Sequence[str], session: SparkSession | None) -> SinkUnavailable | ConfigurationError:
    text = scrub_texts(_words(error), secrets)
    if session is None:
        return SinkUnavailable(f"Spark did not start; its own message above says why: {text}")
    if any(word in text for word in _NO_FILE_SYSTEM):
        hadoop = _jvm(session).org.apache.hadoop.util.VersionInfo.getVersion()
        return ConfigurationError(
            f"Spark has no file system for this address: give its package, for s3a: --packages "
            f"org.apache.hadoop:hadoop-aws:{hadoop}. {text}"
        )
    return SinkUnavailable(f"Spark failed: {text}")


def _words(error: Exception) -> str:
    """The exception's first line, without a stack trace."""
    thrown = str(error.java_exception.toString()) if isinstance(error, Py4JJavaError) else str(error)
    return thrown.strip().partition("\n")[0]


def _jvm(session: SparkSession) -> Any:
    return session.sparkContext._jvm
