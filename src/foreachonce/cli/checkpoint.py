"""``foreachonce doctor`` and ``restore``: a checkpoint compared with the ledger, and mended."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from foreachonce.checkpoint import COMPACT_INTERVAL, COMPACT_INTERVAL_SETTING, CheckpointFolder, query_id
from foreachonce.checkpoint.local import LocalCheckpoint
from foreachonce.cli import output
from foreachonce.cli.options import LEDGER, Address, Checkpoint, Client, Conf, Json, Packages, Prefix, Schema, Source, Stream
from foreachonce.cli.place import PASSWORD, PREFIX, DeltaPlace, Place, SqlPlace, earliest_of, is_local, place_of, stream_at
from foreachonce.cli.reading import SPARKS_SECRETS, no_entry, spark
from foreachonce.cli.settings import is_hidden, refuse_plain_secrets, settings
from foreachonce.delta.spark import PACKAGE
from foreachonce.errors import ConfigurationError, EpochError, Expired, Mismatch, StateLost
from foreachonce.ledger import Ledger
from foreachonce.recovery.diagnosis import newest
from foreachonce.recovery.repair import LedgerStream, Repair, repair
from foreachonce.recovery.words import explain_expired

STATE, DATA = "--accept-state-loss", "--accept-data-loss"


@dataclass(frozen=True)
class Case:
    """A checkpoint and the ledger that it is compared with, as a command line names them."""

    stream: str
    checkpoint: str
    address: str
    place: Place
    kafka: str | None
    client: Sequence[str]
    packages: Sequence[str]
    conf: Sequence[str]

    def __post_init__(self) -> None:
        """What is said again in a command must hold no secret."""
        refuse_plain_secrets("--conf", self.conf, SPARKS_SECRETS.search)
        if re.search(r"//[^/@]*:[^/@]*@", self.checkpoint):
            raise ConfigurationError("--checkpoint holds a password; give it to Spark by --conf NAME=env:NAME.")

    @contextmanager
    def opened(self, *, writes: bool) -> Iterator[tuple[LedgerStream, CheckpointFolder]]:
        """The stream and the checkpoint's folder; a Spark session runs meanwhile where either needs one."""
        is_here = is_local(self.checkpoint)
        with ExitStack() as stack:
            if not is_here or self.place.reads_by_spark or (writes and self.place.writes_by_spark):
                stack.enter_context(spark(self.place, self.packages, self.conf))
            sink = stream_at(self.place, self.stream)
            yield sink, LocalCheckpoint(self.checkpoint) if is_here else _elsewhere(self.checkpoint)

    def mend(
        self,
        sink: LedgerStream,
        folder: CheckpointFolder,
        *,
        dry_run: bool,
        accept_state_loss: bool = False,
        accept_data_loss: bool = False,
    ) -> Repair:
        """See :func:`~foreachonce.recovery.repair.repair`."""
        earliest = None if self.kafka is None else earliest_of(self.kafka, self.client)
        return repair(
            [sink],
            folder,
            dry_run=dry_run,
            accept_state_loss=accept_state_loss,
            accept_data_loss=accept_data_loss,
            earliest=earliest,
            interval=self.interval,
        )

    @property
    def interval(self) -> int:
        """After how many entries Spark compacts the log of a file source."""
        shown = settings("--conf", [pair for pair in self.conf if not is_hidden(pair)])
        value = shown.get(COMPACT_INTERVAL_SETTING, str(COMPACT_INTERVAL))
        if not value.isdecimal() or int(value) == 0:
            raise ConfigurationError(f"--conf {COMPACT_INTERVAL_SETTING}={value}: it takes a whole number from 1 on.")
        return int(value)

    def command(self, *accepted: str) -> str:
        """The command that mends the checkpoint, without secrets."""
        words = list(self.place.words)
        # An address in the environment stays there, with what is secret in it.
        named = words[2:] if os.environ.get(LEDGER) == self.address else words
        given = [word for pair in self.client for word in ("--client", pair) if "--client" not in named]
        more = [] if self.kafka is None else ["--kafka", self.kafka, *given]
        # Appending to a Delta table's ledger takes Spark, where looking at it may not have.
        packages = self.packages or ([PACKAGE] if isinstance(self.place, DeltaPlace) else [])
        more += [word for name in packages for word in ("--packages", name)]
        more += [word for pair in self.conf for word in ("--conf", pair)]
        return output.command_line(
            ["foreachonce", "restore", self.stream, *named, "--checkpoint", self.checkpoint, *more, *accepted]
        )

    @property
    def lacks(self) -> str:
        """What the command does not say, for it is secret."""
        is_hidden = isinstance(self.place, SqlPlace) and self.place.url.password is not None
        if not is_hidden or PASSWORD in os.environ or os.environ.get(LEDGER) == self.address:
            return ""
        return f"\n  ({PASSWORD} must hold the ledger's password.)"


