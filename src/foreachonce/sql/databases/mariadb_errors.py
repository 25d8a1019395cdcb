"""What MariaDB's and MySQL's errors mean, by number, in our words and without the rows' values."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from foreachonce.errors import CommitInDoubt, Conflict, ForeachOnceError, SinkUnavailable, WriteFailed
from foreachonce.sql.url import scrub, shown

if TYPE_CHECKING:
    import pymysql

# Source: mysqld_error.h and errmsg.h of both. The server shuts down (1053); a session was ended while it worked (1317, 1927,
# 3169); packets did not arrive (1152 to 1161); COMMIT itself went wrong (1180); the client's: gone, lost, out of step.
_LOST = {1053, 1152, 1158, 1159, 1160, 1161, 1180, 1317, 1927, 3169, 4031, 2006, 2013, 2014, 2027, 2055}
# The table's or a named lock's deadlock, a lock that was waited for too long, and a row that has changed under a snapshot.
_RACES = {1020, 1205, 1213, 3058}
# After a deadlock the server has rolled all back: a savepoint that is rolled back to is not there any more.
_NO_SAVEPOINT = re.compile(r"SAVEPOINT \S+ does not exist")
# "Duplicate entry 'x' for key …", "Incorrect integer value: 'x' for column …", "Truncated incorrect DOUBLE value: 'x'".
_VALUE = re.compile(r"(Duplicate entry|value:?) '.*'(?= for |$)", re.DOTALL)


def without_values(text: str) -> str:
    """The text of an error or a warning without the value of a row that it quotes, which belongs in no log."""
    return _VALUE.sub(r"\1 '…'", text)


def words_of(error: BaseException | None, url: URL) -> str:
    """What the server has said, without secrets and values."""
    arguments = error.args if error is not None else ()
    text = str(arguments[1]) if len(arguments) > 1 else str(error)
    return scrub(without_values(text), url) or "closed"


def translate(
    error: DBAPIError | pymysql.Error, url: URL, *, lost: type[CommitInDoubt | SinkUnavailable]
) -> ForeachOnceError:
    """An error of the driver in our words."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    code = cause.args[0] if cause is not None and cause.args else 0
    words = words_of(cause, url)
    text = f"{shown(url)}: {words}"
    # The driver has no number for a connection that is closed on this side.
    if code in _LOST or not isinstance(code, int) or code == 0:
        return lost(f"the connection was lost: {text}")
    if code in _RACES or _NO_SAVEPOINT.search(words):
        return Conflict(f"another transaction was in the way: {text}")
    return WriteFailed(f"MariaDB or MySQL refused it ({code}), nothing was written: {text}")
