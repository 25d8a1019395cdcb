"""Connections that a process keeps: Spark's workers serve many batches, and a small one costs less than opening another."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import QueuePool

from foreachonce.errors import SinkUnavailable
from foreachonce.sql.url import shown

MakeEngine = Callable[[URL], Engine]


def once_a_process(make: MakeEngine) -> MakeEngine:
    """``make``, called once for each address; again in a forked process, which must not use its parent's connections."""
    made = cache(lambda url, process: make(url))
    return lambda url: made(url, os.getpid())


def engine(url: URL, **options: Any) -> Engine:
    """An engine that keeps its connections; one that was lost meanwhile is opened anew."""
    # hide_parameters: a failed statement's values are rows or offsets, and belong in no log.
    return sa.create_engine(url, poolclass=QueuePool, pool_pre_ping=True, hide_parameters=True, **options)


def connect(
    engine_of: MakeEngine, url: URL, *, words: Callable[[DBAPIError], str], missing: Callable[[ModuleNotFoundError], str]
) -> Connection:
    """A connection, given back when it is closed.

    Args:
        engine_of: makes or finds the engine.
        url: the database's address.
        words: what the driver has said, without secrets.
        missing: what to say where the driver is not installed.

    Raises:
        SinkUnavailable: no connection could be made.
    """
    try:
        return engine_of(url).connect()
    except DBAPIError as error:
        raise SinkUnavailable(f"no connection to {shown(url)}: {words(error)}") from None
    except ModuleNotFoundError as error:
        raise SinkUnavailable(missing(error)) from None
