"""The records of a stream's ledger topic: their form, and what they say about the stream. Pure.

A record is JSON in the form that :func:`to_bytes` gives it. There are two kinds: a run has taken the stream, and an epoch's
entry, in the transaction of its rows. The record with the greatest token names the run that holds the stream.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from itertools import groupby
from typing import Any, TypeAlias

from foreachonce.entry import Entry, Epoch, LedgerState, Parts
from foreachonce.errors import Conflict, Fenced, LedgerError

# The key that marks a record of this library, and the version of the fields beside it.
MARKER = "foreachonce"
FORMAT = 1
# How many records of its own a run remembers: those of two epochs, of 64 transactions each.
REMEMBERED = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A run has taken the stream over.

    Args:
        run_id, query_id: Spark's, of the run.
        time: when, in UTC.
        token: 0, 1, 2, … in the order of taking over; only the run with the greatest may write.
        ids: how many transactional ids the stream's runs have ever used; the next run must fence them all.
    """

    run_id: str
    query_id: str
    time: datetime
    token: int
    ids: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """An epoch's entry, in the transaction of its rows. An epoch has one for each of its transactions.

    Args:
        entry: the epoch's entry; its rows are None here.
        part: which of the epoch's transactions, from 0.
        parts: how many transactions the epoch is made of.
        rows: how many of the epoch's rows are in this transaction.
        token, ids: as in :class:`Taken`.
    """

    entry: Entry
    part: int
    parts: int
    rows: int
    token: int
    ids: int

    @property
    def run_id(self) -> str:
        """The run that wrote it."""
        return self.entry.run_id

    @property
    def query_id(self) -> str:
        """The run's query."""
        return self.entry.query_id

    @property
    def time(self) -> datetime:
        """When it was written, in UTC."""
        return self.entry.time


Record: TypeAlias = Taken | Part


def to_bytes(stream: str, record: Record) -> bytes:
    """Encode a record as the value of a Kafka record."""
    fields: dict[str, Any] = {MARKER: FORMAT, "stream": stream, "token": record.token, "ids": record.ids}
    if isinstance(record, Part):
        fields |= {"kind": "entry", "part": record.part, "parts": record.parts, "rows": record.rows}
        fields |= record.entry.to_fields()
    else:
        fields |= {"kind": "taken", "run_id": record.run_id, "query_id": record.query_id, "time": record.time.isoformat()}
    return json.dumps(fields, ensure_ascii=False).encode()


def from_bytes(stream: str, value: bytes | None) -> Record:
    """Decode the value of a Kafka record.

    Raises:
        LedgerError: another program or another stream wrote it, or a newer version of this library.
    """
    try:
        fields = json.loads(value or b"null")
    except ValueError:
        fields = None
    if not isinstance(fields, dict) or MARKER not in fields or fields.get("stream") != stream:
        raise LedgerError(
            f"stream {stream!r}: its ledger topic holds a record that is not an entry of this stream. Nothing else may "
            "write to that topic: move the topic away, or give the sink another ledger_prefix=."
        )
    if fields[MARKER] != FORMAT:
        raise LedgerError(
            f"stream {stream!r}: its ledger topic holds a record of format {fields[MARKER]!r}, and this version reads "
            f"format {FORMAT}: a newer foreachonce wrote it. Update this one."
        )
    token, ids = int(fields["token"]), int(fields["ids"])
    if fields["kind"] == "taken":
        time = datetime.fromisoformat(fields["time"])
        return Taken(run_id=fields["run_id"], query_id=fields["query_id"], time=time, token=token, ids=ids)
    part, parts, rows = int(fields["part"]), int(fields["parts"]), int(fields["rows"])
    return Part(entry=Entry.from_fields(fields), part=part, parts=parts, rows=rows, token=token, ids=ids)


@dataclass(frozen=True, slots=True)
class WrittenEpoch:
    """The committed part of an epoch.

    Args:
        entry: its entry, with the rows of all committed transactions; its ``parts`` are set where some are missing.
        parts: how many transactions the epoch is made of.
        committed: which of them are committed.
    """

    entry: Entry
    parts: int
    committed: frozenset[int]

    @classmethod
    def of(cls, records: Sequence[Part]) -> WrittenEpoch:
        """The epoch of these records."""
        parts, by_part = records[-1].parts, {record.part: record for record in records}
        missing = None if len(by_part) == parts else Parts(len(by_part), parts)
        entry = replace(records[-1].entry, rows=sum(record.rows for record in by_part.values()), parts=missing)
        return cls(entry, parts, frozenset(by_part))

    @property
    def is_complete(self) -> bool:
        """Whether all of its transactions are committed."""
        return len(self.committed) == self.parts


