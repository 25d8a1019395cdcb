"""Spark's checkpoint folders: their formats, and a position out of one. Pure but for a folder's files."""

from foreachonce.checkpoint.formats import (
    COMPACT,
    COMPACT_INTERVAL,
    COMPACT_INTERVAL_SETTING,
    CommitLog,
    Log,
    OffsetLog,
    by_entry,
    is_stateful,
    log_number,
    metadata_text,
    query_id,
    read_commit,
    read_end,
    read_position,
    source_log_files,
    source_log_lines,
    source_log_names,
)
from foreachonce.checkpoint.local import CheckpointFiles, CheckpointFolder

__all__ = [
    "COMPACT",
    "COMPACT_INTERVAL",
    "COMPACT_INTERVAL_SETTING",
    "CheckpointFiles",
    "CheckpointFolder",
    "CommitLog",
    "Log",
    "OffsetLog",
    "by_entry",
    "is_stateful",
    "log_number",
    "metadata_text",
    "query_id",
    "read_commit",
    "read_end",
    "read_position",
    "source_log_files",
    "source_log_lines",
    "source_log_names",
]
