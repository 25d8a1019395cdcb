"""What the demo can write to: the choices of ``--sink``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tables import tables
from target import Target
from topics import topics


@dataclass(frozen=True)
class Sink:
    """A kind of sink.

    Args:
        needs: what the set-up makes ready.
        counted: by what or where the rows are counted.
        targets: makes what both sides read and, for each name, what that side writes; nothing of it is left afterwards.
    """

    needs: str
    counted: str
    targets: Callable[[Sequence[str], Path], AbstractContextManager[dict[str, Target]]]


def _database(name: str) -> Sink:
    return Sink("JDBC driver, input files, databases", "in the database", partial(tables, name))


SINKS = {
    "sqlite": _database("sqlite"),
    "postgres": _database("postgres"),
    "kafka": Sink("Kafka's jars, a broker, a topic of flights", "by a read_committed consumer", topics),
}
