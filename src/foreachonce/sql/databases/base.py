"""What a database must be able to do for the JDBC sink; one file each implements it."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from sqlalchemy.engine import URL, Connection
from sqlalchemy.sql.dml import Update, UpdateBase
from sqlalchemy.sql.expression import Select, TableClause, TextClause
from sqlalchemy.types import TypeEngine

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import Column
    from pyspark.sql.types import DataType

SqlType = TypeEngine[Any]
Parameters = Mapping[str, object]


class Database(Hashable, Protocol):
    """One kind of database. Implementations hold no state: connections belong to the process that opens them."""

    guarantee: ClassVar[str]
    is_parallel: ClassVar[bool]
    """Whether several tasks can write side by side into a staging table."""
    stage_kind: ClassVar[str]
    """What stands between CREATE and TABLE for a staging table."""
    temporary: ClassVar[str]
    """What stands between a temporary table's name and AS, so that its rows go with the transaction."""
    empties_temporary: ClassVar[bool]
    """Whether they do; where they stay with the connection, the next batch must empty the table."""
    empty: ClassVar[str]
    """What stands before a staging table's name to empty it."""
    finds_duplicate_keys: ClassVar[bool]
    """Whether a merge itself fails where the batch holds a key twice."""
    table_options: ClassVar[Mapping[str, str]]
    """SQLAlchemy's options for a new table."""
    locks_in_order: ClassVar[bool]
    """Whether SELECT … FOR UPDATE may stand in a subquery, to lock rows in the order of their keys."""

    def check_schema(self, keyword: str, schema: str) -> None:
        """Refuse a schema= where the database has none."""

    def reading(self, url: URL) -> AbstractContextManager[Connection]:
        """A connection of this process that reads what is committed.

        Raises:
            SinkUnavailable: no connection, or it was lost.
        """

    def writing(self, url: URL, *, executor: bool = False) -> AbstractContextManager[Connection]:
        """A transaction: committed when the block ends, rolled back when it raises. An executor's is not kept open.

        Raises:
            SinkUnavailable: no connection could be made.
            WriteFailed: the database refused a statement; nothing was written.
            Conflict: another transaction was in the way; nothing was written.
            CommitInDoubt: the connection was lost; the ledger tells.
        """

    def lock_schema(self, connection: Connection) -> None:
        """Hold off, until the transaction ends, every other process that would create the same tables."""

    def share_lock(self, connection: Connection, key: int, anchor: Update) -> None:
        """Hold off, until the transaction ends, whoever would take the stream over.

        Args:
            key: the stream as a number, for databases that have locks of that kind.
            anchor: a statement that locks a row of the stream's, and changes nothing, for those that lock rows only.
        """

    def seize_lock(self, connection: Connection, key: int, anchor: Update) -> None:
        """Lock the stream for this transaction alone; end the transactions of others that hold it.

        Raises:
            SinkUnavailable: somebody holds it who cannot be ended.
        """

    def execute(self, connection: Connection, statement: TextClause, parameters: Parameters) -> None:
        """Run one statement of the user's in the connection's transaction; never more than one, so no hidden COMMIT."""

    def column_type(self, data_type: DataType) -> SqlType | None:
        """The column type in which a Spark type loses nothing; None where there is none."""

    def key_type(self, connection: Connection, column: SqlType) -> SqlType:
        """What ``column_type`` becomes in a key of a new table."""

    def check_table(
        self, connection: Connection, table: str, schema: str | None, columns: Sequence[str], key: Sequence[str]
    ) -> None:
        """Refuse an existing table that cannot keep the promise, whatever its columns' types.

        Raises:
            FrameError: naming the table, what was found and what to do.
        """

    def holds(self, column: SqlType, data_type: DataType) -> bool:
        """Whether a column of an existing table holds every value of a Spark type."""

    def ship(self, column: Column, data_type: DataType, target: SqlType) -> Column:
        """The Spark expression that turns a column into what :meth:`load` can carry."""

    def load(
        self, connection: Connection, table: TableClause, columns: Sequence[str], batches: Iterable[pa.RecordBatch]
    ) -> int:
        """Write Arrow batches into ``columns`` of a table in the connection's transaction; return the rows."""

    def upsert(self, table: TableClause, key: Sequence[str], rows: Select[Any], *, skip_unchanged: bool) -> list[UpdateBase]:
        """Statements that insert ``rows``, or update the rows of the same key: those that change, if so asked."""
