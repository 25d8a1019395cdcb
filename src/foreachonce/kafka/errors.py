"""librdkafka's errors in our words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from confluent_kafka import KafkaError, KafkaException

from foreachonce.errors import CommitInDoubt, ConfigurationError, Conflict, ForeachOnceError, SinkUnavailable, WriteFailed
from foreachonce.kafka.cluster import Cluster

FENCED = {KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH}
RIGHTS = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "the right to a topic (WRITE, DESCRIBE; to a ledger topic also READ, CREATE)",
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: "the right to write transactional ids (WRITE and DESCRIBE)",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "the right to create topics (CREATE), or to write idempotently",
    KafkaError.GROUP_AUTHORIZATION_FAILED: "the right to use the group",
}
UNKNOWN = {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION}
PURGED = {KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT}
# What says that a server was not reached, or that it did not answer.
AWAY = {
    KafkaError._TIMED_OUT,
    KafkaError._TRANSPORT,
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._RESOLVE,
    KafkaError._SSL,
    KafkaError._AUTHENTICATION,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError.REQUEST_TIMED_OUT,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.BROKER_NOT_AVAILABLE,
}


class Complaints:
    """What a client's background threads complain about: a call that times out tells no reason, they do.

    They are told when the client is polled, which is done here before anybody asks.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.poll: Callable[[float], object] = lambda seconds: None
        self.told: list[str] = []
        self.refused: list[str] = []
        self.count = 0
        self.is_fenced = False

    def hear(self, error: KafkaError) -> None:
        """librdkafka's ``error_cb``."""
        text = self._cluster.scrub(error.str())
        self.count += 1
        self.is_fenced = self.is_fenced or error.code() in FENCED
        if text not in self.told:
            self.told.append(text)

    def hear_delivery(self, error: KafkaError | None, message: object) -> None:
        """librdkafka's ``on_delivery``, here called for records only that were not taken."""
        # What is purged was given up for a reason that the commit tells.
        if error is not None and error.code() not in PURGED and len(self.refused) < 3:
            topic = message.topic()  # type: ignore[attr-defined]
            self.refused.append(refusal(error, topic, self._cluster))

    @property
    def why(self) -> str:
        """The newest of them, to be put behind an error's text."""
        with suppress(KafkaException):  # what is fatal is known
            self.poll(0)
        return f" ({'; '.join(self.told[-3:])})" if self.told else ""


def refusal(error: KafkaError, topic: str, cluster: Cluster) -> str:
    """Why a record for a topic was not taken, and what to do."""
    code = error.code()
    if code == KafkaError.MSG_SIZE_TOO_LARGE:
        return f"topic {topic!r}: a record is larger than the topic's max.message.bytes, or the client's message_max_bytes="
    if code in UNKNOWN:
        return f"topic {topic!r} is not there, or lacks the partition; make it"
    if code in RIGHTS:
        return f"topic {topic!r}: the user lacks {RIGHTS[code]}"
    return f"topic {topic!r}: {cluster.scrub(error.str())}"


@contextmanager
def translated(cluster: Cluster, what: str, complaints: Complaints | None = None) -> Iterator[None]:
    """Errors of a step that commits nothing.

    Args:
        cluster: whose secrets are taken out of texts.
        what: the step, as in ``"topic 'orders'"``.
        complaints: of the client that takes the step.

    Raises:
        Conflict: another run has fenced this one off.
        SinkUnavailable, ConfigurationError, WriteFailed: as the error's code tells.
    """
    try:
        yield
    except KafkaException as caught:
        error = caught.args[0]
    else:
        return
    raise in_our_words(error, cluster, what, complaints)


def in_our_words(error: KafkaError, cluster: Cluster, what: str, complaints: Complaints | None = None) -> ForeachOnceError:
    """The error of a step that commits nothing."""
    code, text = error.code(), cluster.scrub(error.str())
    why = "" if complaints is None else complaints.why
    reasons: list[str] = [] if complaints is None else complaints.refused
    if code in FENCED or (complaints is not None and complaints.is_fenced):
        return Conflict(f"{what}: another run, or a task of one, has fenced this transaction off. Nothing was written.")
    if code == KafkaError.INVALID_TRANSACTION_TIMEOUT:
        return ConfigurationError(
            f"{what}: transaction_timeout_ms= is greater than the broker's transaction.max.timeout.ms (15 minutes unless "
            "set); make it less, or the broker's greater."
        )
    if code in RIGHTS:
        return WriteFailed(f"{what}: the user lacks {RIGHTS[code]}. Nothing was written.")
    if code in AWAY and not reasons:
        return SinkUnavailable(f"{what}: Kafka at {cluster.servers} does not answer: {text}{why}")
    return WriteFailed(f"{what}: {'; '.join(reasons) or text}. Nothing was written.")


def doubt(error: KafkaError, cluster: Cluster, what: str, complaints: Complaints) -> CommitInDoubt:
    """A commit that was sent and whose outcome is not known."""
    return CommitInDoubt(f"{what}: the reply to the commit did not come: {cluster.scrub(error.str())}{complaints.why}")
