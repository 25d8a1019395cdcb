"""What becomes of a batch whose function was called and never confirmed: a pure function of the intent and the keyword."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from foreachonce.entry import Decision, Intent
from foreachonce.epoch import Epoch
from foreachonce.errors import ConfigurationError, InDoubt

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
    if on_doubt == "raise":
        raise InDoubt(_explain(intent, epoch))
    if on_doubt == "rerun":
        return Call(intent.attempt + 1, Decision("in_doubt", "rerun"))
    if not _ask(on_doubt, intent.entry.epoch):
        return Call(intent.attempt + 1, Decision("in_doubt", "probe: the effect was not there"))
    if not epoch.position.same_as(intent.entry.position):
        raise InDoubt(
            f"{_what(intent, epoch)} The probe says that its effect is there; but the batch now holds other rows "
            f"({_span(epoch)} where the call had {_span(intent.entry.epoch)}), so neither a call nor a confirmation "
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
        f"  offsets {_span(intended)}, idempotency key {intended.idempotency_key}\n"
        '  To settle it, look whether the batch\'s effect is there. If it is not, start once with in_doubt="rerun";\n'
        "  if it is, start once with in_doubt=lambda epoch: True. The ledger records which."
    )


def _span(epoch: Epoch) -> str:
    return f"{epoch.position.starts} -> {epoch.position.ends}".replace("\n", ", ")
