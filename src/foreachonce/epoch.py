"""An epoch: one batch of one streaming query, as Spark hands it to foreachBatch."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

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
