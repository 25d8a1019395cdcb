"""The commands, by name, and what becomes of an error in one."""

from __future__ import annotations

import os
import re
import sys
from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from foreachonce.cli import checkpoint, ledger, output, report, upkeep, verify
from foreachonce.cli.place import PASSWORD
from foreachonce.errors import ForeachOnceError, SinkUnavailable

# What a shell gives a command that a closed pipe has ended.
_PIPE = 141


class _Commands(TyperGroup):
    def invoke(self, ctx: Any) -> Any:
        """Run a command; what it refuses is said on stderr, without a traceback."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            # Who reads has read enough. What is still to be flushed when Python ends goes nowhere.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(_PIPE) from None
        except OSError as error:
            output.complain(f"{error.strerror}: {error.filename}" if error.filename else str(error))
        except ForeachOnceError as error:
            output.complain(f"{error}{_password_of(error)}")
        raise typer.Exit(2)


def _password_of(error: ForeachOnceError) -> str:
    """Where the password is taken from, if it is what was wrong."""
    is_refused = isinstance(error, SinkUnavailable) and re.search("(?i)password|access denied", str(error))
    return f" A ledger's password is taken from {PASSWORD} where its address has none." if is_refused else ""


# No pretty exceptions: they show local variables, and with them secrets.
app = typer.Typer(
    cls=_Commands, name="foreachonce", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
)
ledgers = typer.Typer(name="ledger", no_args_is_help=True, help="Look at a ledger's streams and entries.")
app.add_typer(ledgers)

ledgers.command("list")(ledger.list_streams)
ledgers.command("show")(ledger.show)
app.command()(checkpoint.doctor)
app.command()(checkpoint.restore)
app.command()(verify.verify)
app.command()(report.report)
app.command()(upkeep.export)
app.command()(upkeep.prune)
app.command()(upkeep.init)


def _say_version(wanted: bool) -> None:
    if wanted:
        output.say(f"foreachonce {version('foreachonce')}")
        raise typer.Exit


@app.callback()
def foreachonce(
    _version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Show the version, and end.")
    ] = False,
) -> None:
    """Look at ledgers, compare checkpoints with them and mend them, prove chains.

    The ledger is named by --ledger or FOREACHONCE_LEDGER, its password by FOREACHONCE_LEDGER_PASSWORD.
    """
