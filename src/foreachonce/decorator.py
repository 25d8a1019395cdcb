"""``@exactly_once(sink)``: a foreachBatch function whose returned frame is written exactly once."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import update_wrapper
from typing import TYPE_CHECKING

from foreachonce.errors import ConfigurationError, FrameError
from foreachonce.runner import run
from foreachonce.sink import Sink

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

BatchFunction = Callable[["DataFrame", int], "DataFrame"]


class ExactlyOnce:
    """A foreachBatch function made of a sink and a user's function; see :func:`exactly_once`."""

    def __init__(self, sink: Sink, function: BatchFunction) -> None:
        update_wrapper(self, function)
        self.sink = sink
        self._function = function

    def __call__(self, frame: DataFrame, batch_id: int) -> None:
        """Write one batch; this is what Spark calls."""
        run(self.sink, frame, batch_id, self._prepare)

    def __repr__(self) -> str:
        return f"exactly_once({self.sink!r})({getattr(self._function, '__qualname__', self._function)})"

    def _prepare(self, frame: DataFrame, batch_id: int) -> DataFrame:
        rows = self._function(frame, batch_id)
        if not hasattr(rows, "mapInArrow"):
            raise FrameError(
                f"{getattr(self._function, '__qualname__', self._function)} returned {type(rows).__name__}; it must return "
                "the DataFrame to write. Nothing was written."
            )
        return rows


def exactly_once(sink: Sink) -> Callable[[BatchFunction], ExactlyOnce]:
    """Make a function ``(df, batch_id) -> DataFrame`` into a foreachBatch function that writes its frame exactly once.

    The function is not called for a batch that the ledger already holds. It may be called again for one that was not
    committed, so what else it does beside returning a frame is not covered.

    Args:
        sink: where the frame goes, for example a :class:`~foreachonce.JdbcSink`.

    Raises:
        ConfigurationError: ``sink`` is no sink, or the function does not take the two parameters.
    """
    if not all(hasattr(sink, name) for name in ("head", "check", "commit", "ledger")):
        raise ConfigurationError(f"exactly_once() takes a sink such as JdbcSink(...), not {type(sink).__name__}.")

    def decorate(function: BatchFunction) -> ExactlyOnce:
        if not callable(function):
            raise ConfigurationError(f"exactly_once(sink) decorates a function, not {type(function).__name__}.")
        try:
            inspect.signature(function).bind(None, 0)
        except (TypeError, ValueError):
            raise ConfigurationError(
                f"{getattr(function, '__qualname__', function)} must take (df, batch_id) and return the frame to write."
            ) from None
        return ExactlyOnce(sink, function)

    return decorate
