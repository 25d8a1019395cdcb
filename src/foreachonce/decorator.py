"""``@exactly_once``: a user's function made into a foreachBatch function whose writes happen exactly once."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext
from functools import cache, update_wrapper
from typing import TYPE_CHECKING, Any, get_args, overload

from foreachonce.base import BatchFunction, SinkGroup, TransactionSink, name_of_function, reference
from foreachonce.decide import OnDoubt
from foreachonce.errors import ConfigurationError, FrameError
from foreachonce.keywords import flags, one_of, texts
from foreachonce.runner import run
from foreachonce.sink import OnMismatch, Sink
from foreachonce.spark.frames import kept
from foreachonce.sql.function import RETRIES, FunctionSink
from foreachonce.sql.ledger import SqlLedger

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

UserFunction = Callable[..., Any]
Begin = Callable[[], Any]


class ExactlyOnce(BatchFunction):
    """A foreachBatch function made of sinks and a user's function; see [`exactly_once`][foreachonce.exactly_once].

    Args:
        sinks: where the function's rows go.
        function: what the user wrote.
        begin: makes the transaction that the function takes as its third parameter; None where it returns a frame.
    """

    def __init__(self, sinks: Sequence[Sink[Any]], function: UserFunction, *, begin: Begin | None) -> None:
        update_wrapper(self, function)
        self._sinks = tuple(sinks)
        self._function, self._begin = function, begin
        self.heal = any(sink.heal for sink in sinks)

    @property
    def sinks(self) -> Sequence[Sink[Any]]:
        """Where the function's rows go."""
        return self._sinks

    def __call__(self, frame: DataFrame, batch_id: int) -> None:
        """Write one batch; this is what Spark calls."""
        self._explain_heal()
        with ExitStack() as stack:
            # Called when the first sink needs it: a replay does not call the function.
            works = cache(lambda: self._works(frame, batch_id, stack))
            run(self.sinks, frame, batch_id, lambda sink: nullcontext(works()(sink)))

    def __reduce_ex__(self, protocol: Any) -> Any:
        return reference(self) or super().__reduce_ex__(protocol)

    def __repr__(self) -> str:
        sinks = ", ".join(map(repr, self.sinks))
        return f"exactly_once({sinks if len(self.sinks) == 1 else f'[{sinks}]'})({name_of_function(self._function)})"

    def _works(self, frame: DataFrame, batch_id: int, stack: ExitStack) -> Callable[[Any], Any]:
        """Call the function; return what each sink is to commit. Frames are kept until the stack ends."""
        if self._begin is not None:
            tx = self._begin()
            stack.enter_context(kept(frame))
            self._function(frame, batch_id, tx)
            return lambda sink: sink.work_of(tx)
        rows = self._returned(frame, batch_id)
        if len(self.sinks) > 1:
            stack.enter_context(kept(rows))
        return lambda sink: sink.check(rows)

    def _returned(self, frame: DataFrame, batch_id: int) -> DataFrame:
        rows: DataFrame = self._function(frame, batch_id)
        if not hasattr(rows, "mapInArrow"):
            raise FrameError(
                f"{name_of_function(self._function)} returned {type(rows).__name__}; it must return the DataFrame to write. "
                "Nothing was written."
            )
        return rows


