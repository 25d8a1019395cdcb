"""The words of a repair: what was found, what is done, what is to be decided. Pure but for the folder."""

from __future__ import annotations

from collections.abc import Sequence

from foreachonce.checkpoint import CheckpointFolder
from foreachonce.errors import Mismatch
from foreachonce.recovery.diagnosis import Diagnosis, Kind
from foreachonce.recovery.goal import Goal
from foreachonce.recovery.source import MissingInput

_WHAT: dict[Kind, str] = {
    "new": "the stream is new",
    "agrees": "checkpoint and ledger agree",
    "missing": "the checkpoint is gone",
    "damaged": "the checkpoint is damaged",
    "behind": "the checkpoint is older than the ledger",
    "ahead": "the checkpoint is newer than the ledger: the sink was put back, or has lost commits",
    "changed": "the checkpoint was rolled back, and its newest batch cut anew",
    "replaced": "the checkpoint was replaced by a new one, whose query has finished no batch",
    "foreign": "the checkpoint is another query's, which has finished batches",
    "other": "what is there is no checkpoint",
}
_DOES: dict[Kind, str] = {
    "missing": "write it anew from the ledger",
    "damaged": "write it anew from the ledger",
    "behind": "put it forward to the ledger",
    "ahead": "put it back to the ledger, so that Spark reads again just what the sink lacks",
    "changed": "put the ledger's batch in the place of the one that was cut anew",
    "replaced": "write the old one anew from the ledger",
}
# What is added where the query begins anew for the sake of its state.
BEGUN_ANEW = (
    "  Its state is gone: it becomes a new query's, whose batch 0 is the whole source up to there. That is read for the\n"
    "  state, and nothing of it is written."
)


def describe(folder: CheckpointFolder, found: Diagnosis, goal: Goal | None, lost: Sequence[MissingInput]) -> str:
    """What was found and what is to be done."""
    lines = [f"{_WHAT[found.kind]}.", f"  checkpoint {folder.root}: {found.found}"]
    if goal is not None:
        lines.append(f"  ledger: {_goal(goal)}")
    if found.kind in _DOES:
        lines.append(f"  to do: {_to_do(found.kind, goal)}.")
        if folder.exists(""):
            lines.append("  The old checkpoint is moved aside, not deleted.")
    if lost:
        lines.append("  The source no longer holds rows that the sink lacks:")
        lines += [f"    {each}" for each in lost]
    return "\n".join(lines)


def _to_do(kind: Kind, goal: Goal | None) -> str:
    if goal is None:
        return "let the query begin again where its sources began; the ledger has no batch of it"
    return f"{_DOES[kind]}; it then goes on after batch {goal.batch_id}"


def _goal(goal: Goal) -> str:
    if goal.last is None:
        return f"query {goal.query_id}, no batch yet; batch {goal.newest} was started"
    ends = goal.last.position.ends.replace("\n", ", ")
    settled = "" if goal.unfinished is None else f"; batch {goal.newest} was started, or is in one of the sinks"
    return f"query {goal.query_id}, batch {goal.batch_id}, which ends at {ends}{settled}"


def explain_expired(text: str) -> str:
    """The message of an :class:`~foreachonce.errors.Expired`."""
    return (
        f"{text}\n"
        "  Nothing was changed. Bring them back into the source; or, to go on without them, say accept_data_loss=True\n"
        "  (Spark's Kafka source then needs failOnDataLoss=false)."
    )


def explain_state(root: str, found: Diagnosis, goal: Goal) -> str:
    """The message of a :class:`~foreachonce.errors.StateLost`."""
    return (
        f"{_WHAT[found.kind]}, and the query keeps state, which no ledger holds: {root} does not have the state after batch "
        f"{goal.batch_id} of query {goal.query_id}. Nothing was changed.\n"
        "  Put back a copy of the checkpoint with its state. An older one will do where the batches since then come out as\n"
        "  they were (the same limits): start the query on it without a repair, and they are replayed into its state.\n"
        "  Or say accept_state_loss=True: the query then reads its whole source again for its state, and writes none of\n"
        "  what the ledger has; what the source no longer holds is missing from the state."
    )


def explain_other(root: str, found: Diagnosis, goal: Goal) -> Mismatch:
    """What to do with a path that is no checkpoint's, or another query's."""
    if found.kind == "other":
        return Mismatch(
            f"{root} is no checkpoint: it is or holds {found.found}. Nothing was changed.\n"
            "  Is the path spelt wrong? A checkpoint that is gone is written anew where nothing is."
        )
    return Mismatch(
        f"{_WHAT['foreign']}: {root} holds {found.found}; the ledger's batches are those of query {goal.query_id}. "
        "Nothing was changed.\n"
        "  If two queries share the stream's name, give each a stream= of its own. If this checkpoint is not wanted, move\n"
        "  it away: a missing one is written anew."
    )
