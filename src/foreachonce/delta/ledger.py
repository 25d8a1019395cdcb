"""DeltaLedger: a table's log, read and appended to as the ledger of its streams."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from itertools import takewhile
from threading import RLock
from typing import TYPE_CHECKING

from foreachonce.delta import history
from foreachonce.delta.commit import Own, app_id, write_options
from foreachonce.delta.folder import ConnectTable, HadoopTable, LocalTable, NoTable, TableFolder
from foreachonce.delta.log import LOG, CommitLog, LogCache, stream_names
from foreachonce.delta.spark import NewestState, append_nothing, location, require_delta
from foreachonce.delta.target import check_place, is_path, shown
from foreachonce.entry import Entry, Epoch, LedgerState
from foreachonce.errors import Conflict, Fenced, LedgerError, SinkUnavailable
from foreachonce.faults import fault
from foreachonce.spark.resolve import is_connect

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# How many of its runs a process remembers for each stream.
RUNS = 100


@dataclass
class _StreamMemory:
    """What this process remembers of one stream in one table.

    A run that was replaced stays fenced until ``RUNS`` other runs have used the stream in this process since it last did.
    Even then Delta's guard lets only one of two commits through.
    """

    cache: LogCache = field(default_factory=LogCache)
    guards: dict[str, int] = field(default_factory=dict)
    """By run: the newest guard of the stream that the run has seen. Ordered by last use."""

    def hold(self, run_id: str, guard: int) -> None:
        """Note that a run holds the stream as long as ``guard`` is the newest."""
        self.guards.pop(run_id, None)
        self.guards[run_id] = guard
        if len(self.guards) > RUNS:
            del self.guards[next(iter(self.guards))]


class _TableMemory:
    """What this process remembers of one table. The lock is the table's own: a slow log must not delay other tables."""

    def __init__(self) -> None:
        self.lock = RLock()
        self.streams: dict[str, _StreamMemory] = {}

    def stream(self, name: str) -> _StreamMemory:
        """The memory of a stream; call it with the lock."""
        return self.streams.setdefault(name, _StreamMemory())


# By place: one for each table that the process has used. It is not the sink's, because sinks are pickled.
_tables: dict[str, _TableMemory] = {}