@overload
def exactly_once(sink: Sink[Any] | Sequence[Sink[Any]] | SinkGroup, /) -> Callable[[UserFunction], ExactlyOnce]: ...
@overload
def exactly_once(
    *,
    ledger: str,
    stream: str | None = None,
    in_doubt: OnDoubt = "raise",
    retry_on: type[Exception] | tuple[type[Exception], ...] = (),
    retries: int = RETRIES,
    ledger_schema: str | None = None,
    on_mismatch: OnMismatch = "raise",
    heal: bool = False,
    checkpoint: str | None = None,
) -> Callable[[UserFunction], FunctionSink]: ...
def exactly_once(sink: Any = None, /, **keywords: Any) -> Callable[[UserFunction], Any]:
    """Make a function into a foreachBatch function whose writes happen exactly once. It has three forms:

    - ``@exactly_once(sink)`` on ``(df, batch_id) -> DataFrame``: the frame that it returns is written. With a list of
      sinks it is computed once and written to each, one after the other; after a crash between two, only the one that
      lacks the batch writes.
    - ``@exactly_once(JdbcSink(url, stream=…))`` on ``(df, batch_id, tx)``: all steps of ``tx`` (``tx.append``, ``tx.merge``,
      ``tx.execute``) are one transaction with the ledger entry; see [`Transaction`][foreachonce.Transaction]. ``df`` is
      computed once, however many tables it feeds. With ``@exactly_once(DeltaTables(path, path, stream=…))`` each table is a
      commit of its own; see [`DeltaTables`][foreachonce.DeltaTables].
    - ``@exactly_once(ledger=url, stream=…, in_doubt=…)`` on ``(df, batch_id)`` or ``(df, batch_id, epoch)``: for effects
      that no transaction covers. An intent is written to the ledger before the call and an entry after it. A batch whose
      call was interrupted, or raised, is *in doubt* at the next start.

    The function is not called for a batch that the ledger already holds. In the first two forms it may be called again for
    one that was not committed, so what else it does is not covered. A batch whose function returns no DataFrame is refused
    with `FrameError`, one that returns a stream with `EpochError`.

    Args:
        sink: a sink such as [`JdbcSink`][foreachonce.JdbcSink], or a list of them, each with a ledger or a stream of its
            own; or several tables of Delta.

    Keyword Args:
        ledger (str): the third form: the address of the database for the ledger, as for `JdbcSink`.
        stream (str | None): the stream's name; None takes the query's name.
        in_doubt (str | Callable[[Epoch], bool]): what happens to a batch in doubt: ``"raise"``, the default, stops with
            `InDoubt`; ``"rerun"`` calls the function again; a probe, ``(epoch) -> bool``, says whether the epoch's effect is
            there: False calls again, True confirms without a call.
        retry_on (type[Exception] | tuple[type[Exception], ...]): an exception's class, or a tuple of them, by which the
            function says that its call had no effect, such as a request that was answered by 503. The batch is then not in
            doubt: it is called again after 1, 2, 4, … seconds, and by the next start where that was not enough.
        retries (int): how often a batch is called again in one run after such an error; 3 by default, 0 for not at all.
        ledger_schema (str | None): as for `JdbcSink`.
        on_mismatch (str): as for `JdbcSink`.
        heal (bool): as for `JdbcSink`.
        checkpoint (str | None): as for `JdbcSink`.

    Raises:
        ConfigurationError: at once: no sink, a keyword that is missing or unknown, or a function with other parameters.
    """
    if (sink is None) == ("ledger" not in keywords):
        raise ConfigurationError("exactly_once() takes either a sink such as JdbcSink(...), or ledger= and its keywords.")
    if sink is None:
        return _around_function(**keywords)
    if keywords:
        raise ConfigurationError(f"exactly_once(sink) takes no {next(iter(keywords))}=; the sink has it.")
    sinks = _sinks_of(sink)
    _check_sinks(sinks)
    begin = sink.transaction if isinstance(sink, TransactionSink | SinkGroup) else None

    def decorate(function: UserFunction) -> ExactlyOnce:
        takes_tx = _takes_third(function, "(df, batch_id) and return the frame to write, or (df, batch_id, tx)")
        if takes_tx and begin is None:
            raise ConfigurationError(
                f"{name_of_function(function)} takes a transaction, which {sinks[0]!r} does not have."
                if len(sinks) == 1
                else f"{name_of_function(function)} takes a transaction; several sinks cannot share one."
            )
        if not takes_tx and isinstance(sink, SinkGroup):
            raise ConfigurationError(
                f"{name_of_function(function)} must take (df, batch_id, tx): {sink!r} is several tables."
            )
        return ExactlyOnce(sinks, function, begin=begin if takes_tx else None)

    return decorate


def _around_function(
    *,
    ledger: str,
    stream: str | None = None,
    in_doubt: OnDoubt = "raise",
    retry_on: type[Exception] | tuple[type[Exception], ...] = (),
    retries: int = RETRIES,
    ledger_schema: str | None = None,
    on_mismatch: OnMismatch = "raise",
    heal: bool = False,
    checkpoint: str | None = None,
) -> Callable[[UserFunction], FunctionSink]:
    flags(heal=heal)
    texts(stream=stream, ledger_schema=ledger_schema, checkpoint=checkpoint)
    one_of("on_mismatch", on_mismatch, get_args(OnMismatch))
    if not callable(in_doubt):
        one_of("in_doubt", in_doubt, ("raise", "rerun"), "or a function from an epoch to True or False")
    errors = retry_on if isinstance(retry_on, tuple) else (retry_on,)
    if not all(isinstance(each, type) and issubclass(each, Exception) for each in errors):
        raise ConfigurationError(f"retry_on={retry_on!r} must be an exception's class, or a tuple of them.")
    if not isinstance(retries, int) or isinstance(retries, bool) or retries < 0:
        raise ConfigurationError(f"retries={retries!r} must be a whole number from 0 on.")
    view = SqlLedger(ledger, schema=ledger_schema)

    def decorate(function: UserFunction) -> FunctionSink:
        takes_epoch = _takes_third(function, "(df, batch_id) or (df, batch_id, epoch)")
        return FunctionSink(
            function,
            ledger=view,
            stream=stream,
            in_doubt=in_doubt,
            on_mismatch=on_mismatch,
            heal=heal,
            checkpoint=checkpoint,
            takes_epoch=takes_epoch,
            retry_on=errors,
            retries=retries,
        )

    return decorate


def _sinks_of(sink: Any) -> list[Any]:
    if isinstance(sink, SinkGroup):
        return list(sink.sinks)
    return list(sink) if isinstance(sink, list | tuple) else [sink]


def _check_sinks(sinks: Sequence[Any]) -> None:
    for sink in sinks:
        if not all(hasattr(sink, name) for name in ("ledger", "check", "commit")):
            kind = "type" if isinstance(sink, type) else type(sink).__name__
            raise ConfigurationError(f"exactly_once() takes a sink such as JdbcSink(...), not {kind}.")
    if not sinks:
        raise ConfigurationError("exactly_once([]) has no sink to write to.")
    places = [(sink.ledger, sink.stream) for sink in sinks]
    for number, place in enumerate(places):
        if place in places[:number]:
            raise ConfigurationError(
                f"exactly_once([...]): two sinks share the stream name {place[1]!r} in one ledger, so the second would take "
                "every batch for a replay; give each a stream= of its own."
            )


def _takes_third(function: UserFunction, wanted: str) -> bool:
    """Whether a function takes three parameters rather than two."""
    if not callable(function):
        raise ConfigurationError(f"exactly_once(...) decorates a function, not {type(function).__name__}.")
    for count in (2, 3):
        try:
            inspect.signature(function).bind(*range(count))
        except (TypeError, ValueError):
            continue
        return count == 3
    raise ConfigurationError(f"{name_of_function(function)} must take {wanted}.")
