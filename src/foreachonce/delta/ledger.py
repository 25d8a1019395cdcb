"""DeltaLedger: a table's log, read as the ledger of its streams."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from itertools import takewhile
from threading import RLock
from typing import TYPE_CHECKING

from foreachonce.delta import head as walk
from foreachonce.delta.commit import Own
from foreachonce.delta.folder import ConnectFolder, HadoopFolder
from foreachonce.delta.guard import app_id, options
from foreachonce.delta.local import LocalFolder, NoFolder
from foreachonce.delta.log import LOG, Folder, Known, Log
from foreachonce.delta.place import check_place, is_path, shown
from foreachonce.delta.spark import NewestState, append_nothing, location, require_delta
from foreachonce.delta.streams import streams
from foreachonce.entry import Entry, LedgerState
from foreachonce.epoch import Epoch
from foreachonce.errors import Conflict, Fenced, LedgerError, SinkUnavailable
from foreachonce.faults import fault
from foreachonce.spark.resolve import is_connect

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# What this process knows of each table and stream. It belongs to the process, not to a sink, which is pickled.
_known: dict[tuple[str, str], Known] = {}
_lock = RLock()


class DeltaLedger:
    """The ledger that a Delta table's log holds: an entry is in the same commit as its rows.

    A RESTORE takes entries back with their rows. Reading makes no commit; it may write copies of entries into the folder
    ``_foreachonce`` of the table, for the time when Delta's log clean-up has removed the commit files. Without a running
    Spark session, tables on the local file system can be read, by an absolute path.

    A place without a Delta table is an empty ledger, since a sink's first batch makes the table: a mistyped path or stream
    raises nothing, ``head`` gives None and ``entries`` nothing. ``streams()`` tells: it lists the names that are there.

    Args:
        path_or_table: as for :class:`~foreachonce.DeltaSink`.
        trust: where commit files are gone, and nothing tells whether they had undone the newest entry that is known, take
            it for the head; otherwise that is refused.

    Raises:
        ConfigurationError: at once, for what is neither a path nor a table's name.
        LedgerError: by every method, where neither commit files nor copies tell.
        SinkUnavailable: by every method, where no Spark session runs and one is needed.
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
        """The stream's newest entry, the epoch's own, and whether its run holds the stream.

        Raises:
            Fenced: another run has committed since this one took the stream.
        """
        with self._log(epoch.stream) as (log, known):
            return _found(log, known, epoch)

    def take(self, epoch: Epoch, head: Entry | None) -> LedgerState:
        """Take the stream over for the epoch's run, if ``head`` still is its newest entry.

        Nothing is written: the run's next commit needs the guard that follows the newest one, and Delta gives it to one
        commit only. Of several runs that have taken the stream, the one that commits first holds it.

        Raises:
            ConfigurationError: the session lacks Delta, or the path holds other files and no table.
            Fenced: another run has committed since this one took the stream.
        """
        require_delta(_session())
        with self._log(epoch.stream) as (log, known):
            log.refuse_strangers()
            found = _found(log, known, epoch)
            if found.is_held or found.head != head:
                return found
            known.held[epoch.run_id] = _guard(walk.newest_own(log))
            return found._replace(is_held=True)

    def next(self, entry: Entry) -> tuple[Own, str | None]:
        """The commit that would bring ``entry`` next, and the table's path, None where there is no table yet.

        Raises:
            Fenced: another run has committed since this one took the stream.
            Conflict: the run has not taken the stream.
        """
        with self._log(entry.stream) as (log, known):
            newest = walk.newest_own(log)
            if not _is_held(known, newest, entry.epoch):
                raise Conflict(f"stream {entry.stream!r}: run {entry.run_id} does not hold it in {self!r}.")
            last = walk.last_batch(log, entry.query_id, entry.batch_id)
            root = None if log.newest < 0 else log.root
        return Own(guard=_guard(newest) + 1, entry=replace(entry, time=datetime.now(timezone.utc)), last_batch=last), root

    def confirm(self, own: Own) -> Entry:
        """The entry of a commit that was made, as it is in the table now.

        Raises:
            Conflict: it is not there: Delta has skipped it, since another run has used its guard.
            LedgerError: the table was put back meanwhile, so that the entry follows on another than it was made for; or the
                commit came without its entry.
        """
        entry = own.entry
        with self._log(entry.stream) as (log, _):
            found = walk.newest_own(log, up_to=own.guard)
            _check_follows(log, found)
        if found is None or found.guard != own.guard:
            raise LedgerError(
                f"stream {entry.stream!r}: Delta took {entry.what} under guard {own.guard}, but {self!r} has "
                "no entry with that guard; is there a catalog or an extension that drops userMetadata? Do away with it, "
                "RESTORE the version before the batch's rows, and give the sink another stream=: this one's guard is "
                "used up."
            )
        if found.entry.run_id != entry.run_id:
            raise Conflict(
                f"stream {entry.stream!r}: Delta has skipped the commit with guard {own.guard}, which run "
                f"{found.entry.run_id} has used. Nothing was written."
            )
        return found.entry

    def append(self, entry: Entry) -> None:
        """Append an entry without rows; without a table nothing, for there is no place for an entry."""
        own, root = self.next(entry)
        if root is not None:
            fault("commit-begun")
            append_nothing(root, options(own))
            fault("committed")
            self.confirm(own)
            fault("entry-copied")

    def unfinished(self, stream: str) -> None:
        """None: a commit is whole or absent."""

    def exists(self) -> bool:
        """Whether there is a Delta table."""
        root = self.root()
        return root is not None and bool(self._folder(root).names(LOG))

    def streams(self) -> list[str]:
        """The names of all streams that have written the table."""
        root = self.root()
        return [] if root is None else sorted(streams(self._folder(root)))

    def head(self, stream: str) -> Entry | None:
        """The stream's newest entry whose rows are in the table; None where it has none."""
        with self._log(stream) as (log, _):
            return next((own.entry for own in walk.live(log)), None)

    def entries(self, stream: str, *, after: int = -1) -> Iterator[Entry]:
        """Yield the stream's entries in order of seq, as far back as commit files or copies go: the newest 100 at least.

        Those that a RESTORE has undone are not among them, nor those whose seq is not greater than ``after``.
        """
        with self._log(stream) as (log, _):
            found = [own.entry for own in takewhile(lambda own: own.entry.seq > after, walk.live(log))]
        yield from reversed(found)

    @contextmanager
    def _log(self, stream: str) -> Iterator[tuple[Log, Known]]:
        root = self.root()
        with _lock:
            known = _known.setdefault((self.place, stream), Known())
            folder = self._folder(root)
            witness = NewestState(_active(), folder, app_id(stream))
            log = Log(stream, folder, known, witness, trust=self._trust)
            yield log, known
            log.keep_copies()

    def root(self) -> str | None:
        """The table's path; None where a catalog does not have the table."""
        return self.place if is_path(self.place) else location(_session(), self.place)

    def _folder(self, root: str | None) -> Folder:
        if root is None:
            return NoFolder(self.place)
        spark = _active()
        if spark is not None:
            return ConnectFolder(spark, root) if is_connect(spark) else HadoopFolder.of(spark, root)
        if "://" not in root or root.startswith("file://"):
            return LocalFolder(root)
        raise SinkUnavailable(f"{shown(root)}: no Spark session is running, and without one only local tables can be read.")