class DeltaLedger:
    """The ledger in a Delta table's log, to read. It implements [`Ledger`][foreachonce.Ledger].

    An entry is in the same commit as its rows. A RESTORE takes entries back with their rows. Reading makes no commit. It may
    write copies of entries into the table's folder ``_foreachonce``, for the time after Delta's log clean-up has removed the
    commit files. With a running Spark session it reads through Spark's file systems; without one only tables on the local
    file system can be read, by an absolute path.

    A place without a Delta table is an empty ledger, since a sink's first batch makes the table. So a misspelt path or
    stream raises nothing: ``head`` returns None and ``entries`` yields nothing. ``streams()`` lists the names that exist.

    Args:
        path_or_table: as for [`DeltaSink`][foreachonce.DeltaSink].
        trust: if commit files are gone, and nothing shows whether they had undone the newest known entry, take it for the
            head; otherwise such a ledger is refused.

    Raises:
        ConfigurationError: at once: the place is neither a path nor a table's name.
        LedgerError: by every method: neither commit files nor copies show the entries.
        SinkUnavailable: by every method: a Spark session is needed, and none is running.
    """

    def __init__(self, path_or_table: str, *, trust: bool = False) -> None:
        self.place = check_place(path_or_table)
        self._trust = trust

    def __eq__(self, other: object) -> bool:
        """Whether both are the same table."""
        return isinstance(other, DeltaLedger) and self.place == other.place

    def __hash__(self) -> int:
        return hash(self.place)

    def __repr__(self) -> str:
        return f"DeltaLedger({shown(self.place)!r})"

    def look(self, epoch: Epoch) -> LedgerState:
        """The stream's head, the epoch's own entry, and whether its run holds the stream.

        Raises:
            Fenced: another run has committed since this one took the stream.
        """
        with self._log(epoch.stream) as (log, memory):
            return _state(log, memory, epoch)

    def take(self, epoch: Epoch, head: Entry | None) -> LedgerState:
        """Take the stream over for the epoch's run, if ``head`` still is its newest entry.

        Nothing is written. The run's next commit needs the guard after the newest one, and Delta accepts a guard only once.
        If several runs have taken the stream, the first to commit holds it.

        Raises:
            ConfigurationError: the session lacks Delta, or the path holds other files and no table.
            Fenced: another run has committed since this one took the stream.
        """
        require_delta(_running_session())
        with self._log(epoch.stream) as (log, memory):
            log.refuse_other_files()
            state = _state(log, memory, epoch)
            if state.is_held or state.head != head:
                return state
            memory.hold(epoch.run_id, _guard(history.newest_own(log)))
            return state._replace(is_held=True)

    def commit(self, entry: Entry, write: Callable[[Own, str | None], None], *, makes_table: bool) -> int | None:
        """Commit an entry by ``write``, and return how many rows came with it.

        Args:
            entry: the entry, of the run that holds the stream.
            write: makes the commit in the table at a path; the path is None if there is no table yet.
            makes_table: whether ``write`` makes a missing table. If not, nothing happens without a table: the chain begins
                with its first rows.

        Raises:
            Fenced, Conflict, LedgerError: as :meth:`next` and :meth:`confirm` do.
        """
        own, root = self.next(entry)
        if root is None and not makes_table:
            return None
        fault("commit-begun")
        write(own, root)
        fault("committed")
        rows = self.confirm(own).rows
        fault("entry-copied")
        return rows

    def append(self, entry: Entry) -> None:
        """Append an entry without rows; without a table nothing, since there is no place for an entry."""
        self.commit(entry, _append_entry, makes_table=False)

    def next(self, entry: Entry) -> tuple[Own, str | None]:
        """The commit that appends ``entry``, and the table's path; None if there is no table yet.

        Raises:
            Fenced: another run has committed since this one took the stream.
            Conflict: the run has not taken the stream.
        """
        with self._log(entry.stream) as (log, memory):
            newest = history.newest_own(log)
            if not _is_held(memory, newest, entry.epoch):
                raise Conflict(f"stream {entry.stream!r}: run {entry.run_id} does not hold it in {self!r}.")
            last = history.last_batch(log, entry.query_id, entry.batch_id)
            root = log.root
        return Own(guard=_guard(newest) + 1, entry=replace(entry, time=datetime.now(timezone.utc)), last_batch=last), root

    def confirm(self, own: Own) -> Entry:
        """The entry of a commit that was made, as the table has it now.

        Raises:
            Conflict: it is not there: another run has used its guard, so Delta has skipped it.
            LedgerError: the table was put back meanwhile, so the entry follows another than it was made for; or the commit
                came without its entry.
        """
        entry = own.entry
        with self._log(entry.stream) as (log, _):
            there = history.newest_own(log, up_to=own.guard)
            _check_follows(log, there)
        if there is None or there.guard != own.guard:
            raise LedgerError(
                f"stream {entry.stream!r}: Delta took {entry.what} under guard {own.guard}, but {self!r} has no entry with "
                "that guard. Is there a catalog or an extension that drops userMetadata? Remove it, RESTORE the version "
                "before the batch's rows, and give the sink another stream=: this one's guard is used up."
            )
        if there.entry.run_id != entry.run_id:
            raise Conflict(
                f"stream {entry.stream!r}: Delta has skipped the commit with guard {own.guard}, which run "
                f"{there.entry.run_id} has used. Nothing was written."
            )
        return there.entry

    def unfinished(self, stream: str) -> None:
        """None: a commit is there as a whole or not at all."""

    def exists(self) -> bool:
        """Whether there is a Delta table."""
        root = self.root()
        return root is not None and bool(self._folder(root).names(LOG))

    def streams(self) -> list[str]:
        """The names of all streams that have written the table, sorted."""
        root = self.root()
        return [] if root is None else sorted(stream_names(self._folder(root)))

    def head(self, stream: str) -> Entry | None:
        """The stream's newest entry whose rows are in the table; None if it has none."""
        with self._log(stream) as (log, _):
            return next((own.entry for own in history.live(log)), None)

    def entries(self, stream: str, *, after: int = -1) -> Iterator[Entry]:
        """Yield the stream's entries with a greater seq than ``after``, in order; those that a RESTORE has undone are gone.

        They go as far back as commit files or copies do: to the newest 100 at least.
        """
        with self._log(stream) as (log, _):
            entries = [own.entry for own in takewhile(lambda own: own.entry.seq > after, history.live(log))]
        yield from reversed(entries)

    def root(self) -> str | None:
        """The table's path; None if a catalog does not have the table."""
        return self.place if is_path(self.place) else location(_running_session(), self.place)

    @contextmanager
    def _log(self, stream: str) -> Iterator[tuple[CommitLog, _StreamMemory]]:
        """The table's log as it is now, and this process's memory of the stream; other threads wait for the same table."""
        folder = self._folder(self.root())
        table = _tables.setdefault(self.place, _TableMemory())
        with table.lock:
            memory = table.stream(stream)
            witness = NewestState(_active_session(), folder, app_id(stream))
            log = CommitLog(stream, folder, memory.cache, witness, trust=self._trust)
            yield log, memory
            log.keep_copies()

    def _folder(self, root: str | None) -> TableFolder:
        if root is None:
            return NoTable(self.place)
        spark = _active_session()
        if spark is not None:
            return ConnectTable(spark, root) if is_connect(spark) else HadoopTable.of(spark, root)
        if "://" not in root or root.startswith("file://"):
            return LocalTable(root)
        raise SinkUnavailable(
            f"{shown(root)}: no Spark session is running, and without one only local tables can be read. Start one."
        )


