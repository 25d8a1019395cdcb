"""Any function: an intent in the ledger before it is called, an entry once it has returned."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from functools import update_wrapper
from typing import TYPE_CHECKING, Any

from foreachonce.base import BaseSink, name_of_function, reference
from foreachonce.decide import Call, Confirm, OnDoubt, settle
from foreachonce.entry import Decision, Entry
from foreachonce.events import reason_of
from foreachonce.faults import Point, fault
from foreachonce.sink import OnMismatch
from foreachonce.sql.ledger import SqlLedger
from foreachonce.sql.statements import SqlBatch, append_intent
from foreachonce.sql.url import shown

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

POINTS: tuple[Point, ...] = ("intent-written", "function-called", "rows-written", "entry-written", "committed")

# How often a call that had no effect is made again in one run, and after how many seconds; each pause is twice the last.
RETRIES, FIRST_PAUSE = 3, 1.0
log = logging.getLogger("foreachonce")

_GUARANTEES = {
    "raise": "at most once without your word: a batch that was interrupted stops the stream as in doubt",
    "rerun": "at least once: a batch that was interrupted is run again",
    "probe": "exactly once where the probe tells the truth: it is asked about a batch that was interrupted",
}


class FunctionSink(BaseSink["DataFrame"]):
    """A foreachBatch function whose effects no transaction covers; see :func:`~foreachonce.exactly_once`.

    Args:
        function: takes ``(df, batch_id)``, or ``(df, batch_id, epoch)``; ``takes_epoch`` says which.
        ledger: where intents and entries are written.
        stream, on_mismatch, heal, checkpoint: as for :class:`~foreachonce.JdbcSink`.
        in_doubt: ``"raise"``, ``"rerun"``, or a probe.
        retry_on: errors by which a call says that it had no effect.
        retries: how often a batch is called again in one run after such an error.
    """

    ledger: SqlLedger

    def __init__(
        self,
        function: Callable[..., object],
        *,
        ledger: SqlLedger,
        stream: str | None,
        in_doubt: OnDoubt,
        on_mismatch: OnMismatch,
        heal: bool,
        checkpoint: str | None,
        takes_epoch: bool,
        retry_on: tuple[type[Exception], ...] = (),
        retries: int = RETRIES,
    ) -> None:
        super().__init__(stream=stream, on_mismatch=on_mismatch, heal=heal, checkpoint=checkpoint)
        update_wrapper(self, function)
        self._function, self._takes_epoch, self._in_doubt = function, takes_epoch, in_doubt
        self._retry_on, self._retries = retry_on, retries
        self.ledger: SqlLedger = ledger

    def __reduce_ex__(self, protocol: Any) -> Any:
        return reference(self) or super().__reduce_ex__(protocol)

    @property
    def guarantee(self) -> str:
        """What holds for the function's effects, in words that a user can check."""
        return _GUARANTEES["probe" if callable(self._in_doubt) else self._in_doubt]

    def __str__(self) -> str:
        return f"function {name_of_function(self._function)}, ledger in {shown(self.ledger.url)}: {self.guarantee}"

    def __repr__(self) -> str:
        return f"exactly_once(ledger={shown(self.ledger.url)!r}, stream={self.stream!r})({name_of_function(self._function)})"

    def check(self, frame: DataFrame) -> DataFrame:
        """A function takes any frame."""
        return frame

    def commit(self, work: DataFrame, entry: Entry) -> None:
        """Write the intent, call the function, append the entry."""
        intent = self.ledger.newest_intent(entry)
        call = settle(intent, entry.epoch, entry.decision, self._in_doubt)
        batch = self.ledger.batch(replace(entry, decision=call.why))
        if not isinstance(call, Confirm):
            self._call_until_done(batch, call, work)
        with batch.writing() as connection:
            batch.append_entry(connection, None)
        fault("committed")

    def _call_until_done(self, batch: SqlBatch, call: Call, work: DataFrame) -> None:
        attempt = call.attempt
        for left in range(self._retries, -1, -1):
            with batch.writing() as connection:
                append_intent(connection, batch.ledger_schema, batch.entry, attempt)
            fault("intent-written")
            # The last moment at which a paused run can notice that it was replaced.
            self.ledger.look(batch.entry.epoch)
            try:
                self._function(work, batch.entry.batch_id, *([batch.entry.epoch] if self._takes_epoch else []))
            except self._retry_on as error:
                attempt += 2
                self._undo(batch, attempt - 1, error)
                if not left:
                    raise
                time.sleep(FIRST_PAUSE * 2 ** (self._retries - left))
            else:
                break
        fault("function-called")

    def _undo(self, batch: SqlBatch, attempt: int, error: Exception) -> None:
        """Note that the newest call had no effect, so that the batch is not in doubt."""
        why = Decision("undone", reason_of(error))
        with batch.writing() as connection:
            append_intent(connection, batch.ledger_schema, replace(batch.entry, decision=why), attempt)
        log.warning("stream %r: batch %d is called again: %s", batch.entry.stream, batch.entry.batch_id, why.note)
