"""A new stream that begins amid the source: to write again, on purpose, what another stream wrote after an entry.

No checkpoint is written here. The new stream's first entry holds all that the other one had read by then and brings no rows,
so a repair builds the checkpoint from it as from any other, now and whenever it is lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from foreachonce._version import versions
from foreachonce.entry import Entry
from foreachonce.epoch import Epoch
from foreachonce.errors import ConfigurationError, Conflict
from foreachonce.ledger import Ledger
from foreachonce.recovery.goal import Goal
from foreachonce.recovery.mend import Mendable, stream_of
from foreachonce.recovery.past import past_of
from foreachonce.recovery.rebuild import begin_anew


def begin_after(sinks: Sequence[Mendable], ledger: Ledger, stream: str, seq: int) -> Entry:
    """Give the sinks' streams, which are new, a first entry that ends where entry ``seq`` of another stream ends.

    Raises:
        ConfigurationError: the other stream has no such entry, a sink's stream is not new, or it can hold no entry yet.
        Mismatch: entries are gone that tell which files the other stream had read.
        Conflict: another run has begun a sink's stream meanwhile.
    """
    chain = [entry for entry in ledger.entries(stream) if entry.seq <= seq]
    if not chain or chain[-1].seq != seq:
        raise ConfigurationError(f"seq={seq!r}: stream {stream!r} has no such entry in {ledger!r}. Nothing was begun.")
    for sink in sinks:
        _refuse_known(sink)
    past = past_of(Goal(chain[-1].query_id, chain[-1]), chain, None)
    epoch, _ = begin_anew(chain[-1], past)
    begun = [_enter(sink, epoch, f"begun after seq {seq} of stream {stream!r}") for sink in sinks]
    return begun[0]


def _refuse_known(sink: Mendable) -> None:
    name = stream_of(sink)
    if sink.ledger.head(name) is not None or sink.begun(name) is not None:
        raise ConfigurationError(
            f"stream {name!r} has entries in {sink.ledger!r} already, and only a new stream can begin amid its source. Give "
            "the sink another stream=. Nothing was begun."
        )


def _enter(sink: Mendable, epoch: Epoch, why: str) -> Entry:
    named = replace(epoch, stream=stream_of(sink))
    found = sink.take(named, None)
    if not found.is_held or found.head is not None:
        raise Conflict(f"stream {named.stream!r}: another run has begun it meanwhile.")
    sink.append(Entry.next(None, named, sink=str(sink), versions=versions(), decision=why))
    entry = sink.ledger.head(named.stream)
    if entry is None:
        # Without it the stream would be written from the start of the source on.
        raise ConfigurationError(
            f"{sink.ledger!r} holds no entry before there is a table: make it, empty, with the columns that it shall have."
        )
    return entry
