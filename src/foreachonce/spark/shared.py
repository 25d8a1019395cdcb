"""Sources that a query uses twice, as in ``frame.union(frame)``.

Such a source stands twice in the offset log, and has one folder for what it remembers; the sources after it have a smaller
number there than in the offset log. Source: MicroBatchExecution.logicalPlan of Apache Spark.
"""

from __future__ import annotations

from typing import Any


def shared_sources(execution: Any) -> frozenset[str]:
    """The ids of a query's sources that are other uses of one before.

    Args:
        execution: Spark's running query, as py4j shows it.
    """
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    try:
        sources = execution.sources()
        count = sources.size()
        if sources.distinct().size() == count:
            return frozenset()
        return frozenset(str(number) for number in range(count) if sources.indexOf(sources.apply(number)) < number)
    except (Py4JError, PySparkException):
        # These methods are not Spark's public API: a version without them must not cost a batch.
        return frozenset()
