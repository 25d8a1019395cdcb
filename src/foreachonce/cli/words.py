"""Numbers and times for people. Pure."""

from __future__ import annotations


def number(value: float | None) -> str:
    """A number for people; a dash for none."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:,.1f}"


def duration(seconds: float | None) -> str:
    """A time for people, in its two greatest units."""
    if seconds is None:
        return "-"
    if seconds < 60:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"
    whole = int(seconds)
    for length, unit, shorter, smaller in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= length:
            return f"{whole // length} {unit} {whole % length // shorter} {smaller}"
    return f"{whole} s"


def cut(text: str, most: int) -> str:
    """The beginning of a text, so many characters at most."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def plural(count: int, one: str, many: str | None = None) -> str:
    """A number of things, in words."""
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"
