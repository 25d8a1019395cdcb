"""The texts of a checkpoint's files, read and written. Pure.

- ``metadata``: ``{"id":"<query id>"}``.
- ``offsets/N``: a version, a line of metadata, then a line for each source. v1: the offset, in the query's order; v2 (Spark
  4.1 on): ``id:offset``. ``-`` stands for a source without data yet.
- ``commits/N``: a version and a line of metadata: the next batch's watermark and, from v2 on, the ids of state files.
- ``sources/I/N`` of a file source: a version, then a line of JSON for each file of its log entry N. Every tenth entry is
  ``N.compact`` instead, which holds all entries so far.

Source: OffsetSeqLog.scala, CommitLog.scala, HDFSMetadataLog.scala and CompactibleFileStreamLog.scala of Apache Spark.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from foreachonce.position import VOID

OFFSET_VERSIONS = ("v1", "v2")
COMMIT_VERSIONS = ("v1", "v2", "v3")
# spark.sql.streaming.fileSource.log.compactInterval, unless set. Spark derives another from the files that it finds.
COMPACT_INTERVAL = 10


@dataclass(frozen=True, slots=True)
class OffsetLog:
    """One ``offsets/N``.

    Args:
        version: ``"v1"`` or ``"v2"``.
        metadata: the JSON of Spark's ``OffsetSeqMetadata``, verbatim; empty from before Spark 2.1.
        offsets: each source's offset as JSON, by source id (its place, or its name in v2); None before its first data.
    """

    version: str
    metadata: str
    offsets: Mapping[str, str | None]

    @classmethod
    def parse(cls, text: str) -> OffsetLog:
        """Read a file's text.

        Raises:
            ValueError: it is torn, or of a version that this library does not know.
        """
        version, *rest = text.removesuffix("\n").split("\n")
        if version not in OFFSET_VERSIONS:
            raise ValueError(f"version {version[:20]!r}, known are v1 and v2")
        if len(rest) < 2:
            raise ValueError("it ends before the first offset")
        metadata, *lines = rest
        if metadata:
            json.loads(metadata)
        pairs = enumerate(lines) if version == "v1" else (line.split(":", 1) for line in map(_with_colon, lines))
        offsets = {str(source): None if offset == VOID else offset for source, offset in pairs}
        for offset in offsets.values():
            json.loads("null" if offset is None else offset)
        return cls(version, metadata, dict(sorted(offsets.items())))

    def text(self) -> str:
        """The file's text, as Spark writes it."""
        if self.version == "v1":
            lines = [_or_void(self.offsets[source]) for source in sorted(self.offsets, key=int)]
        else:
            lines = [f"{source}:{_or_void(offset)}" for source, offset in self.offsets.items()]
        return "\n".join([self.version, self.metadata, *lines])

    @property
    def watermark(self) -> int:
        """The batch's watermark in milliseconds since 1970; 0 where there is none."""
        return int(json.loads(self.metadata or "{}").get("batchWatermarkMs", 0))


@dataclass(frozen=True, slots=True)
class CommitLog:
    """One ``commits/N``.

    Args:
        version: ``"v1"``, ``"v2"`` or ``"v3"``.
        metadata: the JSON of Spark's ``CommitMetadata``, verbatim.
    """

    version: str
    metadata: str

    @classmethod
    def parse(cls, text: str) -> CommitLog:
        """Read a file's text.

        Raises:
            ValueError: it is torn, or of a version that this library does not know.
        """
        version, _, metadata = text.removesuffix("\n").partition("\n")
        if version.strip() not in COMMIT_VERSIONS:
            raise ValueError(f"version {version[:20]!r}, known are {', '.join(COMMIT_VERSIONS)}")
        if metadata:
            json.loads(metadata)
        return cls(version.strip(), metadata)

    @classmethod
    def after(cls, watermark: int) -> CommitLog:
        """The file of a batch without state, which every Spark reads."""
        return cls("v1", json.dumps({"nextBatchWatermarkMs": watermark}, separators=(",", ":")))

    def text(self) -> str:
        """The file's text, as Spark writes it."""
        return f"{self.version}\n{self.metadata}"


def metadata_text(query_id: str) -> str:
    """The text of ``metadata``."""
    return json.dumps({"id": query_id}, separators=(",", ":"))


def source_log_files(log: Mapping[int, tuple[str, ...]]) -> dict[str, str]:
    """A file source's log anew: the texts of its files, by name.

    Args:
        log: the lines of each log entry, from 0 on without a gap.
    """
    compact = len(log) // COMPACT_INTERVAL * COMPACT_INTERVAL - 1
    texts = {str(number): _source_log_text(log[number]) for number in range(compact + 1, len(log))}
    if compact >= 0:
        texts[f"{compact}.compact"] = _source_log_text([line for number in range(compact + 1) for line in log[number]])
    return texts


def _source_log_text(lines: tuple[str, ...] | list[str]) -> str:
    return "\n".join(["v1", *lines])


def _or_void(offset: str | None) -> str:
    return VOID if offset is None else offset


def _with_colon(line: str) -> str:
    if ":" not in line:
        raise ValueError(f"{line[:40]!r} names no source")
    return line
