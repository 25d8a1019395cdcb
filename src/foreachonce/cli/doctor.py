"""``foreachonce doctor`` and ``restore``: compare a checkpoint with the ledger, and repair it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from foreachonce.address import PASSWORD, Operation, is_local
from foreachonce.checkpoint import COMPACT_INTERVAL, COMPACT_INTERVAL_SETTING, CheckpointFolder, query_id
from foreachonce.checkpoint.local import LocalCheckpoint
from foreachonce.cli import output
from foreachonce.cli.options import (
    LEDGER,
    Checkpoint,
    Shared,
    Source,
    Stream,
    plain_settings,
    refuse_spark_secrets,
    spark_session,
    unknown_stream,
)
from foreachonce.errors import ConfigurationError, EpochError, Expired, Mismatch, StateLost
from foreachonce.kafka.address import source_probe
from foreachonce.ledger import Ledger
from foreachonce.recovery.diagnosis import explain_expired, newest
from foreachonce.recovery.repair import LedgerStream, Repair, repair

STATE, DATA = "--accept-state-loss", "--accept-data-loss"
IN_DOUBT = "The checkpoint needs no repair, but the query does not start: a call is in doubt."


@dataclass(frozen=True)
class Case:
    """A checkpoint and the stream that it is compared with, as a command line names them.

    Raises:
        ConfigurationError: an option is wrong, or holds a secret: the options are printed again in commands.
    """

    stream: str
    checkpoint: str
    shared: Shared
    kafka: str | None = None

    def __post_init__(self) -> None:
        refuse_spark_secrets(self.conf)
        if re.search(r"//[^/@]*:[^/@]*@", self.checkpoint):
            raise ConfigurationError("--checkpoint holds a password; give it to Spark by --conf NAME=env:NAME.")

    @property
    def conf(self) -> Sequence[str]:
        """Spark's settings, each as NAME=VALUE."""
        return self.shared.conf or ()

    @contextmanager
    def opened(self, operation: Operation) -> Iterator[tuple[LedgerStream, CheckpointFolder]]:
        """The stream and the checkpoint's folder; a Spark session runs meanwhile if either needs one."""
        address, is_here = self.shared.address, is_local(self.checkpoint)
        with ExitStack() as stack:
            if not is_here or address.needs_spark("read") or address.needs_spark(operation):
                stack.enter_context(spark_session(address, self.shared.packages or (), self.conf))
            stream = LedgerStream(address.ledger(), self.stream, f"{address.shown}, by the command foreachonce")
            yield stream, LocalCheckpoint(self.checkpoint) if is_here else _through_spark(self.checkpoint)

    def repair(
        self,
        stream: LedgerStream,
        folder: CheckpointFolder,
        *,
        dry_run: bool,
        accept_state_loss: bool = False,
        accept_data_loss: bool = False,
    ) -> Repair:
        """See :func:`~foreachonce.recovery.repair.repair`."""
        return repair(
            [stream],
            folder,
            dry_run=dry_run,
            accept_state_loss=accept_state_loss,
            accept_data_loss=accept_data_loss,
            earliest=None if self.kafka is None else source_probe(self.kafka, self.shared.client or ()),
            interval=self.interval,
        )

    @property
    def interval(self) -> int:
        """After how many entries Spark compacts the log of a file source."""
        value = plain_settings(self.conf).get(COMPACT_INTERVAL_SETTING, str(COMPACT_INTERVAL))
        if not value.isdecimal() or int(value) == 0:
            raise ConfigurationError(f"--conf {COMPACT_INTERVAL_SETTING}={value}: it takes a whole number from 1 on.")
        return int(value)

    def command(self, *accepted: str) -> str:
        """The command that repairs the checkpoint, without secrets."""
        words = [*self._ledger_words(), "--checkpoint", self.checkpoint]
        if self.kafka is not None:
            words += ["--kafka", self.kafka]
            if "--client" not in words:
                words += _repeated("--client", self.shared.client)
        words += [*_repeated("--packages", self._packages()), *_repeated("--conf", self.conf)]
        return output.command_line(["foreachonce", "restore", self.stream, *words, *accepted])

    def _ledger_words(self) -> Sequence[str]:
        arguments = self.shared.address.arguments
        # An address in the environment stays there, with its secrets.
        return arguments[2:] if self._is_in_environment else arguments

    def _packages(self) -> Sequence[str]:
        """Appending to the ledger may need Spark where reading does not."""
        address = self.shared.address
        if address.extension is None or not address.needs_spark("append"):
            return self.shared.packages or ()
        return self.shared.packages or [address.extension.package]

    @property
    def password_hint(self) -> str:
        """What the command leaves out because it is secret."""
        if not self.shared.address.omits_password or PASSWORD in os.environ or self._is_in_environment:
            return ""
        return f"\n  ({PASSWORD} must hold the ledger's password.)"

    @property
    def _is_in_environment(self) -> bool:
        return os.environ.get(LEDGER) == self.shared.ledger