@dataclass(frozen=True)
class TopicHistory:
    """The newest records of a ledger topic.

    Args:
        records: oldest first, without those of aborted transactions.
        is_whole: whether the topic holds nothing older.
    """

    records: tuple[Record, ...]
    is_whole: bool

    @cached_property
    def epochs(self) -> Sequence[WrittenEpoch]:
        """The epochs, oldest first, without one whose first records are older than these."""
        parts = [record for record in self.records if isinstance(record, Part)]
        epochs = [WrittenEpoch.of(list(group)) for _, group in groupby(parts, key=lambda part: part.entry.seq)]
        is_cut = epochs and not self.is_whole and not epochs[0].is_complete
        return epochs[1:] if is_cut else epochs

    @property
    def holder(self) -> Record | None:
        """The newest record of the run that took the stream last; a task of an earlier run may have committed after it."""
        return max(reversed(self.records), key=lambda record: record.token, default=None)

    @property
    def ids(self) -> int:
        """How many transactional ids the stream's runs have used."""
        return 1 if self.holder is None else self.holder.ids

    @property
    def newest(self) -> WrittenEpoch | None:
        """The newest epoch, complete or not."""
        return self.epochs[-1] if self.epochs else None

    @property
    def head(self) -> Entry | None:
        """The entry of the newest complete epoch."""
        return next((epoch.entry for epoch in reversed(self.epochs) if epoch.is_complete), None)

    @property
    def unfinished(self) -> WrittenEpoch | None:
        """The newest epoch if some of its transactions are missing."""
        return None if self.newest is None or self.newest.is_complete else self.newest

    def unfinished_at(self, seq: int) -> WrittenEpoch | None:
        """The unfinished epoch if it has this place in the chain, and so is not one that the user chose to go past."""
        return self.unfinished if self.unfinished is not None and self.unfinished.entry.seq == seq else None

    def same_batch(self, query_id: str, batch_id: int) -> Entry | None:
        """The entry of a query's batch if it is complete."""
        entries = (epoch.entry for epoch in reversed(self.epochs) if epoch.is_complete)
        return next((entry for entry in entries if (entry.query_id, entry.batch_id) == (query_id, batch_id)), None)

    def covers(self, query_id: str, batch_id: int) -> bool:
        """Whether older records could add nothing about a batch: a query's batches come in the order of their ids."""
        if self.is_whole or self.head is None:
            return self.is_whole
        ids = [epoch.entry.batch_id for epoch in self.epochs if epoch.is_complete and epoch.entry.query_id == query_id]
        # Repairs have negative ids, in no order, and each its own.
        return batch_id < 0 or any(0 <= number <= batch_id for number in ids)

    def followed_by(self, record: Record) -> TopicHistory:
        """The history with a newer record; the oldest are dropped, because a run may go on for ever."""
        records = (*self.records, record)
        return TopicHistory(records[-REMEMBERED:], self.is_whole and len(records) <= REMEMBERED)

    def state(self, epoch: Epoch, *, is_held: bool) -> LedgerState:
        """What the ledger holds for an epoch.

        Consumers can already read part of an unfinished epoch: only the same rows may complete it, and no other epoch may
        take its place.
        """
        unfinished, same_batch = self.unfinished, self.same_batch(epoch.query_id, epoch.batch_id)
        if unfinished is None:
            return LedgerState(self.head, same_batch, is_held)
        entry = unfinished.entry
        if epoch.position.same_as(entry.position):
            # The one before may be unfinished too, if the user chose to go past it.
            return LedgerState(self.epochs[-2].entry if len(self.epochs) > 1 else None, same_batch, is_held)
        is_same = (entry.query_id, entry.batch_id) == (epoch.query_id, epoch.batch_id)
        return LedgerState(entry, entry if is_same else same_batch, is_held)

    def check_next(self, epoch: Epoch, before: int) -> None:
        """Check, after a fence, that the ledger is still the one on which writing the epoch was decided.

        Args:
            epoch: the epoch to write.
            before: the seq of the entry that it follows; -1 for none.

        Raises:
            Fenced: another run has taken the stream.
            Conflict: another entry came first.
        """
        self.check_holder(epoch)
        head = self.state(epoch, is_held=True).head
        seq = -1 if head is None else head.seq
        if seq != before:
            raise Conflict(
                f"stream {epoch.stream!r}: the ledger's newest entry is {seq}, not {before}. Nothing was written."
            )

    def check_holder(self, epoch: Epoch) -> None:
        """Check that the epoch's run, which has taken the stream, still holds it.

        Raises:
            Fenced: another run has taken it since, or the ledger topic is gone.
        """
        holder = self.holder
        if holder is not None and holder.run_id == epoch.run_id:
            return
        text = f"stream {epoch.stream!r}: run {epoch.run_id} (query {epoch.query_id}) "
        if holder is None:
            raise Fenced(text + "has lost its ledger topic: it was deleted while the run went on. Start the query again.")
        text += (
            f"was replaced by run {holder.run_id} (query {holder.query_id}) at {holder.time:%F %T} UTC. This run has "
            "written nothing since, and stops."
        )
        if holder.query_id != epoch.query_id:
            text += " The query ids differ: if two queries share this stream's name, give each a stream= of its own."
        raise Fenced(text)

    def check_unknown(self, epoch: Epoch) -> None:
        """Check that the epoch's run, of which this process knows nothing, has not held the stream and lost it.

        Raises:
            Fenced: it has.
        """
        if any(record.run_id == epoch.run_id for record in self.records):
            self.check_holder(epoch)
