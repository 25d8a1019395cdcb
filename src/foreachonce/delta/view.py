"""DeltaLedger: a table's log, read as the ledger of its streams."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime, timezone
from threading import RLock
from typing import TYPE_CHECKING

from foreachonce.delta import head as walk
from foreachonce.delta.commit import Own
from foreachonce.delta.guard import Guarded, app_id
from foreachonce.delta.local import LocalFolder, NoFolder
from foreachonce.delta.log import Folder, Known, Log
from foreachonce.delta.place import check_place, is_path, shown
from foreachonce.delta.streams import streams
from foreachonce.entry import Entry, Found
from foreachonce.epoch import Epoch
from foreachonce.errors import Conflict, Fenced, SinkUnavailable
from foreachonce.spark.delta import NewestState, append_nothing, location, require_delta
from foreachonce.spark.folder import HadoopFolder

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# What this process knows of each table and stream. It belongs to the process, not to a sink, which is pickled.
_known: dict[tuple[str, str], Known] = {}
_lock = RLock()


class DeltaLedger:
    """The ledger that a Delta table's log holds: an entry is in the same commit as its rows.

    A RESTORE takes entries back with their rows. Reading changes no entry; it may copy some for the time when Delta's log
    clean-up has removed the commit files. Without a running Spark session, tables on the local file system can be read.

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

    def look(self, epoch: Epoch) -> Found:
        """The stream's newest entry, the epoch's own, and whether its run holds the stream.

        Raises:
            Fenced: the epoch's run has lost the stream to a newer one.
        """
        with self._log(epoch.stream) as (log, known):
            return _found(log, known, epoch)

    def take(self, epoch: Epoch, head: Entry | None) -> Found:
        """Take the stream over for the epoch's run, by a commit without rows, if ``head`` still is its newest entry.

        Where there is no table yet nobody can hold anything: whoever makes it has taken it.

        Raises:
            Fenced: the epoch's run has lost the stream to a newer one.
        """
        require_delta(_session())
        with self._log(epoch.stream) as (log, known):
            found = _found(log, known, epoch)
            if found.is_held or found.head != head:
                return found
            root, newest = log.root, walk.newest_own(log)
            if log.newest < 0:
                known.taken.add(epoch.run_id)
                return found._replace(is_held=True)
        take = Own(guard=_next(newest), run_id=epoch.run_id, query_id=epoch.query_id, time=_now())
        with suppress(Conflict):  # another run was faster; the look tells which
            append_nothing(_session(), root, Guarded(epoch.stream, take).options)
        return self.look(epoch)

    def next(self, entry: Entry) -> tuple[Guarded, str | None]:
        """The commit that would bring ``entry`` next, and the table's path, None where there is no table yet.

        Raises:
            Fenced: another run has taken the stream.
        """
        with self._log(entry.stream) as (log, known):
            newest = walk.newest_own(log)
            if not _is_held(known, newest, entry.epoch):
                raise Conflict(f"stream {entry.stream!r}: run {entry.run_id} does not hold it in {self!r}.")
            last = walk.last_batch(log, entry.query_id, entry.batch_id)
            root = None if log.newest < 0 else log.root
        time = _now()
        own = Own(
            guard=_next(newest),
            run_id=entry.run_id,
            query_id=entry.query_id,
            time=time,
            entry=replace(entry, time=time),
            last_batch=last,
        )
        return Guarded(entry.stream, own), root

    def confirm(self, made: Guarded) -> Entry:
        """The entry of a commit that was made, as it is in the table now.

        Raises:
            Conflict: it is not there: Delta has skipped it, since its guard was used by another run.
        """
        own = made.own
        with self._log(made.stream) as (log, _):
            found = walk.newest_own(log, up_to=own.guard)
        if found is None or found.entry is None or (found.guard, found.run_id) != (own.guard, own.run_id):
            raise Conflict(
                f"stream {made.stream!r}: Delta has skipped the commit with guard {own.guard}: another run has used it. "
                "Nothing was written."
            )
        return found.entry

    def streams(self) -> list[str]:
        """The names of all streams that have written the table."""
        root = self._root()
        return [] if root is None else sorted(streams(self._folder(root)))

    def head(self, stream: str) -> Entry | None:
        """The stream's newest entry; None where it has none."""
        with self._log(stream) as (log, _):
            return next((entry for _, entry in walk.live(log)), None)

    def entries(self, stream: str) -> Iterator[Entry]:
        """Yield the stream's entries in order of seq, as far back as commit files or copies go."""
        with self._log(stream) as (log, _):
            found = [entry for _, entry in walk.live(log)]
        yield from reversed(found)

    @contextmanager
    def _log(self, stream: str) -> Iterator[tuple[Log, Known]]:
        root = self._root()
        with _lock:
            known = _known.setdefault((self.place, stream), Known())
            witness = NewestState(_active(), root or "", app_id(stream))
            log = Log(stream, self._folder(root), known, witness, trust=self._trust)
            yield log, known
            log.keep_copies()

    def _root(self) -> str | None:
        """The table's path; None where a catalog does not have the table."""
        return self.place if is_path(self.place) else location(_session(), self.place)

    def _folder(self, root: str | None) -> Folder:
        if root is None:
            return NoFolder(self.place)
        spark = _active()
        if spark is not None:
            return HadoopFolder(spark, root)
        if root.startswith(("/", "file:")):
            return LocalFolder(root)
        raise SinkUnavailable(f"{shown(root)}: no Spark session is running, and without one only local tables can be read.")


def _found(log: Log, known: Known, epoch: Epoch) -> Found:
    is_held = _is_held(known, walk.newest_own(log), epoch)
    if is_held:
        known.taken.add(epoch.run_id)
    newest = next((entry for _, entry in walk.live(log)), None)
    return Found(newest, walk.same_batch(log, epoch.query_id, epoch.batch_id), is_held)


def _is_held(known: Known, newest: Own | None, epoch: Epoch) -> bool:
    if newest is None:
        return epoch.run_id in known.taken
    if newest.run_id != epoch.run_id and epoch.run_id in known.taken:
        raise Fenced(_explain(epoch, newest))
    return newest.run_id == epoch.run_id


def _next(newest: Own | None) -> int:
    return 0 if newest is None else newest.guard + 1


def _explain(epoch: Epoch, newest: Own) -> str:
    text = (
        f"stream {epoch.stream!r}: run {epoch.run_id} (query {epoch.query_id}) was replaced by run {newest.run_id} (query "
        f"{newest.query_id}), which has committed at {newest.time:%F %T} UTC. This run has written nothing since, and stops."
    )
    if newest.query_id != epoch.query_id:
        text += " The query ids differ: if two queries share this stream's name, give each a stream= of its own."
    return text


def _now() -> datetime:
    return datetime.now(timezone.utc)


def _active() -> SparkSession | None:
    from pyspark.sql import SparkSession

    return SparkSession.getActiveSession()


def _session() -> SparkSession:
    spark = _active()
    if spark is None:
        raise SinkUnavailable("no Spark session is running.")
    return spark
