"""What a sink is. The runner calls it in this order, once an epoch:

1. ``ledger.look(epoch)``, and :func:`~foreachonce.decide.decide`. A replay ends here, and so does a refusal.
2. Before a run's first write: ``ledger.take(epoch, head)``, then ``begin_run(epoch)``, and decide again.
3. ``check(frame)``: refuse a frame that does not fit before any row is written. The result is the sink's *work*, in a form
   of its own.
4. ``commit(work, entry)``: write the work and the entry together, or neither.

A sink of this library derives from :class:`~foreachonce.base.BaseSink`, which has the keywords that all share.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol, TypeVar

from foreachonce.entry import Entry, Epoch
from foreachonce.ledger import Ledger

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

OnMismatch = Literal["raise", "write"]
Work = TypeVar("Work")


class Sink(Protocol[Work]):
    """A place where rows and a ledger entry can be committed together. ``str(sink)`` describes it, without secrets."""

    @property
    def stream(self) -> str | None:
        """The stream's name; None takes the query's name."""

    @property
    def checkpoint(self) -> str | None:
        """The path of the query's checkpoint; needed on Spark Connect only."""

    @property
    def on_mismatch(self) -> OnMismatch:
        """What happens to an epoch that is not the one the ledger expects."""

    @property
    def heal(self) -> bool:
        """Whether ``start()`` repairs the query's checkpoint first."""

    @property
    def guarantee(self) -> str:
        """What holds for the rows, in words that a user can check."""

    @property
    def ledger(self) -> Ledger:
        """The sink's ledger."""

    def begin_run(self, epoch: Epoch) -> None:
        """The epoch's run has just taken the stream: drop what earlier runs left, and what was cached for them."""

    def check(self, frame: DataFrame) -> Work:
        """Refuse a frame that the sink cannot hold; a missing table may be made here.

        Raises:
            FrameError: naming the table and the column.
        """

    def commit(self, work: Work, entry: Entry) -> int | None:
        """Commit the work and the entry together; return the number of rows, None where nobody counts them.

        Raises:
            Fenced: a newer run has taken the stream; nothing was written.
            WriteFailed: the sink refused the rows; nothing was written.
            Conflict: another writer was first; nothing was written.
            CommitInDoubt: the outcome is unknown; the ledger shows it.
        """
