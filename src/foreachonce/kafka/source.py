"""Kafka as the source of a query: the oldest offsets that it still holds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from confluent_kafka import TopicPartition
from confluent_kafka.admin import OffsetSpec  # type: ignore[attr-defined]  # its stubs hide what it offers

from foreachonce.entry import Entry
from foreachonce.errors import ConfigurationError
from foreachonce.kafka.cluster import Cluster, Value
from foreachonce.kafka.errors import translating
from foreachonce.kafka.topic import SECONDS, admin_client


def earliest(entries: Sequence[Entry], settings: Mapping[str, Value]) -> dict[str, dict[int, int]]:
    """The first offset of each partition that the entries' positions end in, by topic.

    Args:
        entries: their positions name the topics and partitions.
        settings: ``bootstrap_servers``, and the client's settings as for :class:`~foreachonce.KafkaSink`.

    Raises:
        ConfigurationError: the address is missing, or a setting is wrong.
        SinkUnavailable: the cluster cannot be reached, or lacks a topic.
    """
    client = dict(settings)
    if "bootstrap_servers" not in client:
        raise ConfigurationError('kafka= must name "bootstrap_servers", as host:port.')
    cluster = Cluster.of(client.pop("bootstrap_servers"), client)
    oldest = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
    partitions = {partition: oldest for entry in entries for partition in _partitions(entry)}
    if not partitions:
        return {}
    admin, errors = admin_client(cluster)
    offsets: dict[str, dict[int, int]] = {}
    with translating(cluster, "kafka=", errors):
        for partition, answer in admin.list_offsets(partitions).items():
            offsets.setdefault(partition.topic, {})[partition.partition] = int(answer.result(SECONDS).offset)
    return offsets


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
