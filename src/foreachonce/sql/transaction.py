"""``tx``: what a function of three parameters writes into the tables of one database, as one transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from foreachonce.keywords import flags, names, texts
from foreachonce.sql.statement import Statement
from foreachonce.sql.table import Target, check_target
from foreachonce.sql.write import Load

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


class Transaction:
    """Collects the steps of one batch. Nothing is sent while the function runs.

    When the function has returned, the frames' rows are staged by the executors, side by side, or fetched to the driver
    where they are few; then the steps are carried out in the order in which they were asked for, in one database
    transaction together with the ledger entry. An exception in the function, a frame that does not fit or a statement that
    fails leaves every table as it was.

    There is neither overwriting nor a stream of changes: to overwrite, ``execute`` a ``delete`` before the ``append``.
    """

    def __init__(self, load: Callable[[DataFrame, Target, bool], Load], schema: str | None) -> None:
        self._load, self._schema = load, schema
        self.steps: list[Load | Statement] = []

    def append(self, frame: DataFrame, table: str, *, schema: str | None = None, create_table: bool = True) -> None:
        """Add a frame's rows to a table.

        Args:
            frame: the rows; usually made of the batch's frame, which is computed once for all steps.
            table, schema: the table; its schema is by default the sink's.
            create_table: make the table where it does not exist. An empty new table stays if the batch fails.

        Raises:
            ConfigurationError, FrameError: at once, where the keywords or the frame cannot be right.
        """
        self._add(frame, Target(table, schema or self._schema), create_table)

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
        """Insert a frame's rows into a table, or update the rows of the same key; keywords as for a sink that merges."""
        flags(skip_unchanged=skip_unchanged)
        keys, best = names("key", key), names("order_by", order_by)
        target = Target(table, schema or self._schema, "merge", keys, best, skip_unchanged=skip_unchanged)
        self._add(frame, target, create_table)

    def execute(self, statement: str, parameters: Mapping[str, object] | None = None) -> None:
        """Run one SQL statement in the transaction, at its place among the steps. It gives no rows back.

        Args:
            statement: the SQL, with ``:name`` for each parameter; a colon that names none is written ``\\:``.
            parameters: values to bind, by name.

        Raises:
            ConfigurationError: at once: parameters do not match, or the statement would end the transaction.
        """
        self.steps.append(Statement(statement, dict(parameters or {})))

    def _add(self, frame: DataFrame, target: Target, create: bool) -> None:
        texts(table=target.table, schema=target.schema)
        flags(create_table=create)
        check_target(target)
        self.steps.append(self._load(frame, target, create))
