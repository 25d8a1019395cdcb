"""The command as a shell would call it, and ledgers and checkpoints for it to look at."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from typer.testing import CliRunner

from foreachonce import Entry, SqlLedger
from foreachonce.checkpoint.local import LocalCheckpoint
from foreachonce.cli.app import app
from foreachonce.recovery.goal import Standing, goal_of
from foreachonce.recovery.past import past_of
from foreachonce.recovery.rebuild import rebuild
from foreachonce.sql.schema import tables
from foreachonce.sql.statements import as_text, values_of

START = datetime(2026, 5, 1, 12, tzinfo=timezone.utc)


def run(*words: object, code: int = 0, **environment: str | None) -> str:
    """Run the command; return what it says on stdout, or, where it is to end with 2 and says nothing there, on stderr."""
    done = CliRunner(env=environment).invoke(app, [str(word) for word in words])
    assert done.exit_code == code, (done.output, done.exception)
    return done.stdout or done.stderr


def told(*words: object, code: int = 0, **environment: str | None) -> Any:
    """The one JSON value that the command prints."""
    return json.loads(run(*words, "--json", code=code, **environment))


def timed(entries: Iterable[Entry], *seconds: float) -> list[Entry]:
    """The entries at 12:00 and so many seconds after it, in order."""
    return [replace(each, time=START + timedelta(seconds=after)) for each, after in zip(entries, seconds, strict=True)]


def fill(url: str, *entries: Entry) -> SqlLedger:
    """Put entries into a database's ledger as they are, with their times."""
    ledger = SqlLedger(url)
    _ = ledger.identity
    rows = [values_of(each) | {"rows": each.rows, "committed_at": as_text(each.time)} for each in entries]
    with ledger.database.writing(ledger.url) as connection:
        connection.execute(sa.insert(tables(None).ledger), rows)
    return ledger


def checkpoint_after(folder: Path, *entries: Entry) -> Path:
    """A checkpoint whose query goes on after the last of the entries."""
    goal = goal_of([Standing("a sink", entries[-1])])
    assert goal is not None
    for path, text in rebuild(goal, past_of(goal, entries, None)).texts.items():
        LocalCheckpoint(str(folder)).write(path, text)
    return folder


def files_of(folder: Path) -> dict[str, str]:
    """The texts of a folder's files, by path."""
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()}
