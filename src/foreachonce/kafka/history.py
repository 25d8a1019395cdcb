"""The newest records of a ledger topic, and what they tell. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby

from foreachonce.entry import Entry
from foreachonce.kafka.record import Part, Record

# How many records of its own a run remembers: those of two epochs, of 64 transactions each.
MOST = 128


@dataclass(frozen=True, slots=True)
class Written:
    """What there is of an epoch.

    Args:
        entry: its entry, with the rows of all parts that are there.
        parts: how many transactions it is made of.
        done: those that are committed.
    """

    entry: Entry
    parts: int
    done: frozenset[int]

    @property
    def is_complete(self) -> bool:
        """Whether all of the epoch is there."""
        return len(self.done) == self.parts


@dataclass(frozen=True)
class History:
    """The end of a ledger topic.

    Args:
        records: oldest first; a transaction that was aborted is not among them.
        is_whole: whether the topic holds nothing older.
    """

    records: tuple[Record, ...]
    is_whole: bool

    @cached_property
    def epochs(self) -> Sequence[Written]:
        """The epochs, oldest first, without one that begins before the records do."""
        parts = [record for record in self.records if isinstance(record, Part)]
        found = [_written(list(group)) for _, group in groupby(parts, key=lambda part: part.entry.seq)]
        is_cut = found and not self.is_whole and not found[0].is_complete
        return found[1:] if is_cut else found

    @property
    def holder(self) -> Record | None:
        """The newest record of the run that took the stream last; a task of an earlier one may have committed behind it."""
        return max(reversed(self.records), key=lambda record: record.token, default=None)

    @property
    def ids(self) -> int:
        """How many transactional ids the stream's runs have used."""
        return 1 if self.holder is None else self.holder.ids

    @property
    def newest(self) -> Written | None:
        """The newest epoch, complete or not."""
        return self.epochs[-1] if self.epochs else None

    @property
    def head(self) -> Entry | None:
        """The entry of the newest epoch that is complete."""
        return next((written.entry for written in reversed(self.epochs) if written.is_complete), None)

    @property
    def unfinished(self) -> Written | None:
        """The newest epoch, where some of its parts are missing."""
        return None if self.newest is None or self.newest.is_complete else self.newest

    def begun(self, seq: int) -> Written | None:
        """The unfinished epoch, if it is the one at this place of the chain and not one that is passed."""
        return self.unfinished if self.unfinished is not None and self.unfinished.entry.seq == seq else None

    @property
    def before_unfinished(self) -> Entry | None:
        """The entry that the unfinished epoch follows, which may be of one that was passed, unfinished itself."""
        return self.epochs[-2].entry if len(self.epochs) > 1 else None

    def same_batch(self, query_id: str, batch_id: int) -> Entry | None:
        """The entry of a query's batch, where it is complete."""
        entries = (written.entry for written in reversed(self.epochs) if written.is_complete)
        return next((entry for entry in entries if (entry.query_id, entry.batch_id) == (query_id, batch_id)), None)

    def tells(self, query_id: str, batch_id: int) -> bool:
        """Whether older records could add nothing about a batch: a query's batches come in the order of their ids."""
        if self.is_whole or self.head is None:
            return self.is_whole
        ids = [w.entry.batch_id for w in self.epochs if w.is_complete and w.entry.query_id == query_id]
        # Repairs have ids below 0, out of any order, and each its own.
        return batch_id < 0 or any(0 <= number <= batch_id for number in ids)

    def then(self, *records: Record) -> History:
        """The history with newer records, without the oldest: a run goes on for as long as it likes."""
        found = (*self.records, *records)
        return History(found[-MOST:], self.is_whole and len(found) <= MOST)


def _written(parts: Sequence[Part]) -> Written:
    newest = parts[-1]
    by_part = {part.part: part for part in parts}
    entry = replace(newest.entry, rows=sum(part.rows for part in by_part.values()))
    return Written(entry, newest.parts, frozenset(by_part))
