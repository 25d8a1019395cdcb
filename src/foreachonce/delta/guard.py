"""What one commit of a stream carries, and under which guard Delta takes it.

Delta refuses a commit whose ``txnAppId`` another commit has used since it began (ConcurrentTransactionException), and skips,
without a word, one whose ``txnVersion`` is not greater than the table's. So two writers with the same guard never both
commit; but whoever has written must look whether the commit is there.
Source: DeltaCommand.hasBeenExecuted and ConflictChecker of delta-io/delta.
"""

from __future__ import annotations

from dataclasses import dataclass

from foreachonce.delta.commit import Own, user_metadata

APP_ID = "spark.databricks.delta.write.txnAppId"
VERSION = "spark.databricks.delta.write.txnVersion"
METADATA = "spark.databricks.delta.commitInfo.userMetadata"


@dataclass(frozen=True, slots=True)
class Guarded:
    """A commit that is to be made.

    Args:
        stream: the stream's name.
        own: what the commit says.
    """

    stream: str
    own: Own

    @property
    def options(self) -> dict[str, str]:
        """The options of a DataFrame writer."""
        return {
            "txnAppId": app_id(self.stream),
            "txnVersion": str(self.own.guard),
            "userMetadata": user_metadata(self.stream, self.own),
        }

    @property
    def settings(self) -> dict[str, str]:
        """The same as settings of a session, which is all that MERGE takes."""
        options = self.options
        return {APP_ID: options["txnAppId"], VERSION: options["txnVersion"], METADATA: options["userMetadata"]}


def app_id(stream: str) -> str:
    """The name under which Delta keeps the stream's guard."""
    return f"foreachonce:{stream}"
