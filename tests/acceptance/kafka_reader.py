"""A read-committed consumer of a topic."""

from __future__ import annotations

import json
from collections import Counter
from threading import Lock

from confluent_kafka import Consumer, KafkaError, TopicPartition

from tests.acceptance.reader import FILE_IDS, Reader
from tests.servers.kafka import READ

# How long the broker may say nothing, where there is nothing new.
QUIET_SECONDS = 0.3


class KafkaReader(Reader):
    """Reads on from where it was, to the end that is stable, and counts each file's records.

    Of one partition: Kafka marks a transaction's end in each partition by itself.
    """

    def __init__(self, servers: str, topic: str) -> None:
        super().__init__()
        self._consumer, self._lock = Consumer({**READ, "bootstrap.servers": servers}), Lock()
        self._consumer.assign([TopicPartition(topic, 0, 0)])
        self._ids: list[int] = []

    def look(self) -> None:
        """Count the records of each file among all that can be read now."""
        self.note(Counter(number // FILE_IDS for number in self.ids()))
        self.looks += 1

    def ids(self) -> list[int]:
        """All ids in the topic, in order."""
        with self._lock:
            while message := self._consumer.poll(QUIET_SECONDS):
                if message.error() is None:
                    self._ids.append(json.loads(message.value() or b"")["id"])
                elif message.error().code() == KafkaError._PARTITION_EOF:
                    break
            return sorted(self._ids)

    def close(self) -> None:
        """Close the connection."""
        self._consumer.close()