def _append_entry(own: Own, root: str | None) -> None:
    assert root is not None
    append_nothing(root, write_options(own))


def _state(log: CommitLog, memory: _StreamMemory, epoch: Epoch) -> LedgerState:
    is_held = _is_held(memory, history.newest_own(log), epoch)
    newest = next(history.live(log), None)
    _check_follows(log, newest)
    head = None if newest is None else newest.entry
    return LedgerState(head, history.same_batch(log, epoch.query_id, epoch.batch_id), is_held)


def _is_held(memory: _StreamMemory, newest: Own | None, epoch: Epoch) -> bool:
    """Whether nobody has committed since the epoch's run took the stream, or made its own newest commit."""
    is_own = newest is not None and newest.entry.run_id == epoch.run_id
    held = _guard(newest) if is_own else memory.guards.get(epoch.run_id)
    if held is None:
        return False
    memory.hold(epoch.run_id, held)
    if held != _guard(newest):
        raise Fenced(_explain_fenced(epoch, newest))
    return True


def _guard(newest: Own | None) -> int:
    return -1 if newest is None else newest.guard


def _explain_fenced(epoch: Epoch, newest: Own | None) -> str:
    text = f"stream {epoch.stream!r}: run {epoch.run_id} (query {epoch.query_id}) "
    if newest is None:
        return text + "has lost its commits: the table was made anew while it ran. Start the query again."
    entry = newest.entry
    text += (
        f"was replaced by run {entry.run_id} (query {entry.query_id}), which has committed at {entry.time:%F %T} UTC. "
        "This run has written nothing since, and stops."
    )
    if entry.query_id != epoch.query_id:
        text += " The query ids differ: if two queries share this stream's name, give each a stream= of its own."
    return text


def _check_follows(log: CommitLog, own: Own | None) -> None:
    """Refuse a table that was put back while a batch was written: Delta accepts the batch all the same.

    Every look checks it. A restarted query would take the batch for a replay, and nothing would report the gap again.
    """
    if own is None:
        return
    try:
        seq = history.seq_before(log, own.guard)
    except LedgerError:
        return  # The entry is there; the one before it may be too old to be kept.
    if seq is not None and seq != own.entry.seq - 1:
        raise LedgerError(
            f"{log.name} was put back by RESTORE while {own.entry.what} was written. The batch is in the table, as seq "
            f"{own.entry.seq}, and those of seq {seq + 1} to {own.entry.seq - 1} are not. Stop the query and RESTORE the "
            "version from before that RESTORE; the batch is then written again. Or RESTORE the version before the batch, "
            "and put the checkpoint back with it."
        )


def _active_session() -> SparkSession | None:
    from pyspark.sql import SparkSession

    return SparkSession.getActiveSession()


def _running_session() -> SparkSession:
    spark = _active_session()
    if spark is None:
        raise SinkUnavailable("no Spark session is running. Start one.")
    return spark
