"""Spark's checkpoint folders: their formats, and a position out of one. Pure but for a folder's files."""

from foreachonce.checkpoint.folder import Files, Folder
from foreachonce.checkpoint.formats import CommitLog, OffsetLog, metadata_text, source_log_files
from foreachonce.checkpoint.read import is_stateful, query_id, read_position

__all__ = [
    "CommitLog",
    "Files",
    "Folder",
    "OffsetLog",
    "is_stateful",
    "metadata_text",
    "query_id",
    "read_position",
    "source_log_files",
]
