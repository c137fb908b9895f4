"""A chip of the kernel whose wires are in our hands: the PL061 of the arm64 guest (`tests/site/arm64_wires.py`).

Only there: driving lines of a `/dev/gpiochip*` that is wired to something could switch it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, BinaryIO

from tests.site.arm64_wires import CHANNEL, LINES

CHIP = "/dev/gpiochip0"
POWER_KEY = 3
"""The board's own; the kernel holds it."""


def channel() -> Path | None:
    """The device on which the wires answer; None outside the guest."""
    for name in Path("/sys/class/virtio-ports").glob("*/name"):
        if name.read_text().strip() == CHANNEL:
            return Path("/dev") / name.parent.name
    return None


class WiredBoard:
    """All lines are inputs at 0 when it starts, as after power on: this chip keeps what the last test left."""

    def __init__(self) -> None:
        self.spec = CHIP
        self._channel: BinaryIO | None = None

    def start(self) -> None:
        import gpiod

        path = channel()
        assert path is not None, "this is not the arm64 guest"
        self._channel = path.open("r+b", buffering=0)
        lines = [offset for offset in range(LINES) if offset != POWER_KEY]
        settings = gpiod.LineSettings(direction=gpiod.line.Direction.INPUT)
        gpiod.request_lines(CHIP, {tuple(lines): settings}).release()
        for offset in lines:
            self.drive(offset, 0)

    def stop(self) -> None:
        if self._channel is not None:
            self._channel.close()

    def drive(self, offset: int, level: int) -> None:
        """Set an input, as the wire would."""
        self._ask(drive=[offset, level])

    def level(self, offset: int) -> int:
        return int(self._ask(level=offset)["level"])

    def _ask(self, **request: Any) -> dict[str, Any]:
        assert self._channel is not None
        self._channel.write(json.dumps(request).encode() + b"\n")
        answer = b""
        while not answer.endswith(b"\n"):
            answer += self._channel.read(1024)
        read: dict[str, Any] = json.loads(answer)
        assert "error" not in read, read
        return read
