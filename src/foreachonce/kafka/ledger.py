"""KafkaLedger: the ledger topics of a cluster, read as the ledgers of their streams."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from foreachonce.entry import Entry, LedgerState, Parts
from foreachonce.epoch import Epoch
from foreachonce.errors import ConfigurationError
from foreachonce.kafka.cluster import Cluster, Value, cluster
from foreachonce.kafka.history import History
from foreachonce.kafka.hold import look, take
from foreachonce.kafka.topic import LONGEST, name, reading, stream_of, topics
from foreachonce.kafka.write import Batch, write

PREFIX = "foreachonce."


class KafkaLedger:
    """The ledgers that a Kafka cluster's ledger topics hold: an entry is in the same transaction as its records.

    Each stream has a topic of its own, ``foreachonce.<stream>``. Reading writes nothing and makes no topic. Only what is
    committed is read.

    Args:
        bootstrap_servers, client: as for :class:`~foreachonce.KafkaSink`.
        ledger_prefix: how the names of ledger topics begin.

    Raises:
        ConfigurationError: at once, for a wrong keyword.
        SinkUnavailable: by every method, where the cluster cannot be reached.
        LedgerError: by every method, where a ledger topic holds what is none of this library's.
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
        self.transactions, self.timeout_ms = transactions, transaction_timeout_ms
        self.cluster: Cluster = cluster(bootstrap_servers, client)
        self.prefix = check_prefix(ledger_prefix)

    def __eq__(self, other: object) -> bool:
        """Whether both are the same cluster's topics."""
        return isinstance(other, KafkaLedger) and (self.cluster, self.prefix) == (other.cluster, other.prefix)

    def __hash__(self) -> int:
        return hash((self.cluster, self.prefix))

    def __repr__(self) -> str:
        return f"KafkaLedger({self.cluster.servers!r}, ledger_prefix={self.prefix!r})"

    def streams(self) -> list[str]:
        """The names of all streams."""
        return sorted(found for topic in topics(self.cluster) if (found := stream_of(self.prefix, topic)) is not None)

    def head(self, stream: str) -> Entry | None:
        """The stream's newest entry, all of whose transactions are committed; None where it has none."""
        return self._newest(stream, lambda history: history.head is not None).head

    def entries(self, stream: str, *, after: int = -1) -> Iterator[Entry]:
        """Yield the stream's entries in order of seq, those of a greater seq than ``after``.

        An epoch that lacks some of its transactions is among them only if others follow it; its ``parts`` are then set.
        """
        epochs = self._newest(stream, lambda history: any(each.entry.seq <= after + 1 for each in history.epochs[:1])).epochs
        for written in epochs:
            if written.entry.seq <= after:
                continue
            if written.is_complete:
                yield written.entry
            elif written is not epochs[-1]:
                yield replace(written.entry, parts=Parts(len(written.done), written.parts))

    def look(self, epoch: Epoch) -> LedgerState:
        """Read the topic's end; a run that holds the stream knows it."""
        return look(self, epoch, self.timeout_ms)

    def take(self, epoch: Epoch, head: Entry | None) -> LedgerState:
        """Fence the stream's transactional ids, and record who holds it."""
        return take(self, epoch, head, ids=self.transactions, timeout_ms=self.timeout_ms)

    def append(self, entry: Entry) -> None:
        """Append an entry without records."""
        write(Batch(self, entry, None, self.timeout_ms), None, "driver", 1)

    def unfinished(self, stream: str) -> Entry | None:
        """The entry of the newest epoch, where some of its transactions are missing."""
        found = self._newest(stream, lambda history: history.newest is not None).unfinished
        return None if found is None else found.entry

    def history(self, stream: str) -> History:
        """All that the stream's ledger topic holds."""
        return self._newest(stream, lambda history: False)

    def _newest(self, stream: str, is_enough: Callable[[History], bool]) -> History:
        with reading(self.cluster, self.topic(stream), stream) as reader:
            return reader.newest(is_enough)

    def topic(self, stream: str) -> str:
        """The name of a stream's ledger topic.

        Raises:
            ConfigurationError: the stream's name is too long for it.
        """
        return name(self.prefix, stream)


def check_prefix(prefix: object) -> str:
    """What a topic's name may begin with."""
    allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"
    if not isinstance(prefix, str) or not prefix or len(prefix) > LONGEST // 2 or not set(prefix) <= set(allowed):
        raise ConfigurationError(
            f"ledger_prefix={prefix!r} must be the beginning of a topic's name: letters, digits, dots, _ and -."
        )
    return prefix
