"""The address of a Kafka cluster and the settings of its clients, whose secrets are never shown."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from foreachonce.errors import ConfigurationError, scrub_texts

# librdkafka's own log. It writes a line for each attempt to connect, and errors give the reasons once, so nothing is shown
# unless the user configures logging.
log = logging.getLogger("foreachonce.kafka")
log.addHandler(logging.NullHandler())

# The settings that the user cannot give, and why.
RESERVED = {
    "bootstrap.servers": "it is the first argument",
    "metadata.broker.list": "it is the first argument",
    "transactional.id": "the library derives it from stream=",
    "transaction.timeout.ms": "use transaction_timeout_ms=",
    "enable.idempotence": "a transaction needs it",
    "acks": "a transaction needs all of them",
    "request.required.acks": "a transaction needs all of them",
    "isolation.level": "the ledger is read committed",
    "group.id": "the ledger is read without a group",
    "enable.auto.commit": "the ledger is read without a group",
    "auto.offset.reset": "the library chooses where to read the ledger",
    "enable.partition.eof": "the library reads to the end",
    "delivery.report.only.error": "the library counts by itself",
    "error_cb": "the library reports errors",
    "on_delivery": "the library reports errors",
    "logger": "the client logs to 'foreachonce.kafka'",
}
# A new client asks the bootstrap server for the brokers and connects to one of them only after half of this time.
# Source: rd_kafka_conf_finalize and rd_kafka_connect_any of librdkafka, sparse_connect_intvl.
FAST_CONNECT: Mapping[str, int] = {"reconnect.backoff.ms": 20}
_SECRET = re.compile(r"password|secret|\.pem$|\.key$|token|oauthbearer\.config")
_SERVER = r"(?:[\w.-]+|\[[\w:.%-]+\])(?::\d+)?"
_SERVERS = re.compile(rf"\s*{_SERVER}(?:\s*,\s*{_SERVER})*\s*")
Value = str | int | float | bool | Callable[..., object]


@dataclass(frozen=True)
class Cluster:
    """A cluster's addresses, and the settings of librdkafka that reach it.

    Args:
        servers: ``host:port``, separated by commas.
        client: names in librdkafka's form and their values.
    """

    servers: str
    client: tuple[tuple[str, Value], ...] = ()

    @classmethod
    def of(cls, bootstrap_servers: object, options: Mapping[str, Value]) -> Cluster:
        """Check an address and a client's settings, without contacting any server.

        Raises:
            ConfigurationError: not an address; a setting that librdkafka does not know, or that is the library's.
        """
        text = bootstrap_servers if isinstance(bootstrap_servers, str) else ""
        if not _SERVERS.fullmatch(text):
            raise ConfigurationError(
                "bootstrap_servers= must be a text such as 'broker1:9092,broker2:9092'. A user and a password are keywords: "
                "security_protocol=, sasl_mechanism=, sasl_username=, sasl_password=."
            )
        client = dotted(options)
        for name in client:
            if name in RESERVED:
                raise ConfigurationError(f"{name.replace('.', '_')}= cannot be given: {RESERVED[name]}.")
        cluster = cls(re.sub(r"\s", "", text), tuple(sorted(client.items(), key=lambda item: item[0])))
        cluster._check()
        return cluster

    def _check(self) -> None:
        """Let librdkafka itself check the settings, by making and dropping a client that knows no server."""
        from confluent_kafka import KafkaException, Producer

        try:
            # Without an address it connects to nothing; the level keeps it from reporting that.
            Producer({**dict(self.client), "log_level": 0})
        except (KafkaException, TypeError, ValueError) as error:
            text = error.args[0].str() if isinstance(error, KafkaException) else str(error)
            raise ConfigurationError(
                f"a setting of the Kafka client is wrong: {self.scrub(text)}. Keywords that KafkaSink does not have are "
                "librdkafka's, with _ for each dot of their names."
            ) from None

    def __repr__(self) -> str:
        return f"Cluster({self.servers!r})"

    def settings(self, **more: Value) -> dict[str, Any]:
        """The settings of a client; ``more`` have ``_`` for each dot of their names."""
        return {"bootstrap.servers": self.servers, "logger": log, **FAST_CONNECT, **dict(self.client), **dotted(more)}

    def scrub(self, text: str) -> str:
        """Remove the settings' secrets from a text."""
        return scrub_texts(text, [str(value) for name, value in self.client if is_secret(name)])


def is_secret(name: str) -> bool:
    """Whether a setting's value must not be shown."""
    return _SECRET.search(name.replace("_", ".")) is not None


def dotted(options: Mapping[str, Value]) -> dict[str, Value]:
    """Keywords in librdkafka's spelling; ``oauth_cb`` and the like are Python's and keep theirs."""
    return {name if name.endswith("_cb") else name.replace("_", "."): value for name, value in options.items()}
