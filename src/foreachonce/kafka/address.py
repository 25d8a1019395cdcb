"""The address of a Kafka cluster's ledger topics: ``kafka://host:port,…``. Loads Kafka's client only to open a ledger."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from foreachonce.address import (
    PASSWORD,
    AddressOptions,
    Creation,
    LedgerAddress,
    read_settings,
    refuse_plain_secrets,
)
from foreachonce.entry import Entry
from foreachonce.errors import ConfigurationError
from foreachonce.kafka.cluster import is_secret

if TYPE_CHECKING:
    from foreachonce.kafka.ledger import KafkaLedger

_SCHEME = "kafka:"


@dataclass(frozen=True)
class KafkaAddress(LedgerAddress):
    """A Kafka cluster.

    Args:
        servers: ``host:port``, with commas between.
        prefix: how the names of ledger topics begin.
        pairs: the client's settings as NAME=VALUE; secrets are named by ``env:NAME``.
    """

    servers: str
    prefix: str
    pairs: tuple[str, ...]

    forms = "kafka://host:port,…"

    @classmethod
    def parse(cls, text: str, options: AddressOptions) -> KafkaAddress | None:
        """Understand ``kafka://host:port,…``."""
        if not text.startswith(_SCHEME):
            return None
        servers = text.removeprefix(_SCHEME).removeprefix("//").rstrip("/")
        if "@" in servers:
            raise ConfigurationError(
                "--ledger kafka://… names servers only. Name a user by --client sasl.username=…, a password by --client "
                "sasl.password=env:NAME."
            )
        client_settings(options.client)
        return cls(servers, options.prefix, tuple(options.client))

    @property
    def shown(self) -> str:
        """See :class:`~foreachonce.address.LedgerAddress`."""
        return f"kafka://{self.servers}"

    @property
    def arguments(self) -> Sequence[str]:
        """See :class:`~foreachonce.address.LedgerAddress`."""
        prefix = [] if self.prefix == AddressOptions.prefix else ["--ledger-prefix", self.prefix]
        return ["--ledger", self.shown, *prefix, *(word for pair in self.pairs for word in ("--client", pair))]

    @property
    def client(self) -> dict[str, Any]:
        """The client's settings, with the password from the environment."""
        settings: dict[str, Any] = client_settings(self.pairs)
        password = os.environ.get(PASSWORD)
        if password and "sasl_username" in settings:
            settings.setdefault("sasl_password", password)
        return settings

    def ledger(self) -> KafkaLedger:
        """Open the ledger."""
        _require_client()
        from foreachonce.kafka.ledger import KafkaLedger

        return KafkaLedger(self.servers, ledger_prefix=self.prefix, **self.client)

    def create(self, user: str) -> Creation:
        """Nothing: name the topic's settings, for a user who may not create topics."""
        self.ledger()
        from foreachonce.kafka.topic import SETTINGS

        settings = ", ".join(f"{name}={value}" for name, value in SETTINGS.items())
        return Creation(
            f"Nothing to create: a stream's first run creates its ledger topic, {self.prefix}<stream>. If its user may not, "
            f"create the topic with one partition and {settings}. docs/sinks/kafka.md lists the ACLs."
        )


def client_settings(pairs: Sequence[str]) -> dict[str, str]:
    """The settings of a Kafka client, as keywords of :class:`~foreachonce.KafkaLedger`.

    Raises:
        ConfigurationError: a pair is malformed, or is a secret in plain text.
    """
    refuse_plain_secrets("--client", pairs, is_secret)
    return {name.replace(".", "_"): value for name, value in read_settings("--client", pairs).items()}


def source_probe(servers: str, pairs: Sequence[str]) -> Callable[[Sequence[Entry]], dict[str, dict[int, int]]]:
    """A function that asks a Kafka source for its first offsets; a repair takes it as ``earliest=``."""
    _require_client()
    from foreachonce.kafka.source import earliest

    settings = {"bootstrap_servers": servers, **client_settings(pairs)}
    return lambda heads: earliest(heads, settings)


def _require_client() -> None:
    if find_spec("confluent_kafka") is None:
        raise ConfigurationError("Kafka needs its client: pip install 'foreachonce[kafka]'")
