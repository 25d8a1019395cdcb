"""A read-committed consumer of a topic."""

from __future__ import annotations

import json
from collections import Counter

from foreachonce.testing.kafka import Reader as Topic
from tests.acceptance.reader import FILE_IDS, Reader


class KafkaReader(Reader):
    """Reads on from where it was, up to what is stable, and counts each file's records.

    Of one partition: Kafka marks a transaction's end in each partition by itself.
    """

    def __init__(self, servers: str, topic: str) -> None:
        super().__init__()
        self._topic, self._name = Topic(servers), topic

    def look(self) -> None:
        """Count the records of each file among all that can be read now."""
        self.note(Counter(number // FILE_IDS for number in self.ids()))
        self.looks += 1

    def ids(self) -> list[int]:
        """All ids in the topic, in order."""
        return sorted(json.loads(value or b"")["id"] for value in self._topic.values(self._name))
