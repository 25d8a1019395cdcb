"""A stream of small files, and the ways in which its checkpoint can break."""

from __future__ import annotations

import json
import os
import shutil
from abc import abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

SCHEMA = "id bigint, value string"
BatchFunction = Callable[["DataFrame", int], Any]


@dataclass(frozen=True, slots=True)
class KafkaSource:
    """A topic of JSON records as a source.

    Args:
        servers: the broker's address.
        topic: the topic, or several with commas between.
        records: how many records take the place of one file.
    """

    servers: str
    topic: str
    records: int = 1


def open_stream(spark: SparkSession, source: Path | KafkaSource, *, limit: int) -> DataFrame:
    """The streaming frame over a folder's files, ``limit`` of them a batch, or as much of a topic."""
    if isinstance(source, KafkaSource):
        reader = spark.readStream.format("kafka").option("kafka.bootstrap.servers", source.servers)
        reader = reader.option("subscribe", source.topic).option("startingOffsets", "earliest")
        records = reader.option("maxOffsetsPerTrigger", limit * source.records).load()
        return records.selectExpr(f"from_json(cast(value as string), '{SCHEMA}') as row").select("row.*")
    return spark.readStream.schema(SCHEMA).option("maxFilesPerTrigger", limit).json(str(source))


class Stream:
    """A source and the checkpoint of the query that reads it.

    Args:
        spark: the session that runs the queries; None where they run in drivers of their own.
        folder: where the checkpoint and its copies go.
    """

    source: Path | KafkaSource

    def __init__(self, spark: SparkSession | None, folder: Path) -> None:
        self.spark = spark
        self.checkpoint = folder / "checkpoint"

    @abstractmethod
    def feed(self, *files: Iterable[int]) -> None:
        """Add rows: a file for each list of ids, or what takes its place."""

    @abstractmethod
    def ids(self) -> list[int]:
        """Every id that was fed, in order."""

    def run(
        self,
        function: BatchFunction,
        *,
        limit: int = 1,
        name: str | None = None,
        change: Callable[[DataFrame], DataFrame] = lambda frame: frame,
        output_mode: str = "append",
        **options: str,
    ) -> str:
        """Run every batch that is there and return the run's id; an error in a batch is raised."""
        assert self.spark is not None
        frame = change(open_stream(self.spark, self.source, limit=limit))
        writer = frame.writeStream.foreachBatch(function).outputMode(output_mode).options(**options)
        writer = writer.queryName(name) if name else writer
        query = writer.option("checkpointLocation", str(self.checkpoint)).trigger(availableNow=True).start()
        query.awaitTermination()
        return str(query.runId)

    def forget_commit(self) -> int:
        """Take the newest batch's ``commits/N`` away, as a crash just before it would; return its number."""
        newest = self.newest("commits")
        self.remove(f"commits/{newest}")
        return newest

    def newest(self, log: str) -> int:
        """The number of the newest file in ``offsets`` or ``commits``."""
        return max(int(path.name) for path in (self.checkpoint / log).iterdir() if path.name.isdigit())

    def lose_checkpoint(self) -> None:
        """Delete the whole checkpoint."""
        shutil.rmtree(self.checkpoint)

    def copy_checkpoint(self, name: str) -> Path:
        """Copy the checkpoint as it is now."""
        return Path(shutil.copytree(self.checkpoint, self.checkpoint.parent / name))

    def restore_checkpoint(self, copy: Path) -> None:
        """Put an older copy in the checkpoint's place."""
        self.lose_checkpoint()
        shutil.copytree(copy, self.checkpoint)

    def forget_copy(self, name: str) -> None:
        """Delete a copy."""
        shutil.rmtree(self.checkpoint.parent / name)

    def remove(self, path: str) -> None:
        """Delete a file of the checkpoint."""
        file = self.checkpoint / path
        file.unlink()
        # Spark would take a checksum that stays behind for another query's file.
        file.with_name(f".{file.name}.crc").unlink(missing_ok=True)


class FileStream(Stream):
    """A file source and a checkpoint in one folder."""

    source: Path

    def __init__(self, spark: SparkSession | None, folder: Path) -> None:
        super().__init__(spark, folder)
        self.source = folder / "source"
        self.source.mkdir(parents=True, exist_ok=True)

    def feed(self, *files: Iterable[int]) -> None:
        """Add a file for each list of ids; their times of change keep their order."""
        for ids in files:
            number = len(list(self.source.glob("*.json")))
            path = self.source / f"{number:05}.json"
            lines = (json.dumps({"id": number, "value": f"value {number}"}) for number in ids)
            path.with_suffix(".tmp").write_text("\n".join(lines) + "\n")
            os.utime(path.with_suffix(".tmp"), (number + 1, number + 1))
            path.with_suffix(".tmp").rename(path)

    def ids(self) -> list[int]:
        """Every id that was fed, in order."""
        lines = (line for path in self.source.glob("*.json") for line in path.read_text().splitlines())
        return sorted(json.loads(line)["id"] for line in lines if line)
