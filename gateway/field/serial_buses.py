"""All serial ports of the board, by the name printed on the case."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from gateway.errors import NotFound
from gateway.field.serial_bus import BusStatus, SerialBus
from gateway.lifecycle.supervisor import supervise
from gateway.model.profile import SerialPort


class SerialBuses:
    """A part that keeps one `SerialBus` per port running. Relative devices lie below `run`."""

    name = "serial buses"

    def __init__(self, ports: Sequence[SerialPort], run: Path) -> None:
        self._buses = {port.name: SerialBus(port, run / port.device) for port in ports}

    async def transact(self, port: str, request: bytes, *, framing: str, timeout_s: float, owner: str) -> bytes:
        """Send `request` on `port` and return the answer; `framing` as in `framing.py`, at most 10 s `timeout_s`.

        NotFound (no such port), InvalidInput, NotSupported, Unavailable (port away, queue full), TimedOut.
        """
        bus = self._buses.get(port)
        if bus is None:
            raise NotFound(f"cannot use serial port {port}: this board has {', '.join(self._buses) or 'none'}")
        return await bus.transact(request, framing, timeout_s, owner)

    def names(self) -> tuple[str, ...]:
        return tuple(self._buses)

    def status(self) -> list[BusStatus]:
        return [bus.status() for bus in self._buses.values()]

    async def run(self) -> None:
        """Until cancelled; a bus that fails does not stop the others."""
        await supervise(list(self._buses.values()), asyncio.Event())
