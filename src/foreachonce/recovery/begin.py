"""A new stream that begins amid the source: to write again, on purpose, what another stream wrote after an entry.

No checkpoint is written here. The new stream's first entry holds all that the other one had read by then and brings no rows,
so a repair builds the checkpoint from it as from any other, now and whenever it is lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from foreachonce.entry import Decision, Entry
from foreachonce.epoch import Epoch
from foreachonce.errors import ConfigurationError, Conflict
from foreachonce.ledger import Ledger
from foreachonce.recovery.goal import Goal
from foreachonce.recovery.past import past_of
from foreachonce.recovery.rebuild import begin_anew
from foreachonce.recovery.repair import LedgerStream


def begin_after(streams: Sequence[LedgerStream], ledger: Ledger, stream: str, seq: int) -> Entry:
    """Give new streams a first entry that ends where entry ``seq`` of another stream ends.

    Raises:
        ConfigurationError: the other stream has no such entry, one of these is not new, or it can hold no entry yet.
        Mismatch: entries are gone that tell which files the other stream had read.
        Conflict: another run has begun one of these streams meanwhile.
    """
    chain = [entry for entry in ledger.entries(stream) if entry.seq <= seq]
    if not chain or chain[-1].seq != seq:
        raise ConfigurationError(f"seq={seq!r}: stream {stream!r} has no such entry in {ledger!r}. Nothing was begun.")
    for each in streams:
        _refuse_known(each)
    past = past_of(Goal(chain[-1].query_id, chain[-1]), chain, None)
    epoch, _ = begin_anew(chain[-1], past)
    why = Decision("begin", f"seq {seq} of stream {stream!r}")
    entries = [_enter(each, epoch, why) for each in streams]
    return entries[0]


def _refuse_known(stream: LedgerStream) -> None:
    ledger, name = stream.ledger, stream.name
    if ledger.head(name) is not None or ledger.unfinished(name) is not None:
        raise ConfigurationError(
            f"stream {name!r} has entries in {ledger!r} already, and only a new stream can begin amid its source. Give the "
            "sink another stream=. Nothing was begun."
        )


def _enter(stream: LedgerStream, epoch: Epoch, why: Decision) -> Entry:
    named = replace(epoch, stream=stream.name)
    state = stream.ledger.take(named, None)
    if not state.is_held or state.head is not None:
        raise Conflict(f"stream {stream.name!r}: another run has begun it meanwhile.")
    stream.ledger.append(Entry.next(None, named, sink=stream.sink, decision=why))
    entry = stream.ledger.head(stream.name)
    if entry is None:
        # Without it the stream would be written from the start of the source on.
        raise ConfigurationError(
            f"{stream.ledger!r} holds no entry before there is a table: make it, empty, with the columns that it shall have."
        )
    return entry
