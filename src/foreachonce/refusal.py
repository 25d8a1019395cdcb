"""The words of a refusal: what was seen, what is in the ledger, what mends it. Pure."""

from __future__ import annotations

from foreachonce.decide import Reason, Refuse
from foreachonce.entry import Entry
from foreachonce.epoch import Epoch

SHOWN = 400

_WHAT: dict[Reason, str] = {
    "changed": "the same batch now holds other rows than those that were written",
    "behind": "it starts behind the place where the ledger ends, so rows would be written again",
    "ahead": "it starts ahead of the place where the ledger ends, so the rows between would be lost",
    "unordered": "its start cannot be compared with the place where the ledger ends",
}

_GO_ON = (
    '  To go on from here in spite of it, start once with on_mismatch="write": this batch is written, whatever the sink\n'
    "  holds of it already, and its entry says so. Those that follow line up with it and are written as usual, also rows\n"
    "  that the sink holds already."
)


def explain(refused: Refuse, epoch: Epoch) -> str:
    """The message of a :class:`~foreachonce.errors.Mismatch`."""
    entry = refused.entry
    return (
        f"stream {epoch.stream!r}: batch {epoch.batch_id} is refused, nothing was written: {_WHAT[refused.reason]}.\n"
        f"  this batch: query {epoch.query_id}, batch {epoch.batch_id}, run {epoch.run_id},\n"
        f"              offsets {_span(epoch.position.starts, epoch.position.ends)}\n"
        f"  the ledger: query {entry.query_id}, batch {entry.batch_id}, run {entry.run_id}, seq {entry.seq},\n"
        f"              offsets {_span(entry.position.starts, entry.position.ends)},\n"
        f"              sink {entry.sink}\n"
        f"{_mend(refused.reason, entry, epoch)}"
    )


def _mend(reason: Reason, entry: Entry, epoch: Epoch) -> str:
    if reason == "changed":
        return _cut_anew(entry)
    cause = _same_query(entry) if epoch.query_id == entry.query_id else _other_query(entry)
    return f"{cause}\n{_GO_ON}"


def _cut_anew(entry: Entry) -> str:
    return (
        "  The checkpoint was rolled back and the batch was cut anew (another limit, or lost offsets).\n"
        f"  To mend it: put back the checkpoint that holds batch {entry.batch_id} as it was written, or the newest copy.\n"
        "  See docs/operations/my-checkpoint-is-gone.md."
    )


def _same_query(entry: Entry) -> str:
    return (
        "  The query id is the same: the checkpoint or the sink was put back to another moment than the other,\n"
        "  by a backup, a failover or a RESTORE of a Delta table.\n"
        f"  To mend it: put back the checkpoint that goes on after batch {entry.batch_id}.\n"
        "  See docs/operations/a-table-was-restored.md (Delta) or docs/operations/the-database-was-restored.md."
    )


def _other_query(entry: Entry) -> str:
    return (
        "  The query id differs: the checkpoint was lost, deleted or replaced,\n"
        "  or two queries share this stream's name.\n"
        f"  To mend it: put back the checkpoint whose metadata holds id {entry.query_id};\n"
        "  or, if this is another query, give it a stream= of its own.\n"
        "  See docs/operations/my-checkpoint-is-gone.md or docs/operations/two-queries-one-name.md."
    )


def _span(starts: str, ends: str) -> str:
    return f"{_short(starts)} -> {_short(ends)}"


def _short(offsets: str) -> str:
    text = offsets.replace("\n", ", ") or "(none)"
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}… ({len(text)} characters)"
