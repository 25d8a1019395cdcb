"""The proof over a stream's entries: no gap, no overlap. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from foreachonce.entry import Entry


@dataclass(frozen=True, slots=True)
class Break:
    """Two neighbouring entries that do not meet."""

    before: Entry
    after: Entry
    what: str


def breaks(entries: Iterable[Entry]) -> Iterator[Break]:
    """Yield every place where the chain is broken; ``entries`` are one stream's, in order of seq.

    An entry that the user wanted in spite of a mismatch starts a new link: its decision records that, and it is no break.
    Nor is the repair of a query that reads its source again for its state; any other repair moves nothing.
    """
    for before, after in pairwise(entries):
        if after.seq != before.seq + 1:
            yield Break(before, after, f"seq {after.seq} comes after {before.seq}")
        order = after.position.follows(before.position)
        is_wanted = after.decision.kind in ("on_mismatch", "repair")
        if order != "equal" and not is_wanted:
            yield Break(before, after, f"it starts {order} of where the entry before ended")
        elif after.position.goes_back and not is_wanted:
            yield Break(before, after, "it ends behind its own start, so rows may be lost")
