"""What a sink is. The runner calls it in this order, once an epoch:

1. ``head(epoch)``: one look at the ledger. (The runner decides; a replay ends here, and so does a refusal.)
2. ``take(epoch, head)``: before a run's first write: fence off every other run, and look again. (The runner decides anew.)
3. ``check(frame)``: refuse a frame that does not fit, before any row is written; a missing table may be made here. What it
   returns is the sink's own form of what is to be written, its *work*.
4. ``commit(work, entry)``: write the work and the entry together, or neither.

Where ``commit`` raises, the runner calls ``head`` again and believes the ledger.

A repair of the query's checkpoint, before a query starts, asks ``begun``, takes the stream, and calls ``append``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol, TypeVar

from foreachonce.entry import Entry, Found
from foreachonce.epoch import Epoch
from foreachonce.ledger import Ledger

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

OnMismatch = Literal["raise", "write"]
Work = TypeVar("Work")


class Sink(Protocol[Work]):
    """A place where rows and a ledger entry can be committed together."""

    @property
    def stream(self) -> str | None:
        """The stream's name, None to take the query's."""

    @property
    def checkpoint(self) -> str | None:
        """The path of the query's checkpoint; needed on Spark Connect only."""

    @property
    def on_mismatch(self) -> OnMismatch:
        """What becomes of an epoch that is not the one the ledger expects."""

    @property
    def guarantee(self) -> str:
        """What holds for the rows, in words that a user can check."""

    @property
    def ledger(self) -> Ledger:
        """The sink's ledger, to read."""

    def head(self, epoch: Epoch) -> Found:
        """Read the stream's newest entry, the entry of the epoch's own batch, and whether its run holds the stream.

        Raises:
            Fenced: the epoch's run has lost the stream to a newer one.
            SinkUnavailable: the sink cannot be reached.
            LedgerError: the ledger was made by a newer version, or cannot be made.
        """

    def take(self, epoch: Epoch, head: Entry | None) -> Found:
        """Take the stream over for the epoch's run, if ``head`` still is its newest entry; return what is there then.

        From then on no other run can write the stream, whatever it has begun. What such a run has left is cleared away.

        Raises:
            Fenced: the epoch's run has lost the stream to a newer one.
        """

    def check(self, frame: DataFrame) -> Work:
        """Refuse a frame that the sink cannot hold.

        Raises:
            FrameError: naming the table and the column.
        """

    def commit(self, work: Work, entry: Entry) -> int | None:
        """Commit the work and the entry together; return the number of rows, None where it is not known.

        Raises:
            Fenced: a newer run has taken the stream; nothing was written.
            WriteFailed: the sink refused the rows; nothing was written.
            Conflict: another writer was first; nothing was written.
            CommitInDoubt: the outcome is not known; the ledger tells.
        """

    def begun(self, stream: str) -> Entry | None:
        """The entry that a batch would have which was begun and not finished, so that only the same rows can finish it."""

    def append(self, entry: Entry) -> None:
        """Append an entry that has no rows, as the run that holds the stream.

        Raises:
            Fenced, Conflict, CommitInDoubt: as ``commit``.
        """
