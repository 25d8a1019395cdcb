"""The proof over a stream's entries: no gap, no overlap. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from foreachonce.entry import Entry

# How the decision of an entry begins that was written in spite of a mismatch.
ON_MISMATCH = "on_mismatch=write"
# How the decision of an entry begins that is about a checkpoint that was mended.
REPAIR = "repair"


@dataclass(frozen=True, slots=True)
class Break:
    """Two neighbouring entries that do not meet."""

    before: Entry
    after: Entry
    found: str


def breaks(entries: Iterable[Entry]) -> Iterator[Break]:
    """Yield every place where the chain is broken; ``entries`` are one stream's, in order of seq.

    An entry that the user asked for in spite of a mismatch starts a new link: it says so itself and is not reported. So does
    the repair of a query that reads its source again for its state; any other repair starts and ends where it stands.
    """
    for before, after in pairwise(entries):
        if after.seq != before.seq + 1:
            yield Break(before, after, f"seq {after.seq} comes after {before.seq}")
        found = after.position.follows(before.position)
        if found != "equal" and not after.decision.startswith((ON_MISMATCH, REPAIR)):
            yield Break(before, after, f"it starts {found} of where the entry before ended")
