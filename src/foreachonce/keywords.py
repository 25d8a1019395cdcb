"""Checks of keywords that sinks share. An error names the keyword, the value and what is allowed. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from foreachonce.errors import ConfigurationError


def one_of(keyword: str, value: object, allowed: Sequence[str], more: str = "") -> None:
    """Refuse a value that is not among those allowed; ``more`` names what else would do."""
    if value not in allowed:
        known = ", ".join([*map(repr, allowed), *([more] if more else [])])
        raise ConfigurationError(f"{keyword}={value!r} is not known; it is one of {known}.")


def texts(**values: str | None) -> None:
    """Refuse what is neither a text of at least one character nor None."""
    for keyword, value in values.items():
        if value is not None and (not isinstance(value, str) or not value.strip()):
            raise ConfigurationError(f"{keyword}={value!r} must be a text of at least one character.")
        if value is not None and "\0" in value:
            raise ConfigurationError(f"{keyword}={value!r} has a NUL character, which no database and no topic can name.")


def flags(**values: bool) -> None:
    """Refuse what is neither True nor False."""
    for keyword, value in values.items():
        if not isinstance(value, bool):
            raise ConfigurationError(f"{keyword}={value!r} must be True or False.")


def names(keyword: str, value: str | Sequence[str] | None) -> tuple[str, ...]:
    """One column's name or several, as a tuple."""
    if value is None:
        return ()
    listed = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, Sequence) else (None,)
    if not all(isinstance(name, str) and name for name in listed) or len(set(listed)) != len(listed):
        raise ConfigurationError(f'{keyword}={value!r} must be column names, each once, such as ["order_id"].')
    return tuple(str(name) for name in listed)
