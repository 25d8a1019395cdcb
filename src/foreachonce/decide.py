"""The decision whether an epoch is written: a pure function of the ledger and the epoch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from foreachonce.entry import Entry
from foreachonce.epoch import Epoch

Reason = Literal["changed", "behind", "ahead", "unordered"]


@dataclass(frozen=True, slots=True)
class Write:
    """The epoch comes next: write it."""


@dataclass(frozen=True, slots=True)
class Skip:
    """The epoch is a replay: its rows are in the sink already."""

    entry: Entry


@dataclass(frozen=True, slots=True)
class Refuse:
    """The epoch is neither next nor a replay: writing or skipping it would be wrong."""

    reason: Reason
    entry: Entry


Decision = Write | Skip | Refuse


def decide(head: Entry | None, same_batch: Entry | None, epoch: Epoch) -> Decision:
    """Decide on ``epoch``, given the stream's newest entry and the entry of the same query id and batch id.

    1. The stream is new: Write.
    2. The batch has an entry: Skip where the positions are equal, Refuse where they differ.
    3. It has none: Write where it starts at the place where the head ended, also under another query id; Refuse where it
       starts behind (rows would be written again), ahead (rows would be lost), or at a place that cannot be compared.
    """
    if same_batch is not None:
        return Skip(same_batch) if epoch.position.same_as(same_batch.position) else Refuse("changed", same_batch)
    if head is None:
        return Write()
    found = epoch.position.follows(head.position)
    return Write() if found == "equal" else Refuse(found, head)
