"""A stream's lock on MariaDB and MySQL, which many transactions share and one can seize; made of exclusive GET_LOCKs.

Each transaction that writes holds one of a fixed number of named locks, its slot; it gets it while it holds the gate. A
take-over keeps the gate, so that no other transaction enters, and ends the sessions that hold a slot. The server shows to
anybody who holds a named lock, so this needs no privilege to see other users' sessions.
"""

from __future__ import annotations

import time
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from foreachonce.errors import SinkUnavailable
from foreachonce.polling import wait_until
from foreachonce.sql.databases.base import GRACE_SECONDS, SEIZE_SECONDS

# MySQL allows a recursion of 1000 steps. A server allows about 150 sessions by default.
SLOTS = 512
# How long a writer waits for a take-over to end; one that takes longer hangs.
_GATE_SECONDS = 60
_NO_SUCH_THREAD = 1094

# One statement, so that no crash can come between. Returns 1 where the slot is held now, 0 where another session holds it,
# NULL where the gate stays closed. IF fixes the order in which the server computes its parts.
_ENTER = sa.text("""
    select if(get_lock(:gate, :seconds) = 1,
              if(get_lock(:slot, 0) = 1, release_lock(:gate), 1 - release_lock(:gate)),
              null)
""")
_HOLDERS = sa.text(f"""
    with recursive slots (number) as (select 0 union all select number + 1 from slots where number < {SLOTS - 1})
    select distinct holder
    from (select is_used_lock(concat(:prefix, number)) as holder from slots) as used
    where holder is not null and holder <> connection_id()
""")  # noqa: S608 - our own number


def _gate(key: int) -> str:
    # MySQL's names end at 64 characters.
    return f"foreachonce-{key:x}"


def share(connection: Connection, key: int) -> None:
    """Hold a stream together with others.

    Raises:
        SinkUnavailable: a take-over does not end, or every slot is held.
    """
    gate = _gate(key)
    # Sessions have consecutive numbers, so the first slot tried is nearly always free.
    first = _driver(connection).thread_id()
    for step in range(SLOTS):
        values = {"gate": gate, "slot": f"{gate}-{(first + step) % SLOTS}", "seconds": _GATE_SECONDS}
        entered = connection.execute(_ENTER, values).scalar()
        if entered == 1:
            return
        if entered is None:
            raise SinkUnavailable(
                f"another run has been taking the stream over for {_GATE_SECONDS} seconds; nothing was written."
            )
    raise SinkUnavailable(f"more than {SLOTS} transactions write this stream at once; let fewer tasks run side by side.")


def seize(connection: Connection, key: int) -> None:
    """Hold a stream alone: wait a moment, then end the sessions that hold it.

    Raises:
        SinkUnavailable: this user may not end one of them, which is another user's.
    """
    deadline = time.monotonic() + GRACE_SECONDS
    if not _lock_gate(connection, key, GRACE_SECONDS):
        _end(connection, [_gate_holder(connection, key)])
        if not _lock_gate(connection, key, SEIZE_SECONDS):
            raise SinkUnavailable("another run holds the stream for a take-over, and its session did not end.")
    if _empties(connection, key, deadline):
        return
    _end(connection, _holders(connection, key))
    if not _empties(connection, key, time.monotonic() + SEIZE_SECONDS):
        raise SinkUnavailable(f"a session that holds the stream did not end in {SEIZE_SECONDS} seconds.")


def release(connection: Connection) -> None:
    """Release all named locks, which outlive a transaction."""
    import pymysql

    if connection.closed or connection.invalidated:
        return
    try:
        with _driver(connection).cursor() as cursor:
            cursor.execute("select release_all_locks()")
    except pymysql.Error:
        # The session is gone, and its locks with it.
        connection.invalidate()


def _driver(connection: Connection) -> Any:
    return connection.connection.driver_connection


def _lock_gate(connection: Connection, key: int, seconds: float) -> bool:
    return connection.execute(sa.select(sa.func.get_lock(_gate(key), seconds))).scalar() == 1


def _gate_holder(connection: Connection, key: int) -> int | None:
    return connection.execute(sa.select(sa.func.is_used_lock(_gate(key)))).scalar()


def _holders(connection: Connection, key: int) -> list[int]:
    return list(connection.execute(_HOLDERS, {"prefix": f"{_gate(key)}-"}).scalars())


def _empties(connection: Connection, key: int, deadline: float) -> bool:
    return wait_until(lambda: not _holders(connection, key), deadline - time.monotonic())


def _end(connection: Connection, sessions: list[int] | list[int | None]) -> None:
    for session in sessions:
        if session is None:
            continue
        try:
            connection.exec_driver_sql(f"KILL CONNECTION {session}")
        except DBAPIError as error:
            if error.orig is not None and error.orig.args[0] != _NO_SUCH_THREAD:
                raise SinkUnavailable(
                    f"session {session} holds the stream, and this user may not end it ({error.orig.args[1]}): stop that "
                    "driver, or give this user the right to end other users' sessions."
                ) from None
