"""A reader of a Delta table, by delta-rs: it shares no code with Spark's Delta."""

from __future__ import annotations

from collections import Counter

from deltalake import DeltaTable

from tests.acceptance.reader import FILE_IDS, Reader


class DeltaReader(Reader):
    """Looks at every version that the table ever had, each of which somebody may have read."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path, self._seen = path, -1
        self._files: set[int] = set()

    def look(self) -> None:
        """Count each file's rows in the versions that are new."""
        if not DeltaTable.is_deltatable(self._path):
            return
        for version in range(self._seen + 1, DeltaTable(self._path).version() + 1):
            counts = Counter(number // FILE_IDS for number in self._ids(version))
            self.note(counts, f" in version {version}")
            if not self._files <= counts.keys():
                self.parts.append(f"version {version} lacks files of the one before")
            self.still += self._files == counts.keys()
            self._seen, self._files = version, set(counts)
        self.looks += 1

    def ids(self) -> list[int]:
        """All ids in the table, in order."""
        return sorted(self._ids())

    def _ids(self, version: int | None = None) -> list[int]:
        return DeltaTable(self._path, version=version).to_pyarrow_table(columns=["id"])["id"].to_pylist()
