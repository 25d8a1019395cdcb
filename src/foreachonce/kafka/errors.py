"""librdkafka's errors, translated into this library's."""

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
UNKNOWN_TOPIC = {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION}
PURGED = {KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT}
# The client did not reach a server, or got no answer.
UNAVAILABLE = {
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


class ClientErrors:
    """The errors that a client's background threads report: a call that times out gives no reason, these do.

    The client delivers them when it is polled, which :attr:`recent` does first.

    Attributes:
        poll: the client's ``poll``.
        rejections: why records were rejected, up to three.
        count: how many errors there were.
        is_fenced: whether one of them says that another producer has taken the transactional id.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._texts: list[str] = []
        self.poll: Callable[[float], object] = lambda seconds: None
        self.rejections: list[str] = []
        self.count = 0
        self.is_fenced = False

    def on_error(self, error: KafkaError) -> None:
        """librdkafka's ``error_cb``."""
        text = self._cluster.scrub(error.str())
        self.count += 1
        self.is_fenced = self.is_fenced or error.code() in FENCED
        if text not in self._texts:
            self._texts.append(text)

    def on_delivery(self, error: KafkaError | None, message: object) -> None:
        """librdkafka's ``on_delivery``, called for rejected records only."""
        # A purged record was given up for a reason that the commit reports.
        if error is not None and error.code() not in PURGED and len(self.rejections) < 3:
            topic = message.topic()  # type: ignore[attr-defined]
            self.rejections.append(rejection(error, topic, self._cluster))

    @property
    def recent(self) -> str:
        """The newest errors, to be put behind an error's text."""
        with suppress(KafkaException):  # a fatal error is reported already
            self.poll(0)
        return f" ({'; '.join(self._texts[-3:])})" if self._texts else ""


def rejection(error: KafkaError, topic: str, cluster: Cluster) -> str:
    """Why a record for a topic was rejected, and what to do."""
    code = error.code()
    if code == KafkaError.MSG_SIZE_TOO_LARGE:
        return f"topic {topic!r}: a record is larger than the topic's max.message.bytes, or the client's message_max_bytes="
    if code in UNKNOWN_TOPIC:
        return f"topic {topic!r} does not exist, or lacks the partition; create it"
    if code in RIGHTS:
        return f"topic {topic!r}: the user lacks {RIGHTS[code]}"
    return f"topic {topic!r}: {cluster.scrub(error.str())}"


@contextmanager
def translating(cluster: Cluster, what: str, errors: ClientErrors | None = None) -> Iterator[None]:
    """Translate the errors of a step that commits nothing.

    Args:
        cluster: its secrets are removed from texts.
        what: the step, as in ``"topic 'orders'"``.
        errors: of the client that takes the step.

    Raises:
        Conflict: another run has fenced this one off.
        SinkUnavailable, ConfigurationError, WriteFailed: by the error's code.
    """
    try:
        yield
    except KafkaException as caught:
        error = caught.args[0]
    else:
        return
    raise translate(error, cluster, what, errors)


def translate(error: KafkaError, cluster: Cluster, what: str, errors: ClientErrors | None = None) -> ForeachOnceError:
    """The error of a step that commits nothing; see :func:`translating`."""
    code, text = error.code(), cluster.scrub(error.str())
    recent = "" if errors is None else errors.recent
    rejections: list[str] = [] if errors is None else errors.rejections
    if code in FENCED or (errors is not None and errors.is_fenced):
        return Conflict(f"{what}: another run, or a task of one, has fenced this transaction off. Nothing was written.")
    if code == KafkaError.INVALID_TRANSACTION_TIMEOUT:
        return ConfigurationError(
            f"{what}: transaction_timeout_ms= is greater than the broker's transaction.max.timeout.ms (15 minutes by "
            "default). Lower the one or raise the other."
        )
    if code in RIGHTS:
        return WriteFailed(f"{what}: the user lacks {RIGHTS[code]}. Nothing was written.")
    if code in UNAVAILABLE and not rejections:
        return SinkUnavailable(f"{what}: Kafka at {cluster.servers} does not answer: {text}{recent}")
    return WriteFailed(f"{what}: {'; '.join(rejections) or text}. Nothing was written.")


def commit_in_doubt(error: KafkaError, cluster: Cluster, what: str, errors: ClientErrors) -> CommitInDoubt:
    """The error of a commit that was sent and whose outcome is unknown."""
    return CommitInDoubt(f"{what}: the reply to the commit did not come: {cluster.scrub(error.str())}{errors.recent}")
