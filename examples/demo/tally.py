"""The flights of a topic, counted by a read_committed consumer."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import closing

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

SECONDS = 30


class Tally:
    """How often each flight is in a topic. Nothing of a transaction that is open or was aborted is counted.

    What a read_committed consumer has read never changes, so each look goes on where the one before came to the end.

    Args:
        servers: the broker's address.
        topic: the topic.
        partitions: how many the topic has.
    """

    def __init__(self, servers: str, topic: str, partitions: int) -> None:
        self._topic, self._next = topic, dict.fromkeys(range(partitions), 0)
        self._found: Counter[int] = Counter()
        self._settings = {
            "bootstrap.servers": servers,
            "isolation.level": "read_committed",
            "group.id": "foreachonce-demo",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "error",
            # At the end the broker need not wait for more.
            "fetch.wait.max.ms": 5,
            "log_level": 0,
        }

    def look(self) -> Counter[int]:
        """Count up to the end that is committed now; return how often each flight was read so far."""
        # None stays open between looks: it would go on fetching, beside the drivers.
        with closing(Consumer(self._settings)) as consumer:
            for partition, offset in self._next.items():
                consumer.assign([TopicPartition(self._topic, partition, offset)])
                for value, place in _to_the_end(consumer):
                    self._found[json.loads(value)["flight_id"]] += 1
                    self._next[partition] = place + 1
        return self._found


def _to_the_end(consumer: Consumer) -> Iterator[tuple[bytes, int]]:
    while (message := consumer.poll(SECONDS)) is not None:
        error = message.error()
        if error is None:
            yield message.value() or b"", message.offset() or 0
        elif error.code() == KafkaError._PARTITION_EOF:
            return
        else:
            raise KafkaException(error)
    raise TimeoutError(f"the broker has sent nothing for {SECONDS} s")
