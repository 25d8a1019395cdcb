"""The JDBC sink: rows and ledger entry in one transaction of a relational database."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Literal, get_args

from sqlalchemy.engine import URL

from foreachonce.base import TransactionSink
from foreachonce.entry import Entry
from foreachonce.epoch import Epoch
from foreachonce.errors import ConfigurationError
from foreachonce.keywords import flags, names, one_of, texts
from foreachonce.sink import OnMismatch
from foreachonce.spark.frames import backticked, fetched, few, partitions, run_tasks
from foreachonce.spark.resolve import Resolved, refuse_streaming
from foreachonce.sql import stage
from foreachonce.sql.batch import Batch
from foreachonce.sql.databases.base import Database, SqlType
from foreachonce.sql.ledger import SqlLedger
from foreachonce.sql.spark_jdbc import SparkJdbc, clear, commit_by_spark
from foreachonce.sql.statement import Statement
from foreachonce.sql.table import Mode, Rows, Target, check_target, columns_of
from foreachonce.sql.transaction import Transaction
from foreachonce.sql.url import shown
from foreachonce.sql.write import Fetched, Load, Step, direct, finish, staged

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

Path = Literal["auto", "driver", "direct", "staged"]
Work = Sequence[Load | Statement]

# One task carries what at most this many would have computed: merging their partitions costs less than writing the rows
# twice, into a stage and from there. See docs/decisions/0002-direct-or-staged.md.
DIRECT_PARTITIONS = 4


class JdbcSink(TransactionSink["Work"]):
    """A foreachBatch function that writes each batch into a table exactly once.

    The rows and a ledger entry with the source's offsets are committed in one database transaction, so a replay of a batch
    is a no-op, half a batch is never seen, and a lost or rolled-back checkpoint is noticed before it repeats or loses rows.

    Args:
        url: ``postgresql://user@host:port/database``, ``mysql://…`` or ``mariadb://…`` likewise, ``sqlite:///path``, or
            any in its ``jdbc:`` form. The password is shown nowhere.
        table: the table's name, without its schema. None where a function of three parameters names tables itself; see
            :func:`~foreachonce.exactly_once`.
        stream: the pipeline's own name for its output here; it outlives checkpoints. None takes the query's name.
        mode: ``"append"`` adds rows; ``"merge"`` inserts rows or updates those of the same key; ``"overwrite"`` puts the
            batch in the place of all rows, for a query of ``outputMode("complete")``; ``"changes"`` applies a stream of
            changes by key.
        key: merge and changes: the column or columns that tell rows apart; the table needs a unique index on them.
        order_by: merge and changes, which needs it: where a batch holds a key more than once, the row with the greatest
            values here wins. Without it such a batch is refused. Rows of one batch are compared, never with the table: a row
            of a later batch counts also where it is older.
        skip_unchanged: merge and changes: do not rewrite a row that would be as it is.
        op: changes only: the column that says what a row does: ``insert``, ``update`` or ``delete``, or what Debezium
            (``c``, ``r``, ``u``, ``d``) and Delta's change data feed call it. The table does not have it. A deleted row
            leaves nothing behind, so an older change that comes in a later batch brings it back: the changes of a key must
            come in their order.
        create_table: make the table from the first frame where it does not exist; the key becomes its primary key. The
            empty table stays where the batch is refused afterwards.
        schema: the table's schema; None is the connection's default.
        ledger_schema: the schema of ``foreachonce_ledger``; None is the connection's default.
        on_mismatch: what becomes of a batch that is not the one the ledger expects: ``"raise"`` refuses it; ``"write"``
            writes it all the same and says so in its entry.
        heal: let :meth:`start` bring the query's checkpoint to where the ledger says that it has to go on.
        path: ``"driver"``: the rows come to the driver's memory, which writes them; ``"direct"``: one task carries the batch
            in one transaction; ``"staged"``: tasks side by side into a staging table, then one statement. ``"auto"`` takes
            the driver for at most 10,000 rows of what Spark takes for at most 4 MB, or of at most 2,000 records of Kafka;
            else it chooses by the number of
            partitions, and stages where Spark does not tell it (Connect, a shuffle under adaptive execution). SQLite takes
            no ``"staged"``.
        checkpoint: the query's ``checkpointLocation``; needed on Spark Connect only.
        spark_jdbc: the options of Spark's JDBC writer: ``url``, ``driver``, ``user``, ``password`` and others. The rows then
            go by it, and the rest by statements that all databases have: for a database that the library has no way of its
            own for. ``url=`` is its address as SQLAlchemy takes it. The options are shown nowhere.

    Raises:
        ConfigurationError: a keyword is missing, unknown or contradicts another; raised at once, not at the first batch.
            But for ``mode="overwrite"``, where the sink is the foreachBatch function and the query's output mode is not
            complete: raised by the first batch of a run, before anything is written. Spark Connect does not tell the mode.
    """

    ledger: SqlLedger

    def __init__(
        self,
        url: str,
        *,
        table: str | None = None,
        stream: str | None = None,
        mode: Mode = "append",
        key: str | Sequence[str] | None = None,
        order_by: str | Sequence[str] | None = None,
        skip_unchanged: bool = False,
        op: str | None = None,
        create_table: bool = True,
        schema: str | None = None,
        ledger_schema: str | None = None,
        on_mismatch: OnMismatch = "raise",
        heal: bool = False,
        path: Path = "auto",
        checkpoint: str | None = None,
        spark_jdbc: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(stream=stream, on_mismatch=on_mismatch, heal=heal, checkpoint=checkpoint)
        texts(ledger_schema=ledger_schema)
        self._spark_jdbc = None if spark_jdbc is None else SparkJdbc(spark_jdbc)
        self.ledger = SqlLedger(url, schema=ledger_schema, generic=spark_jdbc is not None)
        self._database: Database = self.ledger.database
        one_of("mode", mode, get_args(Mode))
        one_of("path", path, get_args(Path))
        texts(table=table, schema=schema, op=op)
        flags(create_table=create_table, skip_unchanged=skip_unchanged)
        keys, best = names("key", key), names("order_by", order_by)
        self._target = None if table is None else Target(table, schema, mode, keys, best, skip_unchanged, op)
        if self._target is not None:
            check_target(self._target)
        elif keys or best or op or skip_unchanged or mode != "append":
            raise ConfigurationError("mode= and its keywords belong to a table=; tx.merge() takes them for its own.")
        if schema is not None:
            self._database.check_schema("schema", schema)
        if ledger_schema is not None:
            self._database.check_schema("ledger_schema", ledger_schema)
        if path != "auto" and spark_jdbc is not None:
            raise ConfigurationError(
                f"path={path!r} does not go with spark_jdbc=, whose rows are always staged; leave it out."
            )
        if path == "staged" and not self._database.is_parallel:
            raise ConfigurationError("path='staged' needs a database that many tasks can write to; SQLite has one writer.")
        self._schema, self._create, self._path = schema, create_table, path
        self._accepted_run: str | None = None

    @property
    def guarantee(self) -> str:
        """What holds for the rows, in words that a user can check."""
        return self._database.guarantee

    def __str__(self) -> str:
        return f"{shown(self.ledger.url)}, {self._what}: {self.guarantee}"

    def __repr__(self) -> str:
        where = f"table={str(self._target)!r}, mode={self._target.mode!r}, " if self._target else ""
        return f"JdbcSink({shown(self.ledger.url)!r}, {where}stream={self.stream!r})"

    @property
    def _what(self) -> str:
        if self._target is None:
            return "tables that a function names"
        mode, key = self._target.mode, self._target.key
        how = f"{mode} by ({', '.join(key)})" if key else mode
        return f"table {self._target}, {how}"

    def begin_run(self, epoch: Epoch) -> None:
        """Drop the staging tables that the stream's earlier runs have left."""
        if self._spark_jdbc is not None:
            clear(self._database, self.ledger.url, self.ledger.schema, epoch.stream)
            return
        with self._database.writing(self.ledger.url) as connection:
            stage.clear(connection, self.ledger.schema, epoch.stream)

    def check(self, frame: DataFrame) -> Work:
        """Refuse a frame that the table cannot hold; make the table where it may be made."""
        if self._target is None:
            raise ConfigurationError(
                f"{self!r} has no table=: name one, or decorate a function (df, batch_id, tx) that names tables itself."
            )
        return [self._load(frame, self._target, self._create)]

    def transaction(self) -> Transaction:
        """What a function of three parameters gets as ``tx``."""
        return Transaction(self._load, self._schema)

    def work_of(self, tx: Transaction) -> Work:
        """What a function has collected in ``tx``."""
        return tx.steps

    def commit(self, work: Work, entry: Entry) -> int:
        """Carry the work out and append the entry, in one transaction."""
        batch = self.ledger.batch(entry)
        if self._spark_jdbc is not None:
            return commit_by_spark(batch, self._spark_jdbc, work)
        steps = [self._fetched(step, entry.position.records) for step in work]
        if len(steps) == 1 and isinstance(only := steps[0], Load) and self._is_direct(only.frame):
            return sum(receipt.rows for receipt in run_tasks(only.frame.coalesce(1), direct(batch, only.rows)))
        return finish(batch, self._stage(batch, steps))

    def accept(self, batch: Resolved) -> None:
        """Refuse an overwrite by batches that are parts of a result: the table would hold the last one. Once a run."""
        if self._target is None or self._target.mode != "overwrite" or self._accepted_run == batch.query.run_id:
            return
        mode = batch.output_mode
        if mode not in ("complete", None):
            raise ConfigurationError(
                f"table {self._target}: mode='overwrite' would keep the rows of the last batch only, for the query's output "
                f"mode is {mode!r}, whose batches are parts of the result. Start the query with outputMode('complete'), or "
                "write with mode='merge'. Where each batch is the whole table, let a function return it: "
                "@exactly_once(sink) def whole(df, batch_id). Nothing was written."
            )
        self._accepted_run = batch.query.run_id

    def _fetched(self, step: Load | Statement, records: int | None) -> Load | Statement | Fetched:
        """The step, with its rows where the driver carries them."""
        if not isinstance(step, Load) or self._path not in ("auto", "driver"):
            return step
        batches = fetched(step.frame) if self._path == "driver" else few(step.frame, records)
        return step if batches is None else Fetched(step.rows, batches)

    def _stage(self, batch: Batch, work: Sequence[Load | Statement | Fetched]) -> list[Step]:
        """Stage the rows of every load; return the steps that bring them into place, with the statements between."""
        loads = [step for step in work if isinstance(step, Load)]
        stages = iter(stage.open_stages(batch, [load.rows for load in loads]))
        return [self._stage_one(batch, step, stages) for step in work]

    def _stage_one(self, batch: Batch, step: Load | Statement | Fetched, stages: Iterator[stage.Stage]) -> Step:
        if isinstance(step, Statement):
            return lambda connection: step.run(connection, batch.database)
        if isinstance(step, Fetched):
            return lambda connection: step.run(connection, batch)
        place, frame = next(stages), step.frame if self._database.is_parallel else step.frame.coalesce(1)
        receipts = run_tasks(frame, staged(batch, place))
        return lambda connection: place.promote(connection, batch, receipts)

    def _load(self, frame: DataFrame, target: Target, create: bool) -> Load:
        """The frame as the database can load it. Columns go by place: mapInArrow cannot name a column with a dot."""
        refuse_streaming(frame)
        schema = frame.schema
        columns, is_plain = _checked_columns(self._database, self.ledger.url, target, schema.json(), create)
        rows, types = Rows(target, tuple(columns)), tuple(columns.values())
        if is_plain:
            # One question to the JVM, where a column for each would be three a column.
            return Load(frame.toDF(*(f"c{place}" for place in range(len(columns)))), rows, types)
        kinds = {field.name: field.dataType for field in schema.fields}
        shipped = [self._database.ship(frame[backticked(name)], kinds[name], column) for name, column in columns.items()]
        if target.op is not None:
            shipped.append(frame[backticked(target.op)].cast("string"))
        return Load(frame.select(*(column.alias(f"c{place}") for place, column in enumerate(shipped))), rows, types)

    def _is_direct(self, frame: DataFrame) -> bool:
        if self._path != "auto" or not self._database.is_parallel:
            return self._path != "staged"
        count = partitions(frame)
        return count is not None and count <= DIRECT_PARTITIONS


@cache
def _checked_columns(
    database: Database, url: URL, target: Target, frame: str, create: bool
) -> tuple[dict[str, SqlType], bool]:
    """The table's types for a frame's columns, and whether the frame travels as it is.

    Looked up once in a process for each schema of frames.
    """
    from pyspark.sql import functions as F
    from pyspark.sql.types import StructType

    schema, any_column = StructType.fromJson(json.loads(frame)), F.lit(None)
    with database.writing(url) as connection:
        columns = columns_of(connection, database, target, schema, create=create)
    shipped = (database.ship(any_column, field.dataType, columns[field.name]) for field in schema if field.name in columns)
    return columns, target.op is None and all(column is any_column for column in shipped)
