"""The modules and calls of one small batch into PostgreSQL, in the driver, once everything is warm: no times, but counts.

``python -m bench.calls [--all]`` prints them; ``--all`` lists each function too.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from pathlib import Path
from types import FrameType

from pyspark.sql import DataFrame

import foreachonce
from bench.place import Bench, session
from foreachonce import JdbcSink
from foreachonce.testing.stream import FileStream
from tests.servers.postgres import database, postgres

ROOT = str(Path(foreachonce.__file__).parent) + "/"
BATCHES = 5


def counted(bench: Bench) -> Counter[tuple[str, str]]:
    """How often each function is called for the last of some batches of 100 rows, by module and name."""
    stream = FileStream(bench.spark, Path(tempfile.mkdtemp(prefix="foreachonce-bench-")))
    stream.feed(*(range(100 * number, 100 * (number + 1)) for number in range(BATCHES)))
    sink = JdbcSink(bench.url, table="events", stream="calls")
    calls: Counter[tuple[str, str]] = Counter()

    def watch(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(ROOT):
            calls[frame.f_code.co_filename.removeprefix(ROOT), frame.f_code.co_qualname] += 1

    def batch(frame: DataFrame, batch_id: int) -> None:
        calls.clear()
        sys.setprofile(watch)
        try:
            sink(frame, batch_id)
        finally:
            sys.setprofile(None)

    stream.run(batch)
    return calls


def main() -> None:
    """Print modules and calls."""
    with postgres() as server, database(server) as url:
        calls = counted(Bench(session(), url))
    modules = {module for module, _ in calls}
    print(f"{len(modules)} modules, {sum(calls.values())} calls")
    if "--all" in sys.argv:
        for (module, name), count in sorted(calls.items()):
            print(f"{count:5}  {module:32} {name}")


if __name__ == "__main__":
    main()
