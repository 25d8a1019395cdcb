"""The JDBC sink: rows and ledger entry in one transaction of a relational database."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Literal, get_args

from sqlalchemy.engine import URL

from foreachonce.entry import Entry, Found
from foreachonce.epoch import Epoch
from foreachonce.errors import ConfigurationError
from foreachonce.keywords import flags, names, one_of, texts
from foreachonce.runner import run
from foreachonce.sink import OnMismatch
from foreachonce.spark.frames import backticked, partitions, run_tasks
from foreachonce.spark.resolve import refuse_streaming
from foreachonce.sql.database import Database, SqlType
from foreachonce.sql.table import Target, columns_of
from foreachonce.sql.url import shown
from foreachonce.sql.view import SqlLedger
from foreachonce.sql.write import Write, direct, open_stage, promote, staged

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

Mode = Literal["append", "merge"]
Path = Literal["auto", "direct", "staged"]

# One task carries what at most this many would have computed: merging their partitions costs less than writing the rows
# twice, into a stage and from there. See docs/decisions/0002-direct-or-staged.md.
DIRECT_PARTITIONS = 4


class JdbcSink:
    """A foreachBatch function that writes each batch into a table exactly once.

    The rows and a ledger entry with the source's offsets are committed in one database transaction, so a replay of a batch
    is a no-op, half a batch is never seen, and a lost or rolled-back checkpoint is noticed before it repeats or loses rows.

    Args:
        url: ``postgresql://user@host:port/database``, ``sqlite:///path``, or either in its ``jdbc:`` form. The password is
            shown nowhere.
        table: the table's name, without its schema.
        stream: the pipeline's own name for its output here; it outlives checkpoints. None takes the query's name.
        mode: ``"append"`` adds rows; ``"merge"`` inserts rows or updates those of the same key.
        key: merge only: the column or columns that tell rows apart; the table needs a unique index on them.
        order_by: merge only: where a batch holds a key more than once, the row with the greatest values here wins.
            Without it such a batch is refused.
        create_table: make the table from the first frame where it does not exist; a merge's key becomes its primary key.
        schema: the table's schema; None is the connection's default.
        ledger_schema: the schema of ``foreachonce_ledger``; None is the connection's default.
        on_mismatch: what becomes of a batch that is not the one the ledger expects: ``"raise"`` refuses it; ``"write"``
            writes it all the same and says so in its entry.
        path: ``"direct"``: one task carries the batch in one transaction; ``"staged"``: tasks side by side into a staging
            table, then one statement; ``"auto"`` chooses by the number of partitions, and stages
            where Spark does not tell it (Connect, a shuffle under adaptive execution). SQLite is always direct.
        checkpoint: the query's ``checkpointLocation``; needed on Spark Connect only.

    Raises:
        ConfigurationError: a keyword is missing, unknown or contradicts another; raised at once, not at the first batch.
    """

    def __init__(
        self,
        url: str,
        *,
        table: str,
        stream: str | None = None,
        mode: Mode = "append",
        key: str | Sequence[str] | None = None,
        order_by: str | Sequence[str] | None = None,
        create_table: bool = True,
        schema: str | None = None,
        ledger_schema: str | None = None,
        on_mismatch: OnMismatch = "raise",
        path: Path = "auto",
        checkpoint: str | None = None,
    ) -> None:
        texts(ledger_schema=ledger_schema)
        self.ledger = SqlLedger(url, schema=ledger_schema)
        self._database: Database = self.ledger.database
        one_of("mode", mode, get_args(Mode))
        one_of("on_mismatch", on_mismatch, get_args(OnMismatch))
        one_of("path", path, get_args(Path))
        texts(table=table, stream=stream, schema=schema, checkpoint=checkpoint)
        flags(create_table=create_table)
        self._target = Target(table, schema, names("key", key), names("order_by", order_by))
        _check_target(mode, self._target)
        if schema is not None:
            self._database.check_schema("schema", schema)
        if ledger_schema is not None:
            self._database.check_schema("ledger_schema", ledger_schema)
        if path == "staged" and not self._database.can_stage:
            raise ConfigurationError("path='staged' needs a database that many tasks can write to; SQLite has one writer.")
        self._mode, self._create, self._path = mode, create_table, path
        self.stream: str | None = stream
        self.on_mismatch: OnMismatch = on_mismatch
        self.checkpoint: str | None = checkpoint

    def __call__(self, frame: DataFrame, batch_id: int) -> None:
        """Write one batch; this is what Spark calls."""
        run(self, frame, batch_id)

    @property
    def guarantee(self) -> str:
        """What holds for the rows, in words that a user can check."""
        return self._database.guarantee

    def __str__(self) -> str:
        how = f"{self._mode} by ({', '.join(self._target.key)})" if self._target.key else self._mode
        return f"{shown(self.ledger.url)}, table {self._target}, {how}: {self.guarantee}"

    def __repr__(self) -> str:
        return (
            f"JdbcSink({shown(self.ledger.url)!r}, table={str(self._target)!r}, stream={self.stream!r}, mode={self._mode!r})"
        )

    def head(self, epoch: Epoch) -> Found:
        """Read the ledger: one statement, after the first time in a process."""
        return self.ledger.look(epoch)

    def check(self, frame: DataFrame) -> None:
        """Refuse a frame that the table cannot hold; make the table where it may be made."""
        refuse_streaming(frame)
        self._columns(frame)

    def commit(self, frame: DataFrame, entry: Entry) -> int:
        """Commit the rows and the entry in one transaction."""
        columns = self._columns(frame)
        shipped = self._ship(frame, columns)
        write = Write(
            database=self._database,
            url=self.ledger.url,
            target=self._target,
            columns=tuple(columns),
            ledger_schema=self.ledger.schema,
            identity=self.ledger.identity,
            entry=entry,
        )
        if self._is_direct(frame):
            return sum(receipt.rows for receipt in run_tasks(shipped.coalesce(1), direct(write)))
        stage = open_stage(write)
        return promote(write, stage, run_tasks(shipped, staged(write, stage)))

    def _columns(self, frame: DataFrame) -> dict[str, SqlType]:
        return _checked_columns(self._database, self.ledger.url, self._target, frame.schema.json(), self._create)

    def _ship(self, frame: DataFrame, columns: dict[str, SqlType]) -> DataFrame:
        """The frame as the database can load it. Columns go by place: mapInArrow cannot name a column with a dot."""
        fields = [(frame[backticked(field.name)], field.dataType, columns[field.name]) for field in frame.schema.fields]
        return frame.select(*(self._database.ship(*field).alias(f"c{place}") for place, field in enumerate(fields)))

    def _is_direct(self, frame: DataFrame) -> bool:
        if self._path != "auto" or not self._database.can_stage:
            return self._path != "staged"
        count = partitions(frame)
        return count is not None and count <= DIRECT_PARTITIONS


@cache
def _checked_columns(database: Database, url: URL, target: Target, frame: str, create: bool) -> dict[str, SqlType]:
    """The table's types for a frame's columns; looked up once in a process for each schema of frames."""
    from pyspark.sql.types import StructType

    with database.writing(url) as connection:
        return columns_of(connection, database, target, StructType.fromJson(json.loads(frame)), create=create)


def _check_target(mode: Mode, target: Target) -> None:
    if not isinstance(target.table, str):
        raise ConfigurationError(f"table={target.table!r} must be a table's name.")
    if "." in target.table:
        schema, _, table = target.table.rpartition(".")
        raise ConfigurationError(f"table= is a name without its schema: write schema={schema!r}, table={table!r}.")
    if mode == "merge" and not target.key:
        raise ConfigurationError(f"mode='merge' into table {target} needs key=, the columns that tell its rows apart.")
    if mode == "append" and (target.key or target.order_by):
        raise ConfigurationError(f"table {target}: key= and order_by= belong to mode='merge'; mode='append' needs neither.")
