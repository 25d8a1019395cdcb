"""Secrets taken out of texts that somebody else wrote. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence


def scrub_texts(text: str, secrets: Sequence[str]) -> str:
    """Take texts out of another, in whatever way they are encoded there."""
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = re.sub("".join(_forms(character) for character in secret), "***", text)
    return text.strip()


def hide_credentials(text: str) -> str:
    """Take what looks like a password out of a text of which nobody knows the secrets.

    That is what stands between a user's name and ``@`` in an address, and behind ``password=``.
    """
    text = re.sub(r"(://[^\s:/@]*:)\S*@", r"\1***@", text)
    return re.sub(r"(?i)(password=)[^\s&;,]+", r"\1***", text)


def _forms(character: str) -> str:
    """A pattern for a character, as it is or percent-encoded in either case; a space may be a plus."""
    encoded = "".join(f"%{byte:02x}" for byte in character.encode())
    plus = r"|\+" if character == " " else ""
    return f"(?:{re.escape(character)}|(?i:{encoded}){plus})"
