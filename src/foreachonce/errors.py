"""Every error that foreachonce raises, under one root.

Each message names the keyword, table or stream it is about, what was found, and what to do. No message holds a password:
texts that come from a driver pass through :func:`foreachonce.sql.url.scrub` first.
"""

from __future__ import annotations


class ForeachOnceError(Exception):
    """The root: ``except ForeachOnceError`` catches whatever this library refuses to do."""


class ConfigurationError(ForeachOnceError, ValueError):
    """A keyword of a sink or decorator is missing, unknown or out of range; raised when the object is made.

    Or ``mode="overwrite"`` meets a query whose batches are parts of its result, Spark's Python workers lack this library, a
    Delta table's path holds other files, its schema is not there, or a merge's condition is none; raised by a batch, which
    was not written.
    """


class EpochError(ForeachOnceError):
    """The epoch cannot be told from Spark: not inside foreachBatch, a streaming frame, or an unreadable checkpoint."""


class FrameError(ForeachOnceError):
    """The frame does not fit the table: a column is missing, unknown to the table, or of a type that loses values.

    Or one of its rows says what cannot be done: a change that is not known.
    """


class DuplicateKeys(FrameError):
    """A batch to be merged holds a key more than once, and nothing says which row wins."""


class Mismatch(ForeachOnceError):
    """The epoch is not the one the ledger expects next; writing it would repeat or lose rows. Nothing was written."""


class LedgerError(ForeachOnceError):
    """The ledger cannot be used: it is damaged, of a newer foreachonce, or there is none and none can be made."""


class SinkUnavailable(ForeachOnceError):
    """The sink cannot be reached: wrong address, wrong password, no right to connect, or the server is gone."""


class WriteFailed(ForeachOnceError):
    """The sink refused a statement: a value, a constraint, a right that is missing.

    The transaction was rolled back: neither rows nor an entry were written.
    """


class Conflict(ForeachOnceError):
    """Another writer appended to the stream first; this transaction, rows and entry, was rolled back."""


class Fenced(ForeachOnceError):
    """A newer run has taken the stream over. This run has written nothing since, and must not go on."""


class InDoubt(ForeachOnceError):
    """A function was begun for the epoch and nothing tells whether it finished; it was not called again."""


class StateLost(ForeachOnceError):
    """The query keeps state, and the checkpoint that is to be mended does not hold the state that it has to go on with."""


class Expired(ForeachOnceError):
    """The source no longer holds rows that the sink still lacks; nothing was started or changed."""


class CommitInDoubt(ForeachOnceError):
    """The connection or the Spark job was lost while the batch was written, and the ledger has no entry.

    The rows and the entry are both there, or neither is. A Spark job that failed for a reason of its own, such as an error
    in a user-defined function, is named in the message.
    """
