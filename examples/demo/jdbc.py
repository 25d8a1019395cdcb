"""What Spark's own JDBC writer needs: a driver's jar, and the address in its form."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy.engine import make_url

from tests.servers import jdbc

PACKAGES = {"postgres": jdbc.PACKAGES["postgresql"], "sqlite": "org.xerial:sqlite-jdbc:3.50.3.0"}


def options(url: str) -> dict[str, str]:
    """A database's address as options of ``format("jdbc")``."""
    parts = make_url(url)
    if parts.get_backend_name() == "sqlite":
        # SQLite has one writer at a time: a task waits until the one before has committed.
        return {"url": f"jdbc:sqlite:{parts.database}?busy_timeout=60000", "driver": "org.sqlite.JDBC"}
    return jdbc.options(url)


def driver_jar(sink: str) -> Path:
    """The database's JDBC driver; Spark fetches it from Maven Central where it is not there yet.

    Raises:
        NoDriver: it could not.
    """
    (jar,) = jdbc.jars(PACKAGES[sink])
    return jar
