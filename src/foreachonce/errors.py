"""Every error that foreachonce raises, under one root, and the secrets that stay out of their texts."""

from __future__ import annotations

import re
from collections.abc import Sequence


class ForeachOnceError(Exception):
    """The root: ``except ForeachOnceError`` catches every error of this library.

    After any of them but [`ConfigurationError`][foreachonce.ConfigurationError], starting the query again is safe: the
    ledger decides what is written.
    """


class ConfigurationError(ForeachOnceError, ValueError):
    """A keyword of a sink or decorator is missing, unknown or out of range; raised when the object is made.

    A batch raises it where only then it shows:

    - ``mode="overwrite"`` with another output mode than complete;
    - Spark's Python workers lack a package;
    - Delta: the session lacks Delta Lake, the table is not Delta's, the path holds other files and no table, the catalog
      lacks the schema, or Spark does not understand ``when_matched`` or ``delete_when``;
    - Kafka: the topic of ``topic=`` does not exist, or ``transaction_timeout_ms`` is more than the broker allows.

    ``prepare`` and ``start`` raise it for a query that runs, a sink without ``stream=``, and a Spark Connect session.

    Nothing was written; on Kafka perhaps the record that the run has taken the stream.
    """


class EpochError(ForeachOnceError):
    """The epoch cannot be read from Spark. Nothing was written.

    The sink was not called by ``foreachBatch``, the frame is a stream, the stream has no name (neither ``stream=`` nor
    ``queryName``), or the checkpoint cannot be read.
    """


class FrameError(ForeachOnceError):
    """The frame does not fit the table: a column is missing, unknown to the table, or of a type that loses values.

    Or a row's ``op`` is not known, a row for Kafka names no topic, or the decorated function returned no frame.

    Nothing was written. A table that the batch created stays, empty.
    """


class DuplicateKeys(FrameError):
    """A batch to merge, or of changes, holds a key more than once, and ``order_by=`` does not decide which row wins.

    Nothing was written. A table that the batch created stays, empty.
    """


class Mismatch(ForeachOnceError):
    """The batch is neither the next one nor a replay: writing it would repeat or lose rows. Nothing was written.

    The message shows both positions, the sink, the call and the command that mend it, and the page of ``docs/operations``.

    ``prepare`` and ``start`` raise it where the checkpoint is another query's, the path holds something else than a
    checkpoint, the sinks are more than a batch apart, or neither ledger nor checkpoint shows which files were read. The
    checkpoint is then as it was.
    """


class LedgerError(ForeachOnceError):
    """The ledger cannot be used: it is damaged, of another schema version, missing and cannot be made, or not the driver's.

    - Delta: nothing shows the head any more, or a RESTORE came while the batch was written.
    - Kafka: the ledger topic has settings that would lose entries, more than one partition, or a record that somebody else
      wrote, or it has lost its entries.

    Nothing was written, with one exception: after a RESTORE during a batch, that batch is in the table, and the message says
    so.
    """


class SinkUnavailable(ForeachOnceError):
    """The sink cannot be reached: wrong address, wrong password, no right to connect, or the server is gone.

    Of Kafka: no broker answers, or not in time; wrong TLS or SASL settings and unknown names look the same.

    Raised before the commit, nothing was written. Raised later, the ledger shows it, and the next start reads it.
    """


class WriteFailed(ForeachOnceError):
    """The sink refused a statement: a value, a constraint, a missing right, or a merge's key that is NULL.

    - Delta: a value or a constraint failed the job.
    - Kafka: a header has no key, a record is too large, its topic does not exist, an ACL is missing, or the transaction
      takes too long.

    The transaction was rolled back: neither rows nor an entry were written.
    """


class Conflict(ForeachOnceError):
    """Another transaction was in the way: a deadlock, another writer of the stream or the Delta table, a fence in Kafka.

    The ledger was read again and does not hold the batch: neither rows nor an entry were written. ``prepare`` and ``start``
    raise it where another run goes on with the stream; the checkpoint is then as it was.
    """


class Fenced(ForeachOnceError):
    """A newer run has taken the stream over. This run has written nothing since, and stops."""


class InDoubt(ForeachOnceError):
    """A function was called for the batch, and nothing shows whether it finished.

    This start has neither called it again nor written anything. ``in_doubt=`` of ``exactly_once`` decides what happens.
    """


class StateLost(ForeachOnceError):
    """The query keeps state, and the checkpoint does not hold the state of the ledger's newest batch.

    Raised by ``prepare`` and ``start``. Nothing was written, and the checkpoint is as it was.
    """


class Expired(ForeachOnceError):
    """The source no longer holds rows that the sink lacks; the message names the files, or topics, partitions and offsets.

    Raised by ``prepare`` and ``start``. Nothing was written, and the checkpoint is as it was.
    """


class BatchFailed(ForeachOnceError):
    """Spark could not compute the batch's rows: an error in a user-defined function, an expression or the source.

    Neither rows nor an entry were written. Spark's own error is the cause (``__cause__``).
    """


class CommitInDoubt(ForeachOnceError):
    """The connection or the Spark job was lost while the batch was written, and the ledger does not hold the batch.

    Nothing was written, unless the server still carries the commit out; then rows and entry are both there, and the next
    start finds them.
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