@dataclass(frozen=True)
class Finding:
    """The result of ``doctor``.

    Args:
        kind: a repair's kind, or the name of the error that calls for a decision.
        agrees: whether the query can start; None where a person has to decide.
        text: all of it, in words.
        command: the command that repairs the checkpoint; None where nothing needs a repair, or no command can make it.
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


def doctor(stream: Stream, checkpoint: Checkpoint, shared: Shared, kafka: Source = None) -> None:
    """Report whether a checkpoint agrees with the ledger, and the command that repairs it.

    Exits with 0 if the query can start, 1 if the checkpoint needs a repair, 2 if a person has to decide.
    """
    case = Case(stream, _absolute(checkpoint), shared, kafka)
    with case.opened("read") as (ledger_stream, folder):
        finding = _diagnose(case, ledger_stream, folder)
    if shared.as_json:
        result = {"kind": finding.kind, "agrees": finding.agrees, "text": finding.text, "command": finding.command}
        output.give(_heading(case) | result | {"lost": list(finding.lost)})
    else:
        output.say(finding.text)
    raise typer.Exit(finding.code)


def restore(
    stream: Stream,
    checkpoint: Checkpoint,
    shared: Shared,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Report what would be done, and change nothing.")] = False,
    accept_state_loss: Annotated[
        bool, typer.Option(STATE, help="Where the state is gone, let the query read its whole source again for it.")
    ] = False,
    accept_data_loss: Annotated[
        bool, typer.Option(DATA, help="Repair also where the source has lost rows that the sink lacks.")
    ] = False,
    kafka: Source = None,
) -> None:
    """Repair a checkpoint, so that its query goes on where the ledger ends. Stop the query first.

    The old checkpoint is moved aside, never deleted; the repair is an entry of the ledger. A dry run exits as doctor does.
    """
    case = Case(stream, _absolute(checkpoint), shared, kafka)
    with case.opened("read" if dry_run else "append") as (ledger_stream, folder):
        unknown = _explain_unknown(case, ledger_stream.ledger, folder)
        if unknown is not None:
            raise ConfigurationError(unknown)
        try:
            done = case.repair(
                ledger_stream,
                folder,
                dry_run=dry_run,
                accept_state_loss=accept_state_loss,
                accept_data_loss=accept_data_loss,
            )
        except (StateLost, Expired) as error:
            option = STATE if isinstance(error, StateLost) else DATA
            raise type(error)(f"{error}{_as_command(case, option)}") from None
        doubt = _unfinished(case, ledger_stream.ledger)
    text = f"{done.text}{doubt}"
    if shared.as_json:
        result = {"kind": done.kind, "text": text, "lost": list(map(str, done.lost)), "done": done.is_done}
        output.give(_heading(case) | result | {"aside": done.aside})
    else:
        output.say(f"{text}\n{_outcome(done, dry_run)}")
    raise typer.Exit(_code(done, accept_data_loss, is_in_doubt=dry_run and bool(doubt)))


def _code(done: Repair, accept_data_loss: bool, *, is_in_doubt: bool) -> int:
    if done.is_needed:
        return 2 if done.lost and not accept_data_loss else 1
    return 2 if is_in_doubt else 0


def _diagnose(case: Case, stream: LedgerStream, folder: CheckpointFolder) -> Finding:
    unknown = _explain_unknown(case, stream.ledger, folder)
    if unknown is not None:
        return Finding("new", None, unknown)
    try:
        plan = case.repair(stream, folder, dry_run=True)
    except StateLost as error:
        return Finding("StateLost", None, f"{error}{_as_command(case, STATE)}", case.command(STATE))
    except Mismatch as error:
        return Finding("Mismatch", None, str(error))
    doubt = _unfinished(case, stream.ledger)
    lost, text = list(map(str, plan.lost)), f"{plan.text}{doubt}"
    if lost and plan.is_needed:
        return Finding("Expired", None, f"{explain_expired(text)}{_as_command(case, DATA)}", case.command(DATA), lost)
    if lost:
        return Finding("Expired", None, explain_expired(text), None, lost)
    if not plan.is_needed:
        # The checkpoint is right, and the query stops at its first batch all the same, until somebody has decided.
        return Finding("InDoubt", None, f"{IN_DOUBT}\n{text}") if doubt else Finding(plan.kind, True, text)
    command = case.command()
    return Finding(plan.kind, False, f"{text}\n  The command that does it:\n{command}{case.password_hint}", command)


def _unfinished(case: Case, ledger: Ledger) -> str:
    entry = ledger.unfinished(case.stream)
    text = "" if entry is None else case.shared.address.explain_unfinished(entry)
    return f"\n  {text}" if text else ""


def _explain_unknown(case: Case, ledger: Ledger, folder: CheckpointFolder) -> str | None:
    """What to do about a stream that the ledger does not know: it may be new, or misspelt. None where the ledger has it."""
    if ledger.head(case.stream) is not None or ledger.unfinished(case.stream) is not None:
        return None
    text = f"{unknown_stream(ledger, case.shared.address, case.stream)}\n"
    streams, batch = _streams_of(folder, ledger), newest(folder.names("commits"))
    if streams:
        return f"{text}  The newest batch of {' and of '.join(streams)} is of this checkpoint's query: is one of them meant?"
    if batch < 0:
        return f"{text}  If it is new, start its query: there is nothing yet that a checkpoint could disagree with."
    return (
        f"{text}  The checkpoint {folder.root} holds finished batches, the newest {batch}.\n"
        f"  If the query has run without this library so far: {_adopted(folder, batch)}\n"
        "  If the sink was put back to before the stream's first entry, put the checkpoint back to then too."
    )


def _adopted(folder: CheckpointFolder, done: int) -> str:
    page = "docs/operations/adopt-a-running-job.md"
    if newest(folder.names("offsets")) <= done:
        return f"start it, and the ledger begins with its next batch ({page})."
    return (
        f"batch {done + 1} was started and is not finished. What the old job wrote of it would be written again, so follow "
        f"{page} before you start the query."
    )


def _streams_of(folder: CheckpointFolder, ledger: Ledger) -> list[str]:
    """The streams whose newest entry is of the checkpoint's query; none where the checkpoint lacks its metadata."""
    with suppress(EpochError):
        query = query_id(folder)
        heads = ((name, ledger.head(name)) for name in ledger.streams())
        return [repr(name) for name, head in heads if head is not None and head.query_id == query]
    return []


