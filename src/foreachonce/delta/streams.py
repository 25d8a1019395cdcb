"""Which streams have written a table. Pure but for the folder."""

from __future__ import annotations

import json
from collections.abc import Iterator

from foreachonce.delta.commit import MARKER
from foreachonce.delta.log import FIRST_LINES, LOG, Folder
from foreachonce.delta.place import COPIES


def streams(folder: Folder) -> set[str]:
    """The names that commit files and copies tell."""
    return {*_of_commits(folder), *_of_copies(folder)}


def _of_commits(folder: Folder) -> Iterator[str]:
    for name in folder.names(LOG):
        for line in (folder.lines(f"{LOG}/{name}", FIRST_LINES) or []) if name.endswith(".json") else []:
            if MARKER in line and line.startswith('{"commitInfo"'):
                yield from _stream(json.loads(line)["commitInfo"].get("userMetadata"))


def _of_copies(folder: Folder) -> Iterator[str]:
    for stream in folder.names(COPIES):
        for name in folder.names(f"{COPIES}/{stream}")[:1]:
            yield from _stream("\n".join(folder.lines(f"{COPIES}/{stream}/{name}") or []))


def _stream(text: str | None) -> Iterator[str]:
    try:
        fields = json.loads(text or "null")
    except ValueError:
        return
    if isinstance(fields, dict) and MARKER in fields:
        yield str(fields["stream"])
