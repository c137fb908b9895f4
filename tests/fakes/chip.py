"""A gpiochip in memory: implements `host.gpiochip.GpioChip`, remembers every change of level. `gone` makes it fail."""

from __future__ import annotations

from pathlib import Path

from gateway.errors import Unavailable


class MemoryChip:
    """One chip; `open` is what `Lines` takes as `open_chip`."""

    def __init__(self) -> None:
        self.levels: dict[int, int] = {}
        self.changes: list[tuple[int, int]] = []
        self.gone = False

    def open(self, spec: str, run: Path) -> MemoryChip:
        self._present()
        return self

    def request_output(self, offset: int, value: int, *, keep: bool, active_low: bool) -> int:
        self._present()
        if not keep or offset not in self.levels:
            self._level(offset, value)
        return self.levels[offset]

    def request_input(self, offset: int, *, active_low: bool) -> int:
        self._present()
        return self.levels.setdefault(offset, 0)

    def get(self, offset: int) -> int:
        self._present()
        return self.levels[offset]

    def set(self, offset: int, value: int) -> None:
        self._present()
        self._level(offset, value)

    def close(self) -> None: ...

    def _level(self, offset: int, value: int) -> None:
        if self.levels.get(offset) != value:
            self.levels[offset] = value
            self.changes.append((offset, value))

    def _present(self) -> None:
        if self.gone:
            raise Unavailable("cannot use the chip: it is gone")
