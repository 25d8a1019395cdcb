"""KafkaLedger: the ledger topics of a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from typing import Any

from foreachonce.entry import Entry, Epoch, LedgerState
from foreachonce.errors import CommitInDoubt, ConfigurationError, Conflict
from foreachonce.kafka.batch import HeldStream, KafkaBatch, held_by, hold, not_held
from foreachonce.kafka.cluster import Cluster, Value
from foreachonce.kafka.history import Taken, TopicHistory
from foreachonce.kafka.producer import fenced_producer
from foreachonce.kafka.topic import LONGEST, LedgerTopic, all_topics, ledger_topic, stream_of

PREFIX = "foreachonce."


class KafkaLedger:
    """The ledgers in a Kafka cluster's ledger topics, to read. It implements [`Ledger`][foreachonce.Ledger].

    An entry is in the same transaction as its records. Each stream has a topic of its own, ``foreachonce.<stream>``. Reading
    writes nothing, creates no topic, and needs no Spark. Only committed records are read. A stream without a topic raises
    nothing: ``head`` returns None and ``entries`` yields nothing. There is no ``prune``.

    Args:
        bootstrap_servers: as for [`KafkaSink`][foreachonce.KafkaSink].
        ledger_prefix: how the names of ledger topics begin.
        transactions: as for the sink; it matters to a sink's own ledger only.
        transaction_timeout_ms: as for the sink; it matters to a sink's own ledger only.
        **client: as for `KafkaSink`.

    Raises:
        ConfigurationError: at once, for a wrong keyword.
        SinkUnavailable: by every method: the cluster cannot be reached.
        LedgerError: by every method: a ledger topic holds records that this library did not write.
    """

    def __init__(
        self,
        bootstrap_servers: str,
        *,
        ledger_prefix: str = PREFIX,
        transactions: int = 1,
        transaction_timeout_ms: int = 900_000,
        **client: Value,
    ) -> None:
        _check_whole("transactions", transactions, 1, 64)
        _check_whole("transaction_timeout_ms", transaction_timeout_ms, 1000, 2**31 - 1)
        self.cluster = Cluster.of(bootstrap_servers, client)
        self.prefix = _check_prefix(ledger_prefix)
        self.transactions, self._timeout_ms = transactions, transaction_timeout_ms
        # By stream; held_by() finds it, this keeps it alive.
        self._held: dict[str, HeldStream] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_held": {}}

    def __eq__(self, other: object) -> bool:
        """Whether both are the same cluster's topics."""
        return isinstance(other, KafkaLedger) and (self.cluster, self.prefix) == (other.cluster, other.prefix)

    def __hash__(self) -> int:
        return hash((self.cluster, self.prefix))

    def __repr__(self) -> str:
        return f"KafkaLedger({self.cluster.servers!r}, ledger_prefix={self.prefix!r})"

    def topic(self, stream: str) -> str:
        """The name of a stream's ledger topic.

        Raises:
            ConfigurationError: the stream's name is too long.
        """
        return self._topic(stream).name

    def streams(self) -> list[str]:
        """The names of all streams, sorted; also one that a run has taken and not written yet."""
        streams = (stream_of(self.prefix, topic) for topic in all_topics(self.cluster))
        return sorted(stream for stream in streams if stream is not None)

    def head(self, stream: str) -> Entry | None:
        """The stream's newest entry whose transactions are all committed; None where it has none.

        It reads the topic's end, not the whole topic.
        """
        return self._read(stream, lambda history: history.head is not None).head

    def entries(self, stream: str, *, after: int = -1) -> Iterator[Entry]:
        """Yield the stream's entries with a greater seq than ``after``, in order of seq.

        It first reads the topic into memory, as far back as ``after``. An epoch that lacks some of its transactions is among
        them only if others follow it; its ``parts`` are then set.
        """

        def reaches_back(history: TopicHistory) -> bool:
            return any(epoch.entry.seq <= after + 1 for epoch in history.epochs[:1])

        epochs = self._read(stream, reaches_back).epochs
        for epoch in epochs:
            if epoch.entry.seq > after and (epoch.is_complete or epoch is not epochs[-1]):
                yield epoch.entry

    def unfinished(self, stream: str) -> Entry | None:
        """The entry of the newest epoch if some of its transactions are missing."""
        unfinished = self._read(stream, lambda history: history.newest is not None).unfinished
        return None if unfinished is None else unfinished.entry

    def history(self, stream: str) -> TopicHistory:
        """All records of the stream's ledger topic."""
        return self._read(stream, lambda history: False)

    def look(self, epoch: Epoch) -> LedgerState:
        """Read what the ledger holds for an epoch; see `Ledger`.

        A run that holds the stream and has seen no error knows its ledger without reading: if another run had taken the
        stream, this run's next transaction would fail.

        Raises:
            Fenced: the epoch's run has lost the stream to a newer one.
        """
        held = self._held_by(epoch)
        if held is not None and held.history is not None:
            return held.history.state(epoch, is_held=True)
        topic = self._topic(epoch.stream)
        history = topic.read_for(epoch)
        if held is None:
            history.check_unknown(epoch)
            return history.state(epoch, is_held=False)
        history.check_holder(epoch)
        if held.is_in_doubt:
            history = self._fence(topic, range(history.ids), epoch)
        held.history, held.is_in_doubt = history, False
        return history.state(epoch, is_held=True)

    def take(self, epoch: Epoch, head: Entry | None) -> LedgerState:
        """Take the stream over for the epoch's run; see `Ledger`.

        A record names the new holder, in a transaction of the first transactional id. A run that has not seen the record
        cannot have begun a transaction of that id after it; the fences that follow end those of the other ids.

        Raises:
            Fenced: another run has taken the stream from this one.
        """
        topic = self._topic(epoch.stream)
        topic.create()
        try:
            return self._take(topic, epoch, head)
        except (Conflict, CommitInDoubt):
            # Another run takes the stream at the same time: see which of them holds it now.
            return self.look(epoch)

    def _take(self, topic: LedgerTopic, epoch: Epoch, head: Entry | None) -> LedgerState:
        producer = fenced_producer(topic, 0, self._timeout_ms)
        history = topic.read_for(epoch)
        state = history.state(epoch, is_held=False)
        if state.head != head:
            return state
        taken = self._taken(epoch, history)
        with producer.transaction():
            producer.put_entry(taken)
        history = history.followed_by(taken)
        if taken.ids > 1:
            history = self._fence(topic, range(1, taken.ids), epoch)
        self._held[epoch.stream] = held = hold(topic, epoch.run_id, history)
        held.keep(producer)
        return history.state(epoch, is_held=True)

    def _fence(self, topic: LedgerTopic, numbers: range, epoch: Epoch) -> TopicHistory:
        """End what is open under some transactional ids, and read the ledger, which the epoch's run must still hold."""
        for number in numbers:
            fenced_producer(topic, number, self._timeout_ms)
        history = topic.read_for(epoch)
        history.check_holder(epoch)
        return history

    def _taken(self, epoch: Epoch, history: TopicHistory) -> Taken:
        token = 0 if history.holder is None else history.holder.token + 1
        return Taken(
            run_id=epoch.run_id,
            query_id=epoch.query_id,
            time=datetime.now(timezone.utc),
            token=token,
            ids=max(self.transactions, history.ids),
        )

    def append(self, entry: Entry) -> None:
        """Append an entry without records; see `Ledger`."""
        held, batch = self.held(entry), self.batch(entry)
        held.commit(batch, lambda batch, before: held.commit_rows(batch, [], before))

    def held(self, entry: Entry) -> HeldStream:
        """What the entry's run knows of the stream that it has taken.

        Raises:
            Conflict: it has not taken it.
        """
        held = self._held_by(entry.epoch)
        if held is None:
            raise not_held(entry)
        return held

    def batch(self, entry: Entry, topic: str | None = None) -> KafkaBatch:
        """An epoch to write, whose rows go to ``topic``, or to the topics that they name."""
        return KafkaBatch(self._topic(entry.stream), entry, topic, self._timeout_ms)

    def _held_by(self, epoch: Epoch) -> HeldStream | None:
        held = held_by(self._topic(epoch.stream), epoch.run_id)
        if held is not None:
            self._held[epoch.stream] = held
        return held

    def _topic(self, stream: str) -> LedgerTopic:
        return ledger_topic(self.cluster, self.prefix, stream)

    def _read(self, stream: str, is_enough: Callable[[TopicHistory], bool]) -> TopicHistory:
        return self._topic(stream).read(is_enough)


def _check_whole(keyword: str, value: object, least: int, most: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ConfigurationError(f"{keyword}={value!r} must be a whole number from {least} to {most}.")


def _check_prefix(prefix: object) -> str:
    allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"
    if not isinstance(prefix, str) or not prefix or len(prefix) > LONGEST // 2 or not set(prefix) <= set(allowed):
        raise ConfigurationError(
            f"ledger_prefix={prefix!r} must be the beginning of a topic's name: letters, digits, dots, _ and -."
        )
    return prefix
