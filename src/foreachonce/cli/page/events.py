"""The library's logged events, read from a file of JSON lines."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from foreachonce.errors import ConfigurationError

_FLAT = "seconds_"


class Event(NamedTuple):
    """What became of one batch."""

    outcome: str
    batch_id: int
    seq: int | None
    seconds: Mapping[str, float]
    """How long each step took, by its name."""
    reason: str


def read(file: Path, stream: str) -> Iterator[Event]:
    """The events of a stream, in the file's order; other lines of JSON are passed over.

    A line is the event itself, or holds it as ``foreachonce``, the name under which the log's record has it.

    Raises:
        ConfigurationError: a line is no JSON, or an event that lacks what it must have.
    """
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                try:
                    event = _event(json.loads(line), stream)
                except (ValueError, TypeError, KeyError) as error:
                    raise ConfigurationError(f"--events {file}, line {number}: it is no event: {error!r}.") from None
                if event is not None:
                    yield event


def _event(line: Any, stream: str) -> Event | None:
    fields = line.get("foreachonce", line) if isinstance(line, dict) else None
    if not isinstance(fields, dict) or fields.get("stream") != stream or "outcome" not in fields:
        return None
    seq = fields.get("seq")
    seconds = fields.get("seconds") or {
        name.removeprefix(_FLAT): value for name, value in fields.items() if name.startswith(_FLAT)
    }
    return Event(
        outcome=str(fields["outcome"]),
        batch_id=int(fields["batch_id"]),
        seq=None if seq is None else int(seq),
        seconds={str(name): float(value) for name, value in seconds.items() if value is not None},
        reason=str(fields.get("reason", "")),
    )