def _found(log: Log, known: Known, epoch: Epoch) -> LedgerState:
    is_held = _is_held(known, walk.newest_own(log), epoch)
    newest = next(walk.live(log), None)
    _check_follows(log, newest)
    head = None if newest is None else newest.entry
    return LedgerState(head, walk.same_batch(log, epoch.query_id, epoch.batch_id), is_held)


def _is_held(known: Known, newest: Own | None, epoch: Epoch) -> bool:
    """Whether nobody has committed since the epoch's run took the stream, or made its own newest commit."""
    if newest is not None and newest.entry.run_id == epoch.run_id:
        known.held[epoch.run_id] = newest.guard
    held = known.held.get(epoch.run_id)
    if held is not None and held != _guard(newest):
        raise Fenced(_explain(epoch, newest))
    return held is not None


def _guard(newest: Own | None) -> int:
    return -1 if newest is None else newest.guard


def _explain(epoch: Epoch, newest: Own | None) -> str:
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


def _check_follows(log: Log, own: Own | None) -> None:
    """Refuse a table that was put back while a batch was written: Delta lets the batch through all the same.

    Asked at each look, since a restarted query would take the batch for a replay, and never say so again.
    """
    if own is None:
        return
    try:
        seq = walk.seq_before(log, own.guard)
    except LedgerError:
        return  # what is older than a known entry need not be known
    if seq is not None and seq != own.entry.seq - 1:
        raise LedgerError(
            f"{log.name} was put back by RESTORE while {own.entry.what} was written: that is in the table, as "
            f"seq {own.entry.seq}, and those of seq {seq + 1} to {own.entry.seq - 1} are not. Stop the query "
            "and RESTORE the version from before that RESTORE; the batch is then written again. Or RESTORE the version "
            "before the batch, and put the checkpoint back with it."
        )


def _active() -> SparkSession | None:
    from pyspark.sql import SparkSession

    return SparkSession.getActiveSession()


def _session() -> SparkSession:
    spark = _active()
    if spark is None:
        raise SinkUnavailable("no Spark session is running.")
    return spark
