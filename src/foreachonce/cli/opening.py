"""Understand a ledger's address, and open the ledger, with a Spark session where that takes one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from foreachonce.address import (
    AddressOptions,
    LedgerAddress,
    Operation,
    is_from_environment,
    read_settings,
    refuse_plain_secrets,
)
from foreachonce.delta.address import DeltaAddress
from foreachonce.errors import ConfigurationError
from foreachonce.kafka.address import KafkaAddress
from foreachonce.ledger import Ledger
from foreachonce.sql.address import SqlAddress

# SqlAddress takes whatever has a scheme, so it comes last.
_KINDS: tuple[type[LedgerAddress], ...] = (KafkaAddress, DeltaAddress, SqlAddress)
FORMS = " or ".join(", ".join(kind.forms for kind in reversed(_KINDS)).rsplit(", ", 1))
# The settings that Spark itself keeps out of its logs: spark.redaction.regex.
_SECRET = re.compile(r"(?i)secret|password|token|access[.]?key")


def address_of(text: str, options: AddressOptions) -> LedgerAddress:
    """The address that a text stands for.

    Raises:
        ConfigurationError: the text is no address; the message does not repeat it, for it may hold a secret.
    """
    for kind in _KINDS:
        address = kind.parse(text, options)
        if address is not None:
            return address
    raise ConfigurationError(f"--ledger {'is not an address' if text else 'is empty'}: it takes {FORMS}.")


@contextmanager
def opened(
    address: LedgerAddress, packages: Sequence[str], conf: Sequence[str], operation: Operation = "read"
) -> Iterator[Ledger]:
    """The ledger at an address; a Spark session runs meanwhile if the operation needs one.

    Raises:
        LedgerError: there is no ledger.
        SinkUnavailable: Spark did not start, or the ledger cannot be reached.
    """
    with ExitStack() as stack:
        if address.needs_spark(operation):
            stack.enter_context(spark_session(address, packages, conf))
        yield address.ledger()


@contextmanager
def spark_session(address: LedgerAddress, packages: Sequence[str], conf: Sequence[str]) -> Iterator[None]:
    """A Spark session with what the ledger needs."""
    from foreachonce.spark.session import running

    refuse_spark_secrets(conf)
    secrets = read_settings("--conf", [pair for pair in conf if is_from_environment(pair)])
    with running(packages, plain_settings(conf), secrets, address.extension):
        yield


def refuse_spark_secrets(conf: Sequence[str]) -> None:
    """Refuse a secret of Spark's that stands on the command line itself."""
    refuse_plain_secrets("--conf", conf, _SECRET.search)


def plain_settings(conf: Sequence[str]) -> dict[str, str]:
    """Spark's settings, but for those from the environment."""
    return read_settings("--conf", [pair for pair in conf if not is_from_environment(pair)])


def require_stream(ledger: Ledger, address: LedgerAddress, stream: str) -> None:
    """Refuse a stream that the ledger does not have: its name may be misspelt.

    Raises:
        ConfigurationError: naming the streams that it has.
    """
    if ledger.head(stream) is None:
        raise ConfigurationError(unknown_stream(ledger, address, stream))


def unknown_stream(ledger: Ledger, address: LedgerAddress, stream: str) -> str:
    """The message for a stream that the ledger does not have."""
    names = ", ".join(map(repr, ledger.streams())) or "none at all"
    return f"the ledger at {address.shown} has no entry of a stream {stream!r}; it has {names}."
