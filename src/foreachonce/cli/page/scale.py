"""From values to places in a plot, and the ticks between. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import NamedTuple

MINUTE, HOUR, DAY = 60, 3600, 86400
# Steps that people count times by, in seconds.
TIMES = (
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE,
    15 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 7 * DAY, 14 * DAY, 28 * DAY,
    91 * DAY, 182 * DAY, 364 * DAY,
)  # fmt: skip
# What a logarithmic axis of durations may begin, end and be marked with.
_DURATIONS = (
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE,
    30 * MINUTE, HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 7 * DAY, 28 * DAY, 91 * DAY, 364 * DAY, 3640 * DAY,
)  # fmt: skip
# So many ticks stand beside each other.
_TICKS = 6


class Tick(NamedTuple):
    """A place on an axis."""

    value: float
    text: str


@dataclass(frozen=True)
class Axis:
    """Values to places: linear, or by their logarithm.

    Args:
        low, high: the values at both ends.
        start, end: their places; ``end`` may be the smaller, as on a y axis.
        ticks: what is written beside it.
        is_log: whether it goes by logarithms.
    """

    low: float
    high: float
    start: float
    end: float
    ticks: Sequence[Tick]
    is_log: bool = False

    def at(self, value: float) -> float:
        """The place of a value; one beyond an end is put there."""
        low, high, inside = (self._measure(each) for each in (self.low, self.high, min(max(value, self.low), self.high)))
        return round(self.start + (self.end - self.start) * (inside - low) / (high - low), 1)

    def _measure(self, value: float) -> float:
        return math.log10(value) if self.is_log else value


def time_axis(first: float, last: float, start: float, end: float) -> Axis:
    """An axis of moments, in seconds since 1970."""
    margin = max((last - first) / 100, 0.5 if last - first < 1 else 0)
    first, last = first - margin, last + margin
    step = step_of((last - first) / 7)
    ticks = [value for value in _multiples(first, last, step)]
    return Axis(first, last, start, end, [Tick(value, _moment(value, step, last - first)) for value in ticks])


def amount_axis(most: float, start: float, end: float) -> Axis:
    """An axis of amounts from 0 on."""
    rough = (most or 1) / 4
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * each for each in (1, 2, 5, 10) if power * each >= rough)
    high = math.ceil(max(most, step) / step) * step
    return Axis(0, high, start, end, [Tick(value, amount_text(value)) for value in _multiples(0, high, step)])


def duration_axis(least: float, most: float, start: float, end: float) -> Axis:
    """An axis of durations in seconds, by their logarithm."""
    low = max((each for each in _DURATIONS if each <= least), default=_DURATIONS[0])
    high = min((each for each in _DURATIONS if each >= most and each > low), default=max(most, 2 * low))
    inside = [each for each in _DURATIONS if low <= each <= high]
    ticks = inside[:: math.ceil(len(inside) / _TICKS)]
    return Axis(low, high, start, end, [Tick(each, time_text(each)) for each in ticks], is_log=True)


def step_of(rough: float) -> float:
    """The smallest step of time that people count by, and that is not less."""
    return next((each for each in TIMES if each >= rough), math.ceil(rough / (364 * DAY)) * 364 * DAY)


def amount_text(value: float) -> str:
    """An amount in few characters."""
    for limit, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:.3g}{unit}"
    return f"{value:.3g}"


def time_text(seconds: float) -> str:
    """A step of time in few characters."""
    for length, unit in ((DAY, "d"), (HOUR, "h"), (MINUTE, "min")):
        if seconds >= length:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds:.3g} s" if seconds >= 1 else f"{seconds * 1000:.3g} ms"


def _moment(value: float, step: float, span: float) -> str:
    at = datetime.fromtimestamp(value, timezone.utc)
    if step >= DAY:
        return f"{at:%Y-%m-%d}" if span > 300 * DAY else f"{at:%b} {at.day}"
    if at.hour == at.minute == at.second == 0 and step >= MINUTE:
        return f"{at:%b} {at.day}"
    if step >= MINUTE:
        return f"{at:%H:%M}"
    return f"{at:%T}" if step >= 1 else f"{at:%T}.{at.microsecond // 1000:03}"


def _multiples(low: float, high: float, step: float) -> list[float]:
    first = math.ceil(low / step - 1e-9)
    return [round(number * step, 9) for number in range(first, math.floor(high / step + 1e-9) + 1)]
