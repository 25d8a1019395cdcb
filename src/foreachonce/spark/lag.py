"""How far a batch's end is behind its sources, as Spark saw it when it planned the batch."""

from __future__ import annotations

from typing import Any

from foreachonce.position import Position, records_between


def behind(execution: Any, position: Position) -> dict[str, int | None]:
    """At most how many records each source had beyond the batch's end, by source id; None where Spark does not tell.

    Spark asks each source for its newest offset (``SupportsAdmissionControl.reportLatestOffset``) when it plans a batch, and
    keeps the answers (``StreamExecution.latestOffsets``) until the next one: no broker is asked here. It plans no batch that
    was in the offset log when the query started, so nothing is known of that one. A file source reports nothing, and of
    other offsets than Kafka's nobody can tell how many records lie between.

    Args:
        execution: Spark's running query, as py4j shows it; None on Spark Connect.
        position: the batch's.
    """
    found: dict[str, int | None] = dict.fromkeys(position.sources)
    counted = {source: span.end for source, span in position.sources.items() if _counts(span.end)}
    if execution is None or not counted:
        return found
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    try:
        latest = execution.latestOffsets()
        for source, end in counted.items():
            newest = latest.get(_source(execution, source))
            if newest.isDefined():
                found[source] = records_between(end, newest.get().json())
    except (Py4JError, PySparkException):
        # These methods are not Spark's public API: a version without them must not cost a batch.
        return dict.fromkeys(position.sources)
    return found


def _source(execution: Any, name: str) -> Any:
    """A source by its id: its number, or from Spark 4.2 on the name that the user gave it."""
    return execution.sources().apply(int(name)) if name.isdigit() else execution.sourceIdMap().apply(name)


def _counts(offset: str | None) -> bool:
    """Whether an offset counts records, as Kafka's do."""
    return offset is not None and records_between(None, offset) is not None