@dataclass(frozen=True)
class Finding:
    """What ``doctor`` has found.

    Args:
        kind: a repair's kind, or the name of the error that says why it cannot be told.
        agrees: whether the query can start; None where that is somebody's decision.
        text: all of it, in words.
        command: what mends it; None where nothing is to be mended, or no command can.
        lost: what the source no longer holds.
    """

    kind: str
    agrees: bool | None
    text: str
    command: str | None = None
    lost: Sequence[str] = ()

    @property
    def code(self) -> int:
        """The exit code."""
        return 2 if self.agrees is None else 0 if self.agrees else 1


def doctor(
    stream: Stream,
    ledger: Address,
    checkpoint: Checkpoint,
    kafka: Source = None,
    ledger_schema: Schema = None,
    ledger_prefix: Prefix = PREFIX,
    client: Client = None,
    packages: Packages = None,
    conf: Conf = None,
    as_json: Json = False,
) -> None:
    """Tell whether a checkpoint agrees with the ledger, and the command that mends it.

    Ends with 0 where the query can start, 1 where the checkpoint has to be mended, 2 where a person has to decide, or the
    ledger does not know the stream.
    """
    place = place_of(ledger, ledger_schema, ledger_prefix, client or ())
    case = Case(stream, _whole(checkpoint), ledger, place, kafka, client or (), packages or (), conf or ())
    with case.opened(writes=False) as (sink, folder):
        found = _find(case, sink, folder)
    if as_json:
        told = {"kind": found.kind, "agrees": found.agrees, "text": found.text, "command": found.command}
        output.give(_about(case) | told | {"lost": list(found.lost)})
    else:
        output.say(found.text)
    raise typer.Exit(found.code)


def restore(
    stream: Stream,
    ledger: Address,
    checkpoint: Checkpoint,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
    accept_state_loss: Annotated[
        bool, typer.Option(STATE, help="Where the state is gone, let the query read its whole source again for it.")
    ] = False,
    accept_data_loss: Annotated[
        bool, typer.Option(DATA, help="Mend also where the source has lost rows that the sink lacks.")
    ] = False,
    kafka: Source = None,
    ledger_schema: Schema = None,
    ledger_prefix: Prefix = PREFIX,
    client: Client = None,
    packages: Packages = None,
    conf: Conf = None,
    as_json: Json = False,
) -> None:
    """Mend a checkpoint, so that its query goes on where the ledger ends. Stop the query first.

    The old checkpoint is moved aside, never deleted; the repair is an entry of the ledger. A dry run ends as doctor does.
    """
    place = place_of(ledger, ledger_schema, ledger_prefix, client or ())
    case = Case(stream, _whole(checkpoint), ledger, place, kafka, client or (), packages or (), conf or ())
    with case.opened(writes=not dry_run) as (sink, folder):
        unknown = _unknown(case, sink, folder)
        if unknown is not None:
            raise ConfigurationError(unknown)
        try:
            done = case.mend(
                sink, folder, dry_run=dry_run, accept_state_loss=accept_state_loss, accept_data_loss=accept_data_loss
            )
        except (StateLost, Expired) as error:
            raise type(error)(f"{error}{_decided(case, STATE if isinstance(error, StateLost) else DATA)}") from None
    if as_json:
        told = {"kind": done.kind, "text": done.text, "lost": list(map(str, done.lost)), "done": done.is_done}
        output.give(_about(case) | told | {"aside": done.aside})
    else:
        output.say(f"{done.text}\n{_outcome(done, dry_run)}")
    raise typer.Exit(0 if not done.is_needed else 2 if done.lost and not accept_data_loss else 1)


