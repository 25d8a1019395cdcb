"""What a sink is. The runner calls it in this order, once an epoch:

1. ``head(epoch)``: one look at the ledger. A sink that fences does so here, before it reads.
2. (the runner decides; a replay ends here.)
3. ``check(frame)``: refuse a frame that does not fit, before any row is written; a missing table may be made here.
4. ``commit(frame, entry)``: write the frame's rows and the entry together, or neither.

Where ``commit`` raises, the runner calls ``head`` again and believes the ledger.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

from foreachonce.entry import Entry, Found
from foreachonce.epoch import Epoch
from foreachonce.ledger import Ledger

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

OnMismatch = Literal["raise", "write"]


class Sink(Protocol):
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
        """Read the stream's newest entry, and the entry of the epoch's own batch.

        Raises:
            SinkUnavailable: the sink cannot be reached.
            LedgerError: the ledger was made by a newer version, or cannot be made.
        """

    def check(self, frame: DataFrame) -> None:
        """Refuse a frame that the sink cannot hold.

        Raises:
            FrameError: naming the table and the column.
        """

    def commit(self, frame: DataFrame, entry: Entry) -> int:
        """Commit the frame's rows and the entry together; return the number of rows.

        Raises:
            WriteFailed: the sink refused the rows; nothing was written.
            Conflict: another writer was first; nothing was written.
            CommitInDoubt: the outcome is not known; the ledger tells.
        """
