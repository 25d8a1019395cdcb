"""An epoch, one batch of one streaming query, and the ledger entry that proves that it was written. Pure."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal, NamedTuple

from foreachonce.position import Position


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """One batch of a stream, resolved from Spark.

    Args:
        stream: the pipeline's own name for its output; it outlives checkpoints.
        query_id: Spark's query id, a UUID that lives in the checkpoint's ``metadata``.
        run_id: Spark's run id, a UUID new at each start of the query.
        batch_id: Spark's batch id; 0 again with each new checkpoint.
        position: where the batch starts and ends in each source.
        offset_log: the text of the checkpoint's ``offsets/N``, verbatim.
        is_stateful: whether the query keeps state in its checkpoint, which no ledger can bring back.
    """

    stream: str
    query_id: str
    run_id: str
    batch_id: int
    position: Position
    offset_log: str
    is_stateful: bool = False

    @property
    def idempotency_key(self) -> str:
        """64 hexadecimal digits, the same each time that this batch is tried, and no other batch's.

        For systems that take such a key with a request. It is made of the stream, Spark's query and batch ids, and the
        position: a batch that was cut anew, or comes from a new checkpoint, has another one.
        """
        files = sorted(line for span in self.position.sources.values() for line in span.files)
        parts = (self.stream, self.query_id, str(self.batch_id), self.position.starts, self.position.ends, *files)
        return sha256("\0".join(parts).encode()).hexdigest()


DecisionKind = Literal["write", "on_mismatch", "in_doubt", "undone", "begin", "repair", "other"]
# How the text of each kind begins in a ledger; the note follows.
_PREFIXES: Mapping[DecisionKind, str] = {
    "on_mismatch": "on_mismatch=write: ",
    "in_doubt": "in_doubt=",
    "undone": "undone: ",
    "begin": "begun after ",
    "repair": "repair: ",
}
# The fields of an entry that every ledger keeps as they are.
_PLAIN = ("stream", "seq", "query_id", "batch_id", "run_id", "offset_log", "sink", "versions")


@dataclass(frozen=True, slots=True)
class Decision:
    """Why an entry was appended. Ledgers keep its text: ``str(decision)``, read back by ``parse()``.

    Args:
        kind: ``"write"``: the epoch came next. ``"on_mismatch"``: the user's ``on_mismatch="write"`` wrote it in spite of a
            mismatch. ``"in_doubt"``: the user's ``in_doubt=`` settled a call in doubt. ``"undone"``, of an
            intent: the call before it raised an error by which it had no effect (``retry_on=``). ``"begin"``: the stream
            begins in the middle of its source. ``"repair"``: the checkpoint was repaired. ``"other"``: a kind of a newer
            version.
        note: what else there is to say; of ``"other"`` the whole text.

    The texts are ``write``; ``on_mismatch=write: behind``, ``… ahead`` or ``… unordered``; ``in_doubt=rerun`` or
    ``in_doubt=probe: …``; ``undone: …``; ``begun after seq … of stream …``; and ``repair: checkpoint missing, …``, with the
    kind of the repair.
    """

    kind: DecisionKind
    note: str = ""

    @classmethod
    def parse(cls, text: str) -> Decision:
        """The decision of a ledger's text."""
        if text == "write":
            return WRITE
        for kind, prefix in _PREFIXES.items():
            if text.startswith(prefix):
                return cls(kind, text.removeprefix(prefix))
        return cls("other", text)

    def __str__(self) -> str:
        return "write" if self.kind == "write" else f"{_PREFIXES.get(self.kind, '')}{self.note}"


WRITE = Decision("write")


