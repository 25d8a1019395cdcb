"""Where a Kafka cluster is and how a client reaches it, without the secrets in either."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from foreachonce.errors import ConfigurationError
from foreachonce.secrets import scrub_texts

# What librdkafka itself has to say.
log = logging.getLogger("foreachonce.kafka")
# It says a line for each attempt to connect; errors tell the reasons once, and who wants more configures logging.
log.addHandler(logging.NullHandler())

# What the library decides; the keyword that decides it, or why it cannot be chosen.
OWN = {
    "bootstrap.servers": "it is the first argument",
    "metadata.broker.list": "it is the first argument",
    "transactional.id": "the library derives it from stream=",
    "transaction.timeout.ms": "say transaction_timeout_ms=",
    "enable.idempotence": "a transaction needs it",
    "acks": "a transaction needs all of them",
    "request.required.acks": "a transaction needs all of them",
    "isolation.level": "the ledger is read committed",
    "group.id": "the ledger is read without a group",
    "enable.auto.commit": "the ledger is read without a group",
    "auto.offset.reset": "the ledger is read from where the library says",
    "enable.partition.eof": "the library reads to the end",
    "delivery.report.only.error": "the library counts by itself",
    "error_cb": "the library tells errors",
    "on_delivery": "the library tells errors",
    "logger": "what the client says goes to the logger 'foreachonce.kafka'",
}
# A new client asks the bootstrap server for the brokers and connects to one of them only after half of this time.
# Source: rd_kafka_conf_finalize and rd_kafka_connect_any of librdkafka, sparse_connect_intvl.
SOON: Mapping[str, int] = {"reconnect.backoff.ms": 20}
_SECRET = re.compile(r"password|secret|\.pem$|\.key$|token|oauthbearer\.config")
Value = str | int | float | bool | Callable[..., object]


@dataclass(frozen=True)
class Cluster:
    """A cluster's addresses, and the settings of librdkafka that reach it.

    Args:
        servers: ``host:port``, with commas between.
        client: names in librdkafka's form and their values.
    """

    servers: str
    client: tuple[tuple[str, Value], ...] = ()

    def __repr__(self) -> str:
        return f"Cluster({self.servers!r})"

    def settings(self, **more: Value) -> dict[str, Any]:
        """The settings of a client; ``more`` have ``_`` for each dot of their names."""
        return {"bootstrap.servers": self.servers, "logger": log, **SOON, **dict(self.client), **dotted(more)}

    def scrub(self, text: str) -> str:
        """Take the settings' secrets out of a text."""
        return scrub_texts(text, [str(value) for name, value in self.client if is_secret(name)])


def is_secret(name: str) -> bool:
    """Whether a setting's value is shown nowhere."""
    return _SECRET.search(name.replace("_", ".")) is not None


def dotted(options: Mapping[str, Value]) -> dict[str, Value]:
    """Keywords as librdkafka spells them; ``oauth_cb`` and the like are Python's and stay."""
    return {name if name.endswith("_cb") else name.replace("_", "."): value for name, value in options.items()}


def cluster(bootstrap_servers: object, options: Mapping[str, Value]) -> Cluster:
    """Check an address and a client's settings, without a word to any server.

    Raises:
        ConfigurationError: not an address, a setting that librdkafka does not know or that is the library's.
    """
    listed = bootstrap_servers if isinstance(bootstrap_servers, str) else ""
    if not re.fullmatch(r"\s*(?:[\w.-]+|\[[\w:.%-]+\])(?::\d+)?(?:\s*,\s*(?:[\w.-]+|\[[\w:.%-]+\])(?::\d+)?)*\s*", listed):
        raise ConfigurationError(
            "bootstrap_servers= must be a text such as 'broker1:9092,broker2:9092'; a user and a password are keywords: "
            "security_protocol=, sasl_mechanism=, sasl_username=, sasl_password=."
        )
    client = dotted(options)
    for name in client:
        if name in OWN:
            raise ConfigurationError(f"{name.replace('.', '_')}= cannot be given: {OWN[name]}.")
    made = Cluster(re.sub(r"\s", "", listed), tuple(sorted(client.items(), key=lambda item: item[0])))
    _check(made)
    return made


def _check(made: Cluster) -> None:
    """Let librdkafka itself judge the settings: a client that knows no server is made and dropped."""
    from confluent_kafka import KafkaException, Producer

    try:
        # Without an address nothing is connected; the level keeps it from saying so.
        Producer({**dict(made.client), "log_level": 0})
    except (KafkaException, TypeError, ValueError) as error:
        text = error.args[0].str() if isinstance(error, KafkaException) else str(error)
        raise ConfigurationError(
            f"a setting of the Kafka client is wrong: {made.scrub(text)}. Keywords that KafkaSink does not have are "
            "librdkafka's, with _ for each dot of their names."
        ) from None
