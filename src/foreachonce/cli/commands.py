"""The commands, by name, and what becomes of an error in one."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from foreachonce.cli import checkpoint, ledger, output, report, upkeep, verify
from foreachonce.errors import ForeachOnceError


class _Commands(TyperGroup):
    def invoke(self, ctx: Any) -> Any:
        """Run a command; what it refuses is said on stderr, without a traceback."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise  # who reads has read enough: the framework ends without a word
        except (ForeachOnceError, OSError) as error:
            output.complain(str(error))
        raise typer.Exit(2)


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
