"""Where a query's first batch starts: what Kafka's source keeps in the checkpoint alone. Pure but for the folder's files.

Batch 0 starts at no offset. The source turns ``startingOffsets`` into offsets when the query first starts, and keeps them
in ``sources/I/0``; where that is gone it does so anew, with the topics as they are then, and the same batch has other rows.
Once there is a start offset nobody looks at that file. Source: KafkaMicroBatchStream.initialOffset of Apache Spark.
"""

from __future__ import annotations

from foreachonce.checkpoint import Folder
from foreachonce.entry import Entry
from foreachonce.offsets import kafka_offsets


def lost_beginnings(first: Entry, old: Folder | None) -> list[str]:
    """The folders of a batch's Kafka sources, where it starts at their beginning and nothing tells where that was."""
    spans, folders = first.position.sources, first.position.folders
    beginning = [folders[source] for source in folders if spans[source].start is None and kafka_offsets(spans[source].end)]
    return [folder for folder in beginning if not (old is not None and old.exists(f"sources/{folder}/0"))]
