"""``tx``: collects what a function of three parameters writes into the tables of one database, as one transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from foreachonce.errors import ConfigurationError
from foreachonce.keywords import flags, names, texts
from foreachonce.sql.databases.base import Database, Parameters, first_word
from foreachonce.sql.table import SqlTarget, TableLoad, check_target

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

# These would end or split the transaction that the rows and the entry share.
_CONTROL = {"abort", "begin", "commit", "end", "prepare", "release", "rollback", "savepoint", "start"}
SHOWN = 80


@dataclass(frozen=True, slots=True)
class Statement:
    """One SQL statement of the user's with named parameters (``:name``), checked when it is created.

    Raises:
        ConfigurationError: no text, a transaction's own command, or parameters that do not match.
    """

    text: str
    parameters: Parameters

    def __post_init__(self) -> None:
        if not isinstance(self.text, str) or not self.text.strip():
            raise ConfigurationError(f"tx.execute() takes one SQL statement as text, not {self.text!r}.")
        if first_word(self.text) in _CONTROL:
            raise ConfigurationError(
                f"tx.execute({self._shown!r}): the transaction is committed by foreachonce, with the ledger entry; leave "
                "this statement out."
            )
        wanted = set(sa.text(self.text).compile().params)
        if wanted != set(self.parameters):
            raise ConfigurationError(
                f"tx.execute({self._shown!r}): the statement names the parameters {sorted(wanted)}, given are "
                f"{sorted(self.parameters)}; write a colon that names none as \\:."
            )

    def run(self, connection: Connection, database: Database) -> int:
        """Run it in the connection's transaction; its rows are not counted."""
        database.execute(connection, sa.text(self.text), self.parameters)
        return 0

    @property
    def _shown(self) -> str:
        first = self.text.strip().splitlines()[0]
        return first if len(first) <= SHOWN else f"{first[:SHOWN]}…"


class Transaction:
    """Collects the steps of one batch. Nothing is sent while the function runs.

    When the function has returned, the executors stage the frames' rows side by side, or the driver fetches them where they
    are few. Then one database transaction carries the steps out in the order of the calls, and appends the ledger entry. An
    exception in the function, a frame that does not fit, or a statement that fails leaves every table as it was.

    Frames and parameters are checked at once. The batch's frame is persisted meanwhile, so it is computed once.

    There is no overwrite and no stream of changes. To overwrite, ``execute`` a ``delete`` before the ``append``. A stream of
    changes takes a sink of its own.
    """

    def __init__(self, load: Callable[[DataFrame, SqlTarget, bool], TableLoad], schema: str | None) -> None:
        self._load, self._schema = load, schema
        self.steps: list[TableLoad | Statement] = []

    def append(self, frame: DataFrame, table: str, *, schema: str | None = None, create_table: bool = True) -> None:
        """Add a frame's rows to a table.

        Args:
            frame: the rows, usually derived from the batch's frame, which is computed once for all steps.
            table: the table's name.
            schema: the table's schema; None is the sink's.
            create_table: create the table where it does not exist. An empty new table stays if the batch fails.

        Raises:
            ConfigurationError: at once: a keyword is wrong.
            FrameError: at once: the frame does not fit the table.
        """
        self._add(frame, SqlTarget(table, schema or self._schema), create_table)

    def merge(
        self,
        frame: DataFrame,
        table: str,
        *,
        key: str | Sequence[str],
        order_by: str | Sequence[str] | None = None,
        skip_unchanged: bool = False,
        schema: str | None = None,
        create_table: bool = True,
    ) -> None:
        """Insert a frame's rows into a table, or update the rows of the same key.

        A merge replaces rows; it does not add to them.

        Args:
            frame: the rows.
            table: the table's name.
            key: the column or columns that identify a row, as for [`JdbcSink`][foreachonce.JdbcSink].
            order_by: which row of a key wins within the batch, as for `JdbcSink`.
            skip_unchanged: do not rewrite a row that would stay as it is.
            schema: the table's schema; None is the sink's.
            create_table: create the table where it does not exist; the key becomes its primary key.

        Raises:
            ConfigurationError: at once: a keyword is wrong.
            FrameError: at once: the frame does not fit the table.
        """
        flags(skip_unchanged=skip_unchanged)
        keys, best = names("key", key), names("order_by", order_by)
        target = SqlTarget(table, schema or self._schema, "merge", keys, best, skip_unchanged=skip_unchanged)
        self._add(frame, target, create_table)

    def execute(self, statement: str, parameters: Mapping[str, object] | None = None) -> None:
        """Run one SQL statement in the transaction, at its place among the steps. It returns no rows.

        Args:
            statement: the SQL, with ``:name`` for each parameter; a colon that names none is written ``\\:``.
            parameters: values to bind, by name.

        Raises:
            ConfigurationError: at once: parameters do not match, or the statement would end the transaction. On MariaDB and
                MySQL a statement that may commit on its own is refused when it would run; nothing of the batch is written.
        """
        self.steps.append(Statement(statement, dict(parameters or {})))

    def _add(self, frame: DataFrame, target: SqlTarget, create: bool) -> None:
        texts(table=target.table, schema=target.schema)
        flags(create_table=create)
        check_target(target)
        self.steps.append(self._load(frame, target, create))
