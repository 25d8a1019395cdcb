"""The commands by name, and the exit code and message of an error in one."""

from __future__ import annotations

import os
import re
import sys
from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from foreachonce.address import PASSWORD
from foreachonce.cli import doctor, ledger, output, report, verify
from foreachonce.cli.options import with_shared_options
from foreachonce.errors import ForeachOnceError, SinkUnavailable

# The exit code that a shell gives a command which a closed pipe has ended.
_PIPE = 141


class _Commands(TyperGroup):
    def invoke(self, ctx: Any) -> Any:
        """Run a command; print an expected error on stderr, without a traceback."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            # The reader has closed the pipe: let Python flush the rest to nowhere when it ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(_PIPE) from None
        except OSError as error:
            output.complain(f"{error.strerror}: {error.filename}" if error.filename else str(error))
        except ForeachOnceError as error:
            output.complain(f"{error}{_password_hint(error)}")
        raise typer.Exit(2)


def _password_hint(error: ForeachOnceError) -> str:
    """Where the password is taken from, if a wrong password may be the cause."""
    is_refused = isinstance(error, SinkUnavailable) and re.search("(?i)password|access denied", str(error))
    return f" A ledger's password is taken from {PASSWORD} where its address has none." if is_refused else ""


# No pretty exceptions: they show local variables, and with them secrets.
app = typer.Typer(
    cls=_Commands, name="foreachonce", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
)
ledgers = typer.Typer(name="ledger", no_args_is_help=True, help="Look at a ledger's streams and entries.")
app.add_typer(ledgers)

ledgers.command("list")(with_shared_options(ledger.list_streams))
ledgers.command("show")(with_shared_options(ledger.show))
for command in (doctor.doctor, doctor.restore, verify.verify, report.report, ledger.export, ledger.prune, ledger.init):
    app.command()(with_shared_options(command))


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        output.say(f"foreachonce {version('foreachonce')}")
        raise typer.Exit


@app.callback()
def foreachonce(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version, and exit.")
    ] = False,
) -> None:
    """Look at ledgers, compare checkpoints with them and repair them, prove chains.

    --ledger or FOREACHONCE_LEDGER names the ledger, FOREACHONCE_LEDGER_PASSWORD holds its password.
    """