def _find(case: Case, sink: LedgerStream, folder: CheckpointFolder) -> Finding:
    unknown = _unknown(case, sink, folder)
    if unknown is not None:
        return Finding("new", None, unknown)
    try:
        plan = case.mend(sink, folder, dry_run=True)
    except StateLost as error:
        return Finding("StateLost", None, f"{error}{_decided(case, STATE)}", case.command(STATE))
    except Mismatch as error:
        return Finding("Mismatch", None, str(error))
    lost, text = list(map(str, plan.lost)), f"{plan.text}{_begun(case, sink)}"
    if lost and plan.is_needed:
        return Finding("Expired", None, f"{explain_expired(text)}{_decided(case, DATA)}", case.command(DATA), lost)
    if lost:
        return Finding("Expired", None, explain_expired(text), None, lost)
    if not plan.is_needed:
        return Finding(plan.kind, True, text)
    command = case.command()
    return Finding(plan.kind, False, f"{text}\n  The command that does it:\n{command}{case.lacks}", command)


def _begun(case: Case, sink: LedgerStream) -> str:
    """A call in doubt stops a query that starts on the best of checkpoints."""
    begun = sink.ledger.unfinished(case.stream) if isinstance(case.place, SqlPlace) else None
    if begun is None:
        return ""
    return (
        f"\n  Batch {begun.batch_id} was begun and is in doubt: the query runs it again, and is refused unless in_doubt= "
        "says what to do (docs/operations/a-batch-is-in-doubt.md)."
    )


def _unknown(case: Case, sink: LedgerStream, folder: CheckpointFolder) -> str | None:
    """What is to be said of a stream of which the ledger has nothing: its name may be spelt wrong. None where it has."""
    stream = case.stream
    if sink.ledger.head(stream) is not None or sink.ledger.unfinished(stream) is not None:
        return None
    text = f"{no_entry(sink.ledger, case.place, stream)}\n"
    own, done = _streams_of(folder, sink.ledger), newest(folder.names("commits"))
    if own:
        return f"{text}  {' and '.join(own)} ends with batches of this very checkpoint's query: is that the one?"
    if done < 0:
        return f"{text}  If it is new, start its query: there is nothing yet that a checkpoint could disagree with."
    return (
        f"{text}  The checkpoint {folder.root} holds finished batches, the newest {done}.\n"
        "  If the query has run without this library so far, start it: the ledger begins with its next batch.\n"
        "  If the sink was put back to before the stream's first entry, the checkpoint has to be put back to then too."
    )


def _streams_of(folder: CheckpointFolder, ledger: Ledger) -> list[str]:
    """The streams whose newest entry is of the checkpoint's query."""
    with suppress(EpochError):
        query = query_id(folder)
        heads = ((name, ledger.head(name)) for name in ledger.streams())
        return [repr(name) for name, head in heads if head is not None and head.query_id == query]
    return []  # it lacks its metadata


def _decided(case: Case, option: str) -> str:
    """The command that carries out what a person may decide."""
    return f"\n  As a command:\n{case.command(option)}{case.lacks}"


def _outcome(done: Repair, dry_run: bool) -> str:
    if not done.is_done:
        return "A dry run: nothing was done." if dry_run and done.is_needed else "Nothing was to be done."
    return "Done." if done.aside is None else f"Done. The old checkpoint is in {done.aside}"


def _about(case: Case) -> dict[str, Any]:
    return {"stream": case.stream, "ledger": case.place.shown, "checkpoint": case.checkpoint}


def _whole(checkpoint: str) -> str:
    """A local path in one form, from the root on: the command may be copied into another folder's shell."""
    if not checkpoint.strip():
        raise ConfigurationError("--checkpoint is empty: it must be the query's checkpointLocation.")
    if not is_local(checkpoint):
        return checkpoint
    return os.path.abspath(checkpoint.removeprefix("file://").removeprefix("file:"))


def _elsewhere(checkpoint: str) -> CheckpointFolder:
    from pyspark.sql import SparkSession

    from foreachonce.spark.files import HadoopFiles

    return HadoopFiles.of(SparkSession.active(), checkpoint)