class Parts(NamedTuple):
    """How many of a batch's transactions are committed."""

    committed: int
    planned: int

    def __str__(self) -> str:
        return f"{self.committed} of {self.planned} transactions"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One immutable row of a ledger. A stream's entries in order of ``seq`` are its chain.

    Args:
        stream: the pipeline's own name for its output.
        seq: the entry's place in the stream's chain, from 0 without a gap.
        query_id: Spark's query id, from the checkpoint's ``metadata``.
        batch_id: Spark's batch id; 0 again with each new checkpoint. Negative for a repair of the checkpoint, which brings
            no rows, and starts and ends where the entry before ended. One exception: after ``accept_state_loss=True`` the
            repair is batch 0 of the new query, which the sink then skips.
        run_id: Spark's run id, new at each start of the query.
        position: where the batch starts and ends in each source.
        offset_log: the checkpoint's ``offsets/N``, verbatim.
        rows: how many rows the batch brought, to all tables together; with ``DeltaTables`` to this one. None until they are
            counted, at commit, and for a function, whose rows nobody counts.
        time: when the entry was appended, in UTC.
        sink: the sink's description, without secrets.
        versions: of foreachonce and Spark.
        decision: why the entry was appended.
        is_stateful: whether the query keeps state in its checkpoint.
        parts: how many of how many transactions are committed; set where some of the batch's Kafka transactions are missing.
            No ledger keeps it, reading derives it.
    """

    stream: str
    seq: int
    query_id: str
    batch_id: int
    run_id: str
    position: Position
    offset_log: str
    rows: int | None
    time: datetime
    sink: str
    versions: str
    decision: Decision = WRITE
    is_stateful: bool = False
    parts: Parts | None = None

    @classmethod
    def next(cls, head: Entry | None, epoch: Epoch, *, sink: str, decision: Decision = WRITE) -> Entry:
        """Make the entry that follows ``head``; its rows are filled in at commit."""
        return cls(
            stream=epoch.stream,
            seq=0 if head is None else head.seq + 1,
            query_id=epoch.query_id,
            batch_id=epoch.batch_id,
            run_id=epoch.run_id,
            position=epoch.position,
            offset_log=epoch.offset_log,
            rows=None,
            time=datetime.now(timezone.utc),
            sink=sink,
            versions=versions(),
            decision=decision,
            is_stateful=epoch.is_stateful,
        )

    def to_fields(self) -> dict[str, Any]:
        """The entry as plain values, fit for JSON and for SQL, but for its rows: each ledger counts them in its own way."""
        fields = {name: getattr(self, name) for name in _PLAIN}
        position = self.position
        fields["start_offsets"], fields["end_offsets"] = position.starts, position.ends
        fields["source_log"], fields["is_stateful"] = position.source_log, self.is_stateful
        fields["time"], fields["decision"] = self.time.isoformat(), str(self.decision)
        return fields

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any], *, rows: int | None = None) -> Entry:
        """The entry that ``to_fields()`` described."""
        return cls(
            **{name: fields[name] for name in _PLAIN},
            position=Position.restore(fields["start_offsets"], fields["end_offsets"], fields["source_log"]),
            # Ledgers of the first version do not have it.
            is_stateful=bool(fields.get("is_stateful", False)),
            rows=rows,
            time=datetime.fromisoformat(fields["time"]),
            decision=Decision.parse(fields["decision"]),
        )

    @property
    def epoch(self) -> Epoch:
        """The epoch that the entry is about."""
        return Epoch(
            stream=self.stream,
            query_id=self.query_id,
            run_id=self.run_id,
            batch_id=self.batch_id,
            position=self.position,
            offset_log=self.offset_log,
            is_stateful=self.is_stateful,
        )

    @property
    def is_repair(self) -> bool:
        """Whether the entry is about the checkpoint, which was repaired, and not about a batch."""
        return self.batch_id < 0

    @property
    def begins_late(self) -> bool:
        """Whether the chain begins with it, under a checkpoint that had finished batches before."""
        return self.seq == 0 and self.batch_id > 0 and self.decision.kind == WRITE.kind

    @property
    def what(self) -> str:
        """What the entry is about, in words."""
        return "a repair of the checkpoint" if self.is_repair else f"batch {self.batch_id}"


class LedgerState(NamedTuple):
    """What one look at a ledger shows for an epoch."""

    head: Entry | None
    """The stream's newest entry; None where the stream is new."""
    same_batch: Entry | None
    """The entry of the epoch's own query id and batch id, if there is one."""
    is_held: bool = False
    """Whether the epoch's run has taken the stream. A run that lost it to a newer one gets no state: it is fenced."""


class Run(NamedTuple):
    """A run that has taken a stream over."""

    token: int
    """0, 1, 2, … in the order of taking over; only the run with the greatest may write."""
    run_id: str
    query_id: str
    time: datetime
    """When it took the stream, in UTC."""


class Intent(NamedTuple):
    """A call of a function that was started."""

    entry: Entry
    """The entry that confirms the call once it has finished; its time is when the call started, its rows are None."""
    attempt: int
    """0, and one more for each new call for the same epoch."""


@cache
def versions() -> str:
    """``foreachonce X, pyspark Y``, as an entry records them."""
    try:
        own = version("foreachonce")
    except PackageNotFoundError:
        own = "(not installed, sent along)"
    # PySpark need not be an installed package either: a Spark distribution brings its own.
    spark = getattr(sys.modules.get("pyspark"), "__version__", "(not loaded)")
    return f"foreachonce {own}, pyspark {spark}"
