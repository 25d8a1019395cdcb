"""Every error that foreachonce raises, under one root, and the secrets that stay out of their texts."""

from __future__ import annotations

import re
from collections.abc import Sequence


class ForeachOnceError(Exception):
    """The root: ``except ForeachOnceError`` catches every error of this library."""


class ConfigurationError(ForeachOnceError, ValueError):
    """A keyword of a sink or decorator is missing, unknown or out of range; raised when the object is made.

    A batch raises it too, and is not written, where only then it shows: ``mode="overwrite"`` and a query whose batches are
    parts of its result, Python workers of Spark that lack this library, a Delta table's path that holds other files, a
    missing schema, or a merge's condition that Spark does not take.
    """


class EpochError(ForeachOnceError):
    """Spark does not tell the epoch: not inside foreachBatch, a streaming frame, or an unreadable checkpoint."""


class FrameError(ForeachOnceError):
    """The frame does not fit the table: a column is missing, unknown to the table, or of a type that loses values.

    Or one of its rows holds an unknown kind of change.
    """


class DuplicateKeys(FrameError):
    """A batch to be merged holds a key more than once, and no ``order_by=`` decides which row wins."""


class Mismatch(ForeachOnceError):
    """The epoch is not the one the ledger expects next; writing it would repeat or lose rows. Nothing was written."""


class LedgerError(ForeachOnceError):
    """The ledger cannot be used: it is damaged, of a newer foreachonce, or missing and cannot be made."""


class SinkUnavailable(ForeachOnceError):
    """The sink cannot be reached: wrong address, wrong password, no right to connect, or the server is gone."""


class WriteFailed(ForeachOnceError):
    """The sink refused a statement: a value, a constraint, a missing privilege.

    The transaction was rolled back: neither rows nor an entry were written.
    """


class Conflict(ForeachOnceError):
    """Another writer appended to the stream first; this transaction, rows and entry, was rolled back."""


class Fenced(ForeachOnceError):
    """A newer run has taken the stream over. This run has written nothing since, and must stop."""


class InDoubt(ForeachOnceError):
    """A function was called for the epoch and nothing shows whether it finished; it was not called again."""


class StateLost(ForeachOnceError):
    """The query keeps state, and the checkpoint to repair does not hold the state that the query needs."""


class Expired(ForeachOnceError):
    """The source no longer holds rows that the sink still lacks; nothing was started or changed."""


class BatchFailed(ForeachOnceError):
    """Spark could not compute the batch's rows: an error in a user-defined function, an expression or the source.

    Neither rows nor an entry were written. Spark's own error is the cause (``__cause__``).
    """


class CommitInDoubt(ForeachOnceError):
    """The connection or the Spark job was lost while the batch was written, and the ledger has no entry.

    The rows and the entry are both there, or neither is.
    """


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
