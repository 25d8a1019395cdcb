"""What one commit of a stream carries, and under which guard Delta takes it.

Delta refuses a commit whose ``txnAppId`` another commit has used since it began (ConcurrentTransactionException), and skips,
without a word, one whose ``txnVersion`` is not greater than the table's. So of two writers with the same guard one commits,
and whoever has written must look whether the commit is its own.
Source: DeltaCommand.hasBeenExecuted and ConflictChecker of delta-io/delta.
"""

from __future__ import annotations

from foreachonce.delta.commit import Own, user_metadata

APP_ID = "spark.databricks.delta.write.txnAppId"
VERSION = "spark.databricks.delta.write.txnVersion"
METADATA = "spark.databricks.delta.commitInfo.userMetadata"


def app_id(stream: str) -> str:
    """The name under which Delta keeps the stream's guard."""
    return f"foreachonce:{stream}"


def options(own: Own) -> dict[str, str]:
    """What a DataFrame writer needs to make the commit."""
    return {"txnAppId": app_id(own.entry.stream), "txnVersion": str(own.guard), "userMetadata": user_metadata(own)}


def settings(own: Own) -> dict[str, str]:
    """The same as settings of a session, which is all that MERGE takes."""
    return {APP_ID: app_id(own.entry.stream), VERSION: str(own.guard), METADATA: user_metadata(own)}
