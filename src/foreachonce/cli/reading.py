"""A ledger opened to be read, with Spark where it is needed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from foreachonce.cli.place import DeltaPlace, Place
from foreachonce.cli.settings import is_hidden, refuse_plain_secrets, settings
from foreachonce.errors import ConfigurationError
from foreachonce.ledger import Ledger

# What Spark itself keeps out of its logs: spark.redaction.regex.
SPARKS_SECRETS = re.compile(r"(?i)secret|password|token|access[.]?key")


@contextmanager
def opened(
    place: Place, packages: Sequence[str] | None, conf: Sequence[str] | None, *, with_spark: bool = False
) -> Iterator[Ledger]:
    """The ledger of a place; a Spark session runs meanwhile where reading needs one, or the caller does.

    Args:
        place: where the ledger is.
        packages, conf: of Spark, as on the command line.
        with_spark: whether the caller needs a session.

    Raises:
        LedgerError: there is no ledger.
        SinkUnavailable: Spark did not start, or the ledger cannot be reached.
    """
    with ExitStack() as stack:
        if with_spark or place.reads_by_spark:
            stack.enter_context(spark(place, packages, conf))
        yield place.ledger()


@contextmanager
def spark(place: Place, packages: Sequence[str] | None, conf: Sequence[str] | None) -> Iterator[None]:
    """A Spark session, with Delta where the ledger is a Delta table's."""
    from foreachonce.spark.session import running

    pairs = list(conf or ())
    refuse_plain_secrets("--conf", pairs, SPARKS_SECRETS.search)
    shown = settings("--conf", [pair for pair in pairs if not is_hidden(pair)])
    secret = settings("--conf", [pair for pair in pairs if is_hidden(pair)])
    with running(packages or (), shown, secret, with_delta=isinstance(place, DeltaPlace)):
        yield


def known(ledger: Ledger, place: Place, stream: str) -> None:
    """Refuse a stream that the ledger does not have: its name may be spelt wrong.

    Raises:
        ConfigurationError: naming the streams that it has.
    """
    if ledger.head(stream) is None:
        raise ConfigurationError(no_entry(ledger, place, stream))


def no_entry(ledger: Ledger, place: Place, stream: str) -> str:
    """A ledger lacks a stream, in words that name those which it has."""
    has = ", ".join(map(repr, ledger.streams())) or "none at all"
    return f"the ledger at {place.shown} has no entry of a stream {stream!r}; it has {has}."
