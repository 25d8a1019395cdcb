"""Kafka as a source: what it still holds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from confluent_kafka import TopicPartition
from confluent_kafka.admin import OffsetSpec  # type: ignore[attr-defined]  # its stubs hide what it offers

from foreachonce.entry import Entry
from foreachonce.errors import ConfigurationError
from foreachonce.kafka.cluster import Value, cluster
from foreachonce.kafka.errors import translated
from foreachonce.kafka.topic import SECONDS, admin_of


def earliest(entries: Sequence[Entry], settings: Mapping[str, Value]) -> dict[str, dict[int, int]]:
    """The first offset of each partition that the entries' positions end in, by topic.

    Raises:
        ConfigurationError: no address, or a setting is wrong.
        SinkUnavailable: the cluster cannot be reached, or lacks a topic.
    """
    client = dict(settings)
    if "bootstrap_servers" not in client:
        raise ConfigurationError('kafka= must name "bootstrap_servers", as host:port.')
    place = cluster(client.pop("bootstrap_servers"), client)
    oldest = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
    asked = {partition: oldest for entry in entries for partition in _partitions(entry)}
    if not asked:
        return {}
    admin, complaints = admin_of(place)
    found: dict[str, dict[int, int]] = {}
    with translated(place, "kafka=", complaints):
        for partition, answer in admin.list_offsets(asked).items():
            found.setdefault(partition.topic, {})[partition.partition] = int(answer.result(SECONDS).offset)
    return found


def _partitions(entry: Entry) -> list[TopicPartition]:
    offsets = [json.loads(span.end or "null") for span in entry.position.sources.values()]
    return [
        TopicPartition(topic, int(partition))
        for offset in offsets
        if isinstance(offset, dict)
        for topic, partitions in offset.items()
        if isinstance(partitions, dict)
        for partition in partitions
        if partition.isdigit()
    ]
