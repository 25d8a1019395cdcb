"""Which ledger an address means, and what can be asked of it: a database's, a Delta table's, a Kafka cluster's."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Protocol

from sqlalchemy.engine import URL

from foreachonce.cli.settings import refuse_plain_secrets, settings
from foreachonce.delta.place import check_place, is_path
from foreachonce.delta.place import shown as shown_place
from foreachonce.entry import Entry
from foreachonce.errors import ConfigurationError, LedgerError
from foreachonce.kafka.cluster import is_secret
from foreachonce.ledger import Ledger
from foreachonce.recovery.repair import LedgerStream
from foreachonce.recovery.source import Earliest
from foreachonce.sql.ledger import SqlLedger
from foreachonce.sql.url import DRIVERS, parse_url, shown

PASSWORD = "FOREACHONCE_LEDGER_PASSWORD"  # noqa: S105 - a variable's name
PREFIX = "foreachonce."
_SECRET = re.compile(r"(?i)password|secret|token")
_OTHERS = (
    " A Delta table is delta:/path or delta:catalog.table, a Kafka cluster kafka://host:port,…; a password is best in "
    f"{PASSWORD}."
)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


class Place(Protocol):
    """Where a ledger is."""

    @property
    def shown(self) -> str:
        """The address, for people, without secrets."""

    @property
    def words(self) -> Sequence[str]:
        """The options that name the ledger on a command line, without secrets."""

    @property
    def reads_by_spark(self) -> bool:
        """Whether reading the ledger needs a Spark session."""

    @property
    def writes_by_spark(self) -> bool:
        """Whether appending to the ledger needs a Spark session."""

    def ledger(self) -> Ledger:
        """The ledger, to read.

        Raises:
            LedgerError: there is none.
        """



@dataclass(frozen=True)
class SqlPlace:
    """A database; ``is_generic`` if it is one that the library has no way of its own for."""

    url: URL
    schema: str | None
    is_generic: bool
    reads_by_spark: bool = False
    writes_by_spark: bool = False

    @property
    def shown(self) -> str:
        """The address, for people, without secrets."""
        return shown(self.url)

    @property
    def words(self) -> Sequence[str]:
        """The options that name the ledger on a command line, without secrets."""
        plain = self.url if self.is_generic else self.url.set(drivername=self.url.drivername.split("+")[0])
        known = {name: value for name, value in plain.query.items() if not _SECRET.search(name)}
        address = URL.create(plain.drivername, plain.username, None, plain.host, plain.port, plain.database, known)
        return ["--ledger", str(address), *([] if self.schema is None else ["--ledger-schema", self.schema])]

    def open(self) -> SqlLedger:
        """The ledger, which is made on its first use."""
        return SqlLedger(self.url.render_as_string(hide_password=False), schema=self.schema, generic=self.is_generic)

    def ledger(self) -> SqlLedger:
        """The ledger, to read; none is made."""
        ledger = self.open()
        if not ledger.exists():
            where = "" if self.schema is None else f" in schema {self.schema!r}"
            raise LedgerError(
                f"there is no ledger at {self.shown}{where}. Is the address right? A sink's first batch makes one, and so "
                "does `foreachonce init`."
            )
        return ledger



@dataclass(frozen=True)
class DeltaPlace:
    """A Delta table, by path or by name."""

    place: str
    writes_by_spark: bool = True

    @property
    def reads_by_spark(self) -> bool:
        """Whether the table is in a catalog, or on another file system than this machine's."""
        return not is_path(self.place) or not is_local(self.place)

    @property
    def shown(self) -> str:
        """The address, for people, without secrets."""
        return f"delta:{shown_place(self.place)}"

    @property
    def words(self) -> Sequence[str]:
        """The options that name the ledger on a command line, without secrets."""
        return ["--ledger", self.shown]

    def ledger(self) -> Ledger:
        """The ledger, to read."""
        from foreachonce import DeltaLedger

        ledger = DeltaLedger(self.place)
        if not ledger.exists():
            raise LedgerError(
                f"there is no Delta table at {self.shown}. Is the address right? A sink's first batch makes it."
            )
        return ledger



