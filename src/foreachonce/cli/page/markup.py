"""Elements of HTML and SVG; whatever is not markup already is escaped. Pure."""

from __future__ import annotations

from html import escape


class Markup(str):
    """A text that is markup; any other text that is put into an element is escaped."""

    __slots__ = ()


def tag(name: str, *children: object, **attributes: object) -> Markup:
    """An element. An attribute's name has ``_`` for each ``-``, and may end with one; None leaves it out."""
    given = {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items() if value is not None}
    start = "".join(f' {key}="{escape(str(value))}"' for key, value in given.items())
    return Markup(f"<{name}{start}>{joined(*children)}</{name}>")


def joined(*children: object) -> Markup:
    """Several, one after the other."""
    return Markup("".join(each if isinstance(each, Markup) else escape(str(each)) for each in children))