def _as_command(case: Case, option: str) -> str:
    """The command that carries out what a person may decide."""
    return f"\n  As a command:\n{case.command(option)}{case.password_hint}"


def _outcome(done: Repair, dry_run: bool) -> str:
    if not done.is_done:
        return "A dry run: nothing was changed." if dry_run and done.is_needed else "Nothing to repair."
    return "Done." if done.aside is None else f"Done. The old checkpoint is in {done.aside}"


def _heading(case: Case) -> dict[str, Any]:
    return {"stream": case.stream, "ledger": case.shared.address.shown, "checkpoint": case.checkpoint}


def _absolute(checkpoint: str) -> str:
    """A local path in one absolute form: the command may be pasted into a shell in another folder."""
    if not checkpoint.strip():
        raise ConfigurationError("--checkpoint is empty: it must be the query's checkpointLocation.")
    if not is_local(checkpoint):
        return checkpoint
    return os.path.abspath(checkpoint.removeprefix("file://").removeprefix("file:"))


def _through_spark(checkpoint: str) -> CheckpointFolder:
    from pyspark.sql import SparkSession

    from foreachonce.spark.files import HadoopFiles

    return HadoopFiles.of(SparkSession.active(), checkpoint)


def _repeated(option: str, values: Sequence[str] | None) -> list[str]:
    return [word for value in values or () for word in (option, value)]
