"""Arm the fault points of another process, or of this one, and see who has come to them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from foreachonce.faults import Action, Point
from foreachonce.polling import wait_until

# Seconds to wait for a process, and between two looks.
PATIENCE, PAUSE = 300, 0.005


class Faults:
    """The folder that ``FOREACHONCE_FAULTS`` names."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def arm(self, point: Point, action: Action) -> None:
        """The first process that comes to ``point`` from now on meets ``action``."""
        self._met(point).unlink(missing_ok=True)
        half = self.folder / f"{point}.half"
        half.write_text(action)
        half.rename(self.folder / point)

    def met(self, point: Point) -> int | None:
        """The process that has come to the point, None if nobody has."""
        try:
            return int(self._met(point).read_text() or 0) or None
        except FileNotFoundError:
            return None

    def wait(self, point: Point, is_alive: Callable[[], bool] = lambda: True) -> int:
        """Wait until a process has come to the point; return it."""
        wait_until(lambda: self.met(point) is not None or not is_alive(), PATIENCE, pause=PAUSE)
        process = self.met(point)
        assert process is not None, f"nobody came to {point}"
        return process

    def wait_for_all(self, point: Point, count: int, is_alive: Callable[[], bool] = lambda: True) -> None:
        """Wait until so many threads stand at a point that holds everybody."""

        def arrived() -> int:
            return len(list(self.folder.glob(f"{point}.met-*")))

        wait_until(lambda: arrived() >= count or not is_alive(), PATIENCE, pause=PAUSE)
        assert arrived() >= count, f"{arrived()} of {count} came to {point}"

    def release(self, point: Point) -> None:
        """Let what stands at the point go on."""
        self._met(point).unlink()

    def clear(self) -> None:
        """Disarm everything, and let everybody go on."""
        for file in self.folder.iterdir():
            file.unlink(missing_ok=True)

    def _met(self, point: Point) -> Path:
        return self.folder / f"{point}.met"
