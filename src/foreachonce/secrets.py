"""Take secrets out of texts that others wrote. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence


def scrub_texts(text: str, secrets: Sequence[str]) -> str:
    """Replace secrets in a text, in whatever way they are encoded there."""
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = re.sub("".join(_forms(character) for character in secret), "***", text)
    return text.strip()


def hide_credentials(text: str) -> str:
    """Replace what looks like a password in a text whose secrets are unknown.

    That is what comes between a user's name and ``@`` in an address, and after ``password=``.
    """
    text = re.sub(r"(://[^\s:/@]*:)\S*@", r"\1***@", text)
    return re.sub(r"(?i)(password=)[^\s&;,]+", r"\1***", text)


def _forms(character: str) -> str:
    """A pattern for a character, as it is or percent-encoded in either case; a space may be a plus."""
    encoded = "".join(f"%{byte:02x}" for byte in character.encode())
    plus = r"|\+" if character == " " else ""
    return f"(?:{re.escape(character)}|(?i:{encoded}){plus})"
