"""The order of two offsets of one source, as far as their JSON tells it. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Literal

Order = Literal["equal", "behind", "ahead", "unordered"]
JsonValue = None | bool | int | float | str | list["JsonValue"] | dict[str, "JsonValue"]


def order(offset: str | None, other: str | None) -> Order:
    """Tell where ``offset`` stands against ``other``; both are JSON texts of Spark's offset log, None before the start.

    Numbers at the same place are compared (``{"logOffset":3}``, Kafka's ``{"topic":{"0":17}}``); a Kafka partition that
    only one side has counts as ahead there. Anything else that differs cannot be ordered.
    """
    if offset is None or other is None:
        return "equal" if offset is other else ("behind" if offset is None else "ahead")
    left, right = json.loads(offset), json.loads(other)
    if left == right:
        return "equal"
    steps = set(_steps(left, right)) - {"equal"}
    return steps.pop() if len(steps) == 1 else "unordered"


def records_between(start: str | None, end: str | None) -> int | None:
    """At most how many records lie between two of Kafka's offsets; None for the offsets of any other source."""
    if end is None:
        return 0
    last, first = json.loads(end), json.loads(start or "{}")
    if not isinstance(last, dict) or not isinstance(first, dict):
        return None
    total = 0
    for topic, partitions in last.items():
        if not isinstance(partitions, dict) or not all(_is_number(place) for place in partitions.values()):
            return None
        before = first.get(topic, {})
        total += sum(int(place) - int(before.get(number, 0)) for number, place in partitions.items())
    return total


def kafka_offsets(offset: str | None) -> dict[str, dict[int, int]]:
    """Kafka's offsets by topic and partition; none for another source's."""
    found = json.loads(offset or "null")
    if not isinstance(found, dict) or not all(map(_is_partitions, found.values())):
        return {}
    return {topic: {int(partition): place for partition, place in places.items()} for topic, places in found.items()}


def _is_partitions(value: JsonValue) -> bool:
    return isinstance(value, dict) and all(key.isdecimal() and _is_number(place) for key, place in value.items())


def _steps(left: JsonValue, right: JsonValue) -> Iterator[Order]:
    if isinstance(left, dict) and isinstance(right, dict):
        if left.keys() - right.keys():
            yield "ahead"
        if right.keys() - left.keys():
            yield "behind"
        for key in left.keys() & right.keys():
            yield from _steps(left[key], right[key])
    elif left == right:
        yield "equal"
    elif _is_number(left) and _is_number(right):
        yield "behind" if left < right else "ahead"  # type: ignore[operator]
    else:
        yield "unordered"


def _is_number(value: JsonValue) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
