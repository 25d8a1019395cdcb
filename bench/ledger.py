"""A ledger of a million entries against one of ten: a commit, a look at the head, and a start cost the same."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from uuid import uuid4

from rich.console import Console

from bench.place import Bench
from bench.rounds import Work, interleaved
from foreachonce import Epoch, Position, SqlLedger
from foreachonce.entry import Entry
from foreachonce.position import SourceSpan

MANY, FEW = 1_000_000, 10
OURS, OTHER = "1,000,000 entries", "10 entries"
TIMES = 50
FILL = """
insert into {schema}.foreachonce_ledger
    (stream, seq, query_id, batch_id, run_id, start_offsets, end_offsets, offset_log, is_stateful, rows, committed_at, sink,
     versions, decision)
select 's', n, 'query', n, 'run', '0:' || n, '0:' || n + 1, repeat('x', 300), 0, 1, '2026-01-01T00:00:00+00:00', 'sink',
       '{{}}', 'write'
from generate_series(0, {count} - 1) as n
"""


@dataclass
class Filled:
    """A ledger in a schema of its own, with a stream of some entries.

    Args:
        bench: where.
        schema: which.
        size: how many entries there are at first.
    """

    bench: Bench
    schema: str
    size: int
    next: Iterator[int] = field(init=False)

    def __post_init__(self) -> None:
        self.bench.sql(f"drop schema if exists {self.schema} cascade", f"create schema {self.schema}")
        self.ledger = SqlLedger(self.bench.url, schema=self.schema)
        self.ledger.streams()
        self.bench.sql(FILL.format(schema=self.schema, count=self.size), f"vacuum analyze {self.schema}.foreachonce_ledger")
        self.next = count(self.size)
        self.run = str(uuid4())
        self.ledger.take(self.epoch(self.size), self.ledger.head("s"))

    def epoch(self, number: int) -> Epoch:
        """The batch that comes after ``number`` others."""
        span = Position({"0": SourceSpan(str(number), str(number + 1))})
        return Epoch(stream="s", query_id="query", run_id=self.run, batch_id=number, position=span, offset_log="x" * 300)

    def commit(self) -> float:
        """What a batch asks of the ledger, ``TIMES`` times: the head, and the entry in a transaction; in milliseconds."""
        start = time.perf_counter()
        for _ in range(TIMES):
            epoch = self.epoch(next(self.next))
            entry = Entry.next(self.ledger.look(epoch).head, epoch, sink="sink", versions="{}", decision="write")
            batch = self.ledger.batch(entry)
            with batch.writing() as connection:
                batch.append_entry(connection, 1)
        return 1000 * (time.perf_counter() - start) / TIMES

    def replay(self) -> float:
        """The look at the head that skips a batch."""
        newest = self.ledger.head("s")
        assert newest is not None
        epoch = self.epoch(newest.batch_id)
        start = time.perf_counter()
        for _ in range(TIMES):
            assert self.ledger.look(epoch).same_batch is not None
        return 1000 * (time.perf_counter() - start) / TIMES

    def start(self) -> float:
        """A new run takes the stream over."""
        self.run = str(uuid4())
        newest = self.ledger.head("s")
        assert newest is not None
        start = time.perf_counter()
        self.ledger.take(self.epoch(newest.batch_id + 1), newest)
        return 1000 * (time.perf_counter() - start)


def measure(bench: Bench, rounds: int, console: Console) -> list[Work]:
    """Time the three in both ledgers."""
    many, few = Filled(bench, "many", MANY), Filled(bench, "few", FEW)
    works: dict[str, Callable[[Filled], float]] = {
        "a commit": Filled.commit,
        "a replay": Filled.replay,
        "a start": Filled.start,
    }
    return [
        interleaved(
            Work(f"{name} in the ledger", unit="ms", ours=OURS, goals={OTHER: 1 / 1.1}),
            {OTHER: lambda call=call: call(few), OURS: lambda call=call: call(many)},
            4 * rounds,
            console,
        )
        for name, call in works.items()
    ]
