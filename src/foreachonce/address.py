"""Ledger addresses: what a text such as ``kafka://host:port``, and the options beside it, stand for. Pure.

Each wing has a subclass of :class:`LedgerAddress` in its ``address.py``. What such a ledger can do beyond the
:class:`~foreachonce.ledger.Ledger` protocol is a method here. By default it raises a ConfigurationError that says so.
"""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar, Literal, NamedTuple

from foreachonce.entry import Entry
from foreachonce.errors import ConfigurationError
from foreachonce.ledger import Ledger

# The environment variable with the password of a ledger whose address has none.
PASSWORD = "FOREACHONCE_LEDGER_PASSWORD"  # noqa: S105 - a variable's name
_FROM_ENVIRONMENT = "env:"
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")

Operation = Literal["read", "append", "count"]
# A schema, None for the connection's default, and a name.
TableName = tuple[str | None, str]


@dataclass(frozen=True)
class AddressOptions:
    """The options that complete an address.

    Args:
        schema: of a database: the schema of the ledger's tables; None is the connection's default.
        prefix: of Kafka: how the names of ledger topics begin.
        client: of Kafka: the client's settings, each as NAME=VALUE.
    """

    schema: str | None = None
    prefix: str = "foreachonce."
    client: Sequence[str] = ()


class SparkExtension(NamedTuple):
    """What a Spark session needs beyond Spark itself."""

    name: str
    package: str
    """The Maven coordinates, for the Spark that is installed."""
    java_class: str
    """A class of the package."""
    settings: Mapping[str, str]


class Counts(NamedTuple):
    """Counted rows."""

    entries: int | None
    """Rows by the stream's entries, counted at the same moment as the table; None where that was not possible."""
    table: int
    """Rows in the table, or in all tables together."""


class Creation(NamedTuple):
    """The result of creating a ledger."""

    text: str
    is_new: bool = False
    identity: str | None = None
    grants: Sequence[str] = ()
    """The statements that give a streaming user the privileges it needs."""


class LedgerAddress(ABC):
    """Where a ledger is, and what it can do.

    Attributes:
        forms: how such an address is written, for help texts.
        extension: what Spark needs, for the operations that need Spark.
        count_option: the option by which ``verify`` counts rows; None where it cannot.
    """

    forms: ClassVar[str]
    extension: ClassVar[SparkExtension | None] = None
    count_option: ClassVar[Literal["--table NAME", "--count"] | None] = None

    @classmethod
    @abstractmethod
    def parse(cls, text: str, options: AddressOptions) -> LedgerAddress | None:
        """The address that a text stands for; None where the text is another kind's address.

        Raises:
            ConfigurationError: the text has this kind's form and is wrong. Never repeats a secret.
        """

    @property
    @abstractmethod
    def shown(self) -> str:
        """The address for people, without secrets."""

    @property
    @abstractmethod
    def arguments(self) -> Sequence[str]:
        """The command-line options that name the ledger again, without secrets."""

    @property
    def omits_password(self) -> bool:
        """Whether :attr:`arguments` leave out a password."""
        return False

    def needs_spark(self, operation: Operation) -> bool:
        """Whether an operation needs a Spark session."""
        return False

    @abstractmethod
    def ledger(self) -> Ledger:
        """Open the ledger, to read it and to append to it. Creates none.

        Raises:
            LedgerError: there is no ledger.
        """

    def create(self, user: str) -> Creation:
        """Create the ledger, and name the privileges that a streaming user needs on it."""
        return Creation("Nothing to create: a sink's first batch creates the ledger.")

    def prune(self, stream: str, *, keep: int, older_than: timedelta | None) -> int:
        """Delete a stream's old entries; return how many."""
        raise ConfigurationError(
            f"{self.shown}: only a database's ledger is pruned; docs/operations/the-ledger-grows.md says what happens to "
            "the others."
        )

    def count(self, stream: str, tables: Sequence[TableName]) -> Counts:
        """Count a stream's rows in the tables, or in the ledger's own table if none are named."""
        raise ConfigurationError(f"{self.shown}: rows cannot be counted here.")

    def explain_unfinished(self, entry: Entry) -> str:
        """What an unfinished batch means for its query's next start; empty where the query finishes it by itself."""
        return ""


@contextmanager
def naming_option(keyword: str, more: str = "") -> Iterator[None]:
    """Let an error about a keyword of the library name the option ``--ledger`` instead; ``more`` is added."""
    try:
        yield
    except ConfigurationError as error:
        raise ConfigurationError(f"{str(error).replace(keyword, '--ledger', 1)}{more}") from None


def is_local(path: str) -> bool:
    """Whether Python's own ``open`` reaches a path."""
    return path.startswith("file:") or not has_scheme(path)


def has_scheme(text: str) -> bool:
    """Whether a text begins with ``name:``."""
    return _SCHEME.match(text) is not None


def read_settings(option: str, pairs: Sequence[str]) -> dict[str, str]:
    """Names and values of ``NAME=VALUE`` pairs; ``env:NAME`` takes the value from the environment.

    Raises:
        ConfigurationError: a pair is malformed, or the environment lacks the variable. Never repeats a value, which may be
            a secret.
    """
    settings = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not name or not sign:
            raise ConfigurationError(
                f"{option}: expected NAME=VALUE; {'the name is missing' if sign else f'{name!r} has no value'}."
            )
        settings[name] = _value(option, name, value)
    return settings


def refuse_plain_secrets(option: str, pairs: Sequence[str], is_secret: Callable[[str], object]) -> None:
    """Refuse a secret on the command line itself, where every user of the machine sees it.

    Raises:
        ConfigurationError: naming the setting, and what to write.
    """
    for pair in pairs:
        name = pair.partition("=")[0]
        if is_secret(name) and not is_from_environment(pair):
            raise ConfigurationError(
                f"{option} {name}=…: a command line is no place for a secret, since other users can read it. Put it into "
                f"an environment variable and write {option} {name}=env:NAME."
            )


def is_from_environment(pair: str) -> bool:
    """Whether a pair's value comes from the environment."""
    return pair.partition("=")[2].startswith(_FROM_ENVIRONMENT)


def _value(option: str, name: str, value: str) -> str:
    if not value.startswith(_FROM_ENVIRONMENT):
        return value
    variable = value.removeprefix(_FROM_ENVIRONMENT)
    if variable not in os.environ:
        raise ConfigurationError(f"{option} {name}={value}: the environment has no variable {variable!r}.")
    return os.environ[variable]
