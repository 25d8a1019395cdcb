"""A ledger entry: the proof, kept beside the data, that an epoch was written."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from typing import NamedTuple

from foreachonce.epoch import Epoch
from foreachonce.position import Position


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One immutable row of a ledger. A stream's entries in order of ``seq`` are its chain.

    Args:
        stream, query_id, batch_id, run_id, position, offset_log, is_stateful: as in :class:`~foreachonce.epoch.Epoch`; the
            batch id of a repair of the checkpoint, which brings no rows, is negative.
        seq: the entry's place in the stream's chain, from 0 without a gap.
        rows: how many rows the batch brought; None until they are counted, at commit, and for a function, which does
            not tell.
        time: when the entry was appended, in UTC.
        sink: the sink's description, without secrets.
        versions: of foreachonce and Spark.
        decision: why the epoch was written: ``"write"``, or the looser choice that the user had made, or what settled a
            doubt.
    """

    stream: str
    seq: int
    query_id: str
    batch_id: int
    run_id: str
    position: Position
    offset_log: str
    rows: int | None
    time: datetime
    sink: str
    versions: str
    decision: str
    is_stateful: bool = False

    @classmethod
    def next(cls, head: Entry | None, epoch: Epoch, *, sink: str, versions: str, decision: str) -> Entry:
        """Make the entry that would follow ``head``; its rows are filled in at commit."""
        return cls(
            stream=epoch.stream,
            seq=0 if head is None else head.seq + 1,
            query_id=epoch.query_id,
            batch_id=epoch.batch_id,
            run_id=epoch.run_id,
            position=epoch.position,
            offset_log=epoch.offset_log,
            rows=None,
            time=datetime.now(timezone.utc),
            sink=sink,
            versions=versions,
            decision=decision,
            is_stateful=epoch.is_stateful,
        )

    @property
    def epoch(self) -> Epoch:
        """The epoch that the entry is about."""
        return Epoch(
            stream=self.stream,
            query_id=self.query_id,
            run_id=self.run_id,
            batch_id=self.batch_id,
            position=self.position,
            offset_log=self.offset_log,
            is_stateful=self.is_stateful,
        )

    @property
    def is_repair(self) -> bool:
        """Whether the entry is about the checkpoint, which was mended, and not about a batch."""
        return self.batch_id < 0

    @property
    def what(self) -> str:
        """What the entry is about, in words."""
        return "a repair of the checkpoint" if self.is_repair else f"batch {self.batch_id}"


class Found(NamedTuple):
    """What one look at a ledger tells about an epoch."""

    head: Entry | None
    """The stream's newest entry; None where the stream is new."""
    same_batch: Entry | None
    """The entry of the epoch's own query id and batch id, if there is one."""
    is_held: bool = False
    """Whether the epoch's run has taken the stream. A run that has lost it to a newer one finds nothing: it is fenced."""


class Run(NamedTuple):
    """A run that has taken a stream over."""

    token: int
    """0, 1, 2, … in the order of taking over; the greatest is the one that may write."""
    run_id: str
    query_id: str
    time: datetime
    """When it took the stream, in UTC."""


class Intent(NamedTuple):
    """A call of a function that was begun."""

    entry: Entry
    """The entry that confirms the call once it is over; its time is when the call was begun, its rows are None."""
    attempt: int
    """0, and one more for each call anew of the same epoch."""
