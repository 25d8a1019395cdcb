"""The entry point: checks that the extra ``cli`` is installed, runs the command, and sets the exit code."""

from __future__ import annotations

import sys
import traceback
from contextlib import ExitStack
from types import TracebackType

INSTALL = "foreachonce: the command line needs Typer and Rich: pip install 'foreachonce[cli]'"


def main() -> None:
    """Run the command in ``sys.argv``, and end the process with its exit code."""
    try:
        import rich  # noqa: F401 - only to see whether it is installed
        import typer  # noqa: F401 - only to see whether it is installed
    except ModuleNotFoundError as error:
        print(f"{INSTALL} ({error})", file=sys.stderr)
        sys.exit(2)
    from foreachonce.cli.app import app

    # A terminal that lacks a character shows another one, rather than raise an error.
    for stream in (sys.stdout, sys.stderr):
        getattr(stream, "reconfigure", lambda **_: None)(errors="replace")
    with ExitStack() as stack:
        stack.push(_exit_with_3)
        app(prog_name="foreachonce")


def _exit_with_3(kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
    """An error of the command itself: Python's own exit code, 1, would say that a chain is broken."""
    if isinstance(error, Exception):
        traceback.print_exception(error)
        sys.exit(3)


if __name__ == "__main__":
    main()
