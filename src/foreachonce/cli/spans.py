"""A position in few characters, for people. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping

from foreachonce.cli.words import cut, plural
from foreachonce.position import Position, SourceSpan, log_pointer

SHOWN = 60


def short(position: Position, most: int = SHOWN) -> str:
    """Where a batch starts and ends, cut to so many characters."""
    spans = position.sources
    return cut("; ".join(f"{_named(source, spans)}{_short(span)}" for source, span in spans.items()), most)


def _named(source: str, spans: Mapping[str, SourceSpan]) -> str:
    return f"{source}: " if len(spans) > 1 else ""


def _short(span: SourceSpan) -> str:
    if log_pointer(span.end) is not None:
        return f"log {_or_dash(log_pointer(span.start))} → {log_pointer(span.end)}, {plural(len(span.files), 'file')}"
    topics = _topics(span)
    if topics:
        return ", ".join(topics)
    return f"{_or_dash(span.start)} → {_or_dash(span.end)}"


def _topics(span: SourceSpan) -> list[str]:
    """Of Kafka's offsets each topic with its partitions that have moved."""
    end, start = json.loads(span.end or "null"), json.loads(span.start or "{}")
    if not isinstance(end, dict) or not end or not all(isinstance(places, dict) for places in end.values()):
        return []
    return [_topic(topic, start.get(topic, {}), places) for topic, places in end.items()]


def _topic(topic: str, before: Mapping[str, object], after: Mapping[str, object]) -> str:
    pairs = ((number, before.get(number), place) for number, place in after.items())
    moved = [f"{number}: {_or_dash(start)} → {place}" for number, start, place in pairs if start != place]
    return f"{topic} {', '.join(moved) or 'unmoved'}"


def _or_dash(value: object) -> str:
    return "-" if value is None else str(value)