@dataclass(frozen=True)
class KafkaPlace:
    """A Kafka cluster."""

    servers: str
    prefix: str
    pairs: tuple[str, ...]
    reads_by_spark: bool = False
    writes_by_spark: bool = False

    @property
    def shown(self) -> str:
        """The address, for people, without secrets."""
        return f"kafka://{self.servers}"

    @property
    def words(self) -> Sequence[str]:
        """The options that name the ledger on a command line, without secrets."""
        given = [word for pair in self.pairs for word in ("--client", pair)]
        return ["--ledger", self.shown, *([] if self.prefix == PREFIX else ["--ledger-prefix", self.prefix]), *given]

    @property
    def client(self) -> dict[str, str]:
        """The client's settings, with the password of the environment."""
        found = client_settings(self.pairs)
        password = os.environ.get(PASSWORD)
        if password and "sasl_username" in found:
            found.setdefault("sasl_password", password)
        return found

    def ledger(self) -> Ledger:
        """The ledger, to read."""
        require_client()
        from foreachonce.kafka.ledger import KafkaLedger

        return KafkaLedger(self.servers, ledger_prefix=self.prefix, **self.client)

def stream_at(place: Place, stream: str) -> LedgerStream:
    """A stream of the ledger as a repair needs it."""
    return LedgerStream(place.ledger(), stream, f"{place.shown}, by the command foreachonce")


def place_of(address: str, schema: str | None = None, prefix: str = PREFIX, client: Sequence[str] = ()) -> Place:
    """Understand an address.

    Args:
        address: ``delta:/path``, ``delta:catalog.table``, ``kafka://host:port,…``, or a database's address.
        schema: of a database: the schema of ``foreachonce_ledger``.
        prefix: of Kafka: how the names of ledger topics begin.
        client: of Kafka: the client's settings, as ``name=value``.

    Raises:
        ConfigurationError: it cannot be understood; the text does not repeat it.
    """
    if address.startswith("kafka:"):
        return _kafka(address.removeprefix("kafka:").removeprefix("//").rstrip("/"), prefix, client)
    if address.startswith("delta://"):
        raise ConfigurationError("--ledger delta://… names a host, and a path has none: it is delta:/path.")
    if address.startswith("delta:"):
        with _option_named("path_or_table="):
            place = check_place(address.removeprefix("delta:"))
        return DeltaPlace(os.path.abspath(place) if is_path(place) and not _SCHEME.match(place) else place)
    name = re.split(r"[+:]", address.removeprefix("jdbc:"), maxsplit=1)[0]
    is_generic = name not in DRIVERS and not address.startswith("jdbc:") and ":" in address
    with _option_named("url=", _OTHERS):
        url = parse_url(address, generic=is_generic)
    password = os.environ.get(PASSWORD)
    if url.password is None and password and url.get_backend_name() != "sqlite":
        url = url.set(password=password)
    return SqlPlace(url, schema, is_generic)


@contextmanager
def _option_named(keyword: str, more: str = "") -> Iterator[None]:
    """What the library says about a keyword of its own is said about the option."""
    try:
        yield
    except ConfigurationError as error:
        raise ConfigurationError(f"{str(error).replace(keyword, '--ledger', 1)}{more}") from None


def _kafka(servers: str, prefix: str, client: Sequence[str]) -> KafkaPlace:
    if "@" in servers:
        raise ConfigurationError(
            "--ledger kafka://… names servers only; a user is --client sasl.username=…, a password "
            "--client sasl.password=env:NAME."
        )
    client_settings(client)
    return KafkaPlace(servers, prefix, tuple(client))


def client_settings(pairs: Sequence[str]) -> dict[str, str]:
    """The settings of a Kafka client, as keywords of :class:`~foreachonce.KafkaLedger`.

    Raises:
        ConfigurationError: one is no pair; or a secret stands on the command line, where every user of the machine sees it.
    """
    refuse_plain_secrets("--client", pairs, is_secret)
    return {name.replace(".", "_"): value for name, value in settings("--client", pairs).items()}


def earliest_of(servers: str, client: Sequence[str]) -> Callable[[Sequence[Entry]], Earliest]:
    """The probe of a Kafka source's first offsets."""
    require_client()
    from foreachonce.kafka.source import earliest

    given = {"bootstrap_servers": servers, **client_settings(client)}
    return lambda heads: earliest(heads, given)


def require_client() -> None:
    """Refuse Kafka where its client is not installed."""
    if find_spec("confluent_kafka") is None:
        raise ConfigurationError("Kafka needs its client: pip install 'foreachonce[kafka]'")


def is_local(path: str) -> bool:
    """Whether a path is one of this machine's, as Python opens it."""
    return path.startswith("file:") or not _SCHEME.match(path)
