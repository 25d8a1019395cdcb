"""The JDBC sink: rows and ledger entry in one transaction of a relational database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

from foreachonce.base import TransactionSink
from foreachonce.entry import Entry, Epoch
from foreachonce.errors import ConfigurationError
from foreachonce.keywords import flags, names, one_of, texts
from foreachonce.sink import OnMismatch
from foreachonce.spark.frames import backticked
from foreachonce.spark.resolve import Resolved, refuse_streaming
from foreachonce.sql.databases.base import LoadingDatabase, SqlType
from foreachonce.sql.databases.generic import Generic
from foreachonce.sql.incoming import check_frame
from foreachonce.sql.ledger import SqlLedger
from foreachonce.sql.paths import PATHS, Path, Work, WritePath
from foreachonce.sql.spark_jdbc import SparkJdbc, SparkJdbcPath
from foreachonce.sql.table import Mode, Rows, SqlTarget, TableLoad, check_target, columns_of, without_op
from foreachonce.sql.transaction import Transaction
from foreachonce.sql.types import name_of
from foreachonce.sql.url import shown

if TYPE_CHECKING:
    from pyspark.sql import DataFrame
    from pyspark.sql.types import StructType


class JdbcSink(TransactionSink["Work"]):
    """A foreachBatch function that writes each batch into a table exactly once.

    The rows and a ledger entry with the source's offsets are committed in one database transaction, so a replay of a batch
    is a no-op, half a batch is never seen, and a lost or rolled-back checkpoint is noticed before it repeats or loses rows.
    Making the sink touches no database. ``print(sink)`` shows address, table, mode and guarantee, without the password.

    Args:
        url: ``postgresql://user:password@host:port/database``, ``mysql://…`` or ``mariadb://…`` in the same form,
            ``sqlite:///relative/path``, ``sqlite:////absolute/path``, or any in its ``jdbc:`` form. The password is shown
            nowhere; special characters in it must be percent-encoded.
        table: the table's name, without its schema. None where a function of three parameters names tables itself; see
            [`exactly_once`][foreachonce.exactly_once].
        stream: the pipeline's own name for its output here, which outlives checkpoints. None takes the query's name; without
            either, the first batch is refused.
        mode: ``"append"`` adds rows; ``"merge"`` inserts rows or updates those of the same key; ``"overwrite"`` replaces
            all rows with the batch's, for a query of ``outputMode("complete")``, and readers see the old rows or the new
            ones; ``"changes"`` applies a stream of changes by key: of each key the last one of the batch.
        key: merge and changes: the column or columns that identify a row; the table needs a unique index on just these.
        order_by: merge and changes, which requires it: where a batch holds a key more than once, the row with the greatest
            values here wins; NULL is least. Without it, and where it leaves a tie, such a batch is refused with
            `DuplicateKeys`. It compares the rows of one batch, never with the table: a late row of a later batch overwrites
            a newer one.
        skip_unchanged: merge and changes: do not rewrite a row that would stay as it is.
        op: changes only: the column that says what a row does, in upper or lower case. ``insert``, ``update``, ``upsert``,
            ``create``, ``read`` and their first letters insert or update; ``delete`` and ``d`` delete; of Delta's change
            data feed ``update_postimage`` updates and ``update_preimage`` is skipped. Anything else, and NULL, is refused.
            The table does not have this column. The changes of a key must come in order: a late change of a later batch
            overwrites newer rows and can resurrect deleted ones.
        create_table: create the table from the first frame where it does not exist; the key becomes its primary key. The
            empty table stays if the batch is refused afterwards.
        schema: the table's schema, on MariaDB and MySQL another database of the server; None is the connection's default.
            SQLite refuses it.
        ledger_schema: the schema of ``foreachonce_ledger``, ``foreachonce_meta`` and the staging tables; None is the
            connection's default. SQLite refuses it.
        on_mismatch: what happens to a batch that is not the one the ledger expects: ``"raise"`` refuses it; ``"write"``
            writes it all the same, and its entry records it. The batches that follow line up with it. A batch that has an
            entry with another position is refused either way.
        heal: let ``start()`` repair the query's checkpoint by the ledger first.
        path: ``"driver"``: the rows come to the driver's memory, which writes them; ``"direct"``: one task writes the batch
            in one transaction, and all tasks compute it until a batch has shown that it is cheap; ``"staged"``: tasks write
            side by side into a staging table, then one statement moves the rows. ``"auto"`` takes the driver for at most
            10,000 rows, if Spark estimates at most 4 MB or Kafka brought at most 2,000 records; else direct where at most 4
            tasks run side by side (partitions, or cores if they are fewer), and staged where more do or Spark does not tell
            the number (Connect). SQLite takes no ``"staged"``.
        checkpoint: the query's ``checkpointLocation``; needed on Spark Connect only.
        spark_jdbc: for a database that the library has no code of its own for: the options of Spark's JDBC writer, such as
            ``url``, ``driver``, ``user`` and ``password``. That writer brings the rows, portable statements do the rest.
            ``url=`` is the address as SQLAlchemy takes it. The options are shown nowhere.

    Attributes:
        ledger: the sink's ledger, a [`SqlLedger`][foreachonce.SqlLedger].

    Raises:
        ConfigurationError: a keyword is missing, unknown or contradicts another; raised at once, not at the first batch.
            One exception: a sink with ``mode="overwrite"`` that is the foreachBatch function of a query whose output mode is
            not complete raises at the first batch of a run, before it writes. Spark Connect does not tell the mode.
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
        writer = None if spark_jdbc is None else SparkJdbc(spark_jdbc)
        self.ledger = SqlLedger(url, schema=ledger_schema, generic=writer is not None)
        one_of("mode", mode, get_args(Mode))
        one_of("path", path, get_args(Path))
        texts(table=table, schema=schema, op=op)
        flags(create_table=create_table, skip_unchanged=skip_unchanged)
        keys, best = names("key", key), names("order_by", order_by)
        self._target = None if table is None else SqlTarget(table, schema, mode, keys, best, skip_unchanged, op)
        if self._target is not None:
            check_target(self._target)
        elif keys or best or op or skip_unchanged or mode != "append":
            raise ConfigurationError("mode= and its keywords belong to a table=; tx.merge() takes them for its own.")
        for keyword, name in (("schema", schema), ("ledger_schema", ledger_schema)):
            if name is not None:
                self.ledger.database.check_schema(keyword, name)
        self._schema, self._create = schema, create_table
        self._path = _path(path, writer, self.ledger)
        self._description = f"{shown(self.ledger.url)}, {_what(self._target)}: {self.guarantee}"
        self._accepted_run: str | None = None
        self._tables: dict[_Wanted, _Table] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Without what the run has read of its tables: another process reads it itself."""
        return {**vars(self), "_tables": {}}

    @property
    def guarantee(self) -> str:
        """What holds for the rows, in words that a user can check."""
        return self.ledger.database.guarantee

    def __str__(self) -> str:
        return self._description

    def __repr__(self) -> str:
        where = f"table={str(self._target)!r}, mode={self._target.mode!r}, " if self._target else ""
        return f"JdbcSink({shown(self.ledger.url)!r}, {where}stream={self.stream!r})"

    def begin_run(self, epoch: Epoch) -> None:
        """Drop the staging tables that the stream's earlier runs left, and read the tables anew."""
        self._tables.clear()
        self._path.clear(self.ledger.url, self.ledger.schema, epoch.stream)

    def check(self, frame: DataFrame) -> Work:
        """Refuse a frame that the table cannot hold; create the table where that is allowed."""
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
        return self._path.write(self.ledger.batch(entry), work)

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

    def _load(self, frame: DataFrame, target: SqlTarget, create: bool) -> TableLoad:
        """The frame as the database can load it. Columns go by place: mapInArrow cannot name a column with a dot."""
        refuse_streaming(frame)
        schema = frame.schema
        wanted = (target, schema.json(), create)
        table = self._tables.get(wanted)
        if table is None:
            table = self._tables[wanted] = self._read_table(schema, target, create)
        if table.is_plain:
            # One call to the JVM, where selecting columns makes three for each.
            return TableLoad(frame.toDF(*table.names), table.rows, table.types)
        prepared = [
            self.ledger.database.prepare_column(frame[backticked(name)], schema[name], column)
            for name, column in zip(table.rows.columns, table.types, strict=True)
        ]
        if target.op is not None:
            prepared.append(frame[backticked(target.op)].cast("string"))
        columns = [column.alias(name) for column, name in zip(prepared, table.names, strict=True)]
        return TableLoad(frame.select(*columns), table.rows, table.types)

    def _read_table(self, schema: StructType, target: SqlTarget, create: bool) -> _Table:
        """Check the table, or create it; once a run for each schema of frames."""
        from pyspark.sql import functions as F

        database, any_column = self.ledger.database, F.lit(None)
        check_frame(target, schema, database)
        with database.writing(self.ledger.url) as connection:
            columns = columns_of(connection, database, target, without_op(target, schema), create=create)
            version = database.version(connection, target.table, target.schema, tuple(columns))
            may_lose = database.may_lose_rows(connection, target.table, target.schema)
        is_plain = target.op is None and all(
            database.prepare_column(any_column, schema[name], column) is any_column for name, column in columns.items()
        )
        kinds = tuple(name_of(schema[name].dataType) for name in columns)
        rows = Rows(target, tuple(columns), kinds, version, may_lose)
        names = tuple(f"c{place}" for place in range(len(rows.staged)))
        return _Table(rows, tuple(columns.values()), names, is_plain)


class _Table(NamedTuple):
    """What a run knows of a table and a schema of frames."""

    rows: Rows
    types: tuple[SqlType, ...]
    names: tuple[str, ...]
    """The columns' names in which the rows travel."""
    is_plain: bool
    """Whether they travel as they are."""


_Wanted = tuple[SqlTarget, str, bool]


def _path(path: Path, writer: SparkJdbc | None, ledger: SqlLedger) -> WritePath:
    database = ledger.database
    if writer is not None and isinstance(database, Generic):
        if path != "auto":
            raise ConfigurationError(
                f"path={path!r} does not go with spark_jdbc=, whose rows are always staged; leave it out."
            )
        return SparkJdbcPath(database, writer)
    assert isinstance(database, LoadingDatabase), "only a generic database has no load of its own"
    if path == "staged" and not database.is_parallel:
        raise ConfigurationError("path='staged' needs a database that many tasks can write to; SQLite has one writer.")
    return PATHS[path](database)


def _what(target: SqlTarget | None) -> str:
    if target is None:
        return "tables that a function names"
    how = f"{target.mode} by ({', '.join(target.key)})" if target.key else target.mode
    return f"table {target}, {how}"
