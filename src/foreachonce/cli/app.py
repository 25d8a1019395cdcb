"""Where the command begins: what is missing is said, and how it ends is a code."""

from __future__ import annotations

import sys
import traceback
from types import TracebackType

INSTALL = "foreachonce: the command line needs Typer and Rich: pip install 'foreachonce[cli]'"


class _Ending:
    """An error of the command itself ends with 3: Python's own 1 would say that a chain is broken."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if isinstance(error, Exception):
            traceback.print_exception(error)
            sys.exit(3)


def main() -> None:
    """Run the command that ``sys.argv`` names."""
    try:
        import rich  # noqa: F401 - to be sure of it
        import typer  # noqa: F401 - to be sure of it
    except ModuleNotFoundError as error:
        print(f"{INSTALL} ({error})", file=sys.stderr)
        sys.exit(2)
    from foreachonce.cli.commands import app

    # A terminal that lacks a character gets another one, not an error.
    for stream in (sys.stdout, sys.stderr):
        getattr(stream, "reconfigure", lambda **_: None)(errors="replace")
    with _Ending():
        app(prog_name="foreachonce")
