"""What becomes of an epoch: written, skipped or refused; called again or confirmed. Pure functions of the ledger."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from shlex import quote
from typing import Literal

from foreachonce.entry import Decision, Entry, Epoch, Intent
from foreachonce.errors import ConfigurationError, InDoubt

Reason = Literal["changed", "behind", "ahead", "unordered"]
# How many characters of offsets a refusal shows.
SHOWN = 400


_WHAT: Mapping[Reason, str] = {
    "changed": "the same batch now holds other rows than those that were written",
    "behind": "it starts behind the place where the ledger ends, so rows would be written again",
    "ahead": "it starts ahead of the place where the ledger ends, so the rows between would be lost",
    "unordered": "its start cannot be compared with the place where the ledger ends",
}

_ENDS_BEHIND = (
    "it ends behind its own start: a topic was deleted and made again, or its offsets were reset, and with\n"
    "  failOnDataLoss=false Spark goes on there, so records may be lost"
)
_CUT_ANEW = "  The checkpoint was rolled back and the batch was cut anew (another limit, or lost offsets)."
_OTHER_MOMENT = (
    "  The query id is the same: the checkpoint or the sink was put back to another moment than the other,\n"
    "  by a backup, a failover or a RESTORE of a Delta table."
)
_OTHER_QUERY = (
    "  The query id differs: the checkpoint was lost, deleted or replaced, or two queries share this stream's name.\n"
    "  If this is another query, give it a stream= of its own."
)
_PAGE_OF_CHECKPOINT = "  See docs/operations/my-checkpoint-is-gone.md."
_PAGES_OF_SINK = "  See docs/operations/a-table-was-restored.md (Delta) or docs/operations/the-database-was-restored.md."
_PAGES_OF_QUERY = "  See docs/operations/my-checkpoint-is-gone.md or docs/operations/two-queries-one-name.md."
_GO_ON = (
    '  To continue anyway, start once with on_mismatch="write": this batch is written, whatever the sink\n'
    "  holds of it already, and its entry says so. Those that follow line up with it and are written as usual, also rows\n"
    "  that the sink holds already."
)


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


Verdict = Write | Skip | Refuse


def decide(head: Entry | None, same_batch: Entry | None, epoch: Epoch) -> Verdict:
    """Decide on ``epoch``, given the stream's newest entry and the entry of the same query id and batch id.

    1. The stream is new: Write.
    2. The batch has an entry: Skip where the positions are equal, Refuse where they differ.
    3. It has none: Write where it starts at the place where the head ended, also under another query id; Refuse where it
       starts behind (rows would be written again), ahead (rows would be lost), or at a place that cannot be compared; and
       where it ends behind its own start (rows are lost).
    """
    if same_batch is not None:
        return Skip(same_batch) if epoch.position.same_as(same_batch.position) else Refuse("changed", same_batch)
    if head is None:
        return Write()
    order = epoch.position.follows(head.position)
    if order == "equal" and epoch.position.goes_back:
        return Refuse("behind", head)
    return Write() if order == "equal" else Refuse(order, head)


def explain(refused: Refuse, epoch: Epoch) -> str:
    """The message of a :class:`~foreachonce.errors.Mismatch`."""
    entry = refused.entry
    return (
        f"stream {epoch.stream!r}: batch {epoch.batch_id} is refused, nothing was written: {_what_of(refused, epoch)}.\n"
        f"  this batch: query {epoch.query_id}, batch {epoch.batch_id}, run {epoch.run_id},\n"
        f"              offsets {_span(epoch.position.starts, epoch.position.ends)}\n"
        f"  the ledger: query {entry.query_id}, {entry.what}, run {entry.run_id}, seq {entry.seq},\n"
        f"              offsets {_span(entry.position.starts, entry.position.ends)},\n"
        f"              sink {entry.sink}{_missing(entry)}\n"
        f"{_mend(refused.reason, entry, epoch)}"
    )


def _what_of(refused: Refuse, epoch: Epoch) -> str:
    return _ENDS_BEHIND if refused.reason == "behind" and epoch.position.goes_back else _WHAT[refused.reason]


def _mend(reason: Reason, entry: Entry, epoch: Epoch) -> str:
    if reason == "changed":
        return f"{_CUT_ANEW}\n{_restore(epoch)}\n{_PAGE_OF_CHECKPOINT}"
    if epoch.query_id == entry.query_id:
        return f"{_OTHER_MOMENT}\n{_restore(epoch)}\n{_PAGES_OF_SINK}\n{_GO_ON}"
    return f"{_OTHER_QUERY}\n{_restore(epoch)}\n{_PAGES_OF_QUERY}\n{_GO_ON}"


def _restore(epoch: Epoch) -> str:
    return (
        "  To mend the checkpoint, stop the query and start it by sink.start() with heal=True, or call\n"
        "  sink.prepare(spark, checkpoint), or run on a command line\n"
        f"  foreachonce restore {quote(epoch.stream)} --checkpoint PATH --ledger ADDRESS"
    )


def _missing(entry: Entry) -> str:
    return "" if entry.parts is None else f"; of this batch {entry.parts} are committed"


def _span(starts: str, ends: str) -> str:
    return f"{_short(starts)} -> {_short(ends)}"


def _short(offsets: str) -> str:
    text = offsets.replace("\n", ", ") or "(none)"
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}… ({len(text)} characters)"


Probe = Callable[[Epoch], bool]
OnDoubt = Literal["raise", "rerun"] | Probe


@dataclass(frozen=True, slots=True)
class Call:
    """Call the function; ``attempt`` is the number of the intent that says so."""

    attempt: int
    why: Decision


@dataclass(frozen=True, slots=True)
class Confirm:
    """The effect is there already: confirm it without a call."""

    why: Decision


def settle(intent: Intent | None, epoch: Epoch, decision: Decision, on_doubt: OnDoubt) -> Call | Confirm:
    """Decide whether the function is called for ``epoch``.

    Args:
        intent: the newest unconfirmed intent at the epoch's place in the chain, None where there is none.
        epoch: the epoch to write.
        decision: why it is to be written.
        on_doubt: ``"raise"``, ``"rerun"``, or a function that says for the intended epoch whether its effect is there.

    Raises:
        InDoubt: the keyword is ``"raise"``; or the effect is there and covers other rows than this epoch has.
        ConfigurationError: the probe returned neither True nor False.
    """
    if intent is None:
        return Call(0, decision)
    if intent.entry.decision.kind == "undone":
        return Call(intent.attempt + 1, decision)
    if on_doubt == "raise":
        raise InDoubt(_explain(intent, epoch))
    if on_doubt == "rerun":
        return Call(intent.attempt + 1, Decision("in_doubt", "rerun"))
    if not _ask(on_doubt, intent.entry.epoch):
        return Call(intent.attempt + 1, Decision("in_doubt", "probe: the effect was not there"))
    if not epoch.position.same_as(intent.entry.position):
        raise InDoubt(
            f"{_what(intent, epoch)} The probe says that its effect is there; but the batch now holds other rows "
            f"({_at(epoch)} where the call had {_at(intent.entry.epoch)}), so neither a call nor a confirmation "
            "would be right. Put back the checkpoint that the call had."
        )
    return Confirm(Decision("in_doubt", "probe: the effect was there"))


def _ask(probe: Probe, epoch: Epoch) -> bool:
    answer: object = probe(epoch)
    if not isinstance(answer, bool):
        raise ConfigurationError(
            f"in_doubt={getattr(probe, '__qualname__', probe)}: a probe returns True where the epoch's effect is there and "
            f"False where it is not; it returned {answer!r}. The function was not called."
        )
    return answer


def _what(intent: Intent, epoch: Epoch) -> str:
    entry = intent.entry
    return (
        f"stream {epoch.stream!r}: batch {entry.batch_id} of query {entry.query_id} is in doubt: run {entry.run_id} called "
        f"its function at {entry.time:%F %T} UTC (attempt {intent.attempt}), and nothing shows whether it finished."
    )


def _explain(intent: Intent, epoch: Epoch) -> str:
    intended = intent.entry.epoch
    return (
        f"{_what(intent, epoch)} The function was not called again.\n"
        f"  offsets {_at(intended)}, idempotency key {intended.idempotency_key}\n"
        '  To settle it, look whether the batch\'s effect is there. If it is not, start once with in_doubt="rerun";\n'
        "  if it is, start once with in_doubt=lambda epoch: True. The ledger records which."
    )


def _at(epoch: Epoch) -> str:
    return f"{epoch.position.starts} -> {epoch.position.ends}".replace("\n", ", ")
