"""A serial line with a scripted device at its other end: a real pty pair, driven by the test's event loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
import tty
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

from gateway.field.modbus_frame import crc16
from gateway.field.serial_buses import SerialBuses
from gateway.model.profile import SerialPort

PORT = SerialPort(name="RS485-1", device="wire", baud=115200)


def frame(*data: int) -> bytes:
    """`data` and its CRC."""
    return bytes(data) + crc16(bytes(data))


def ask(unit: int, address: int = 0) -> bytes:
    """Read one input register."""
    return frame(unit, 4, address >> 8, address & 255, 0, 1)


def reply(unit: int, value: int) -> bytes:
    return frame(unit, 4, 2, value >> 8, value & 255)


class Wire:
    """`device` is the gateway's end while it is plugged. What arrives is noted; `respond` is called with it."""

    def __init__(self, device: Path) -> None:
        self.device = device
        self.received: list[bytes] = []
        self.respond: Callable[[bytes], None] = lambda request: None
        self._ends: tuple[int, int] | None = None

    def plug(self) -> None:
        master, slave = self._ends = pty.openpty()
        tty.setraw(slave)
        os.set_blocking(master, False)
        self.device.symlink_to(os.ttyname(slave))
        asyncio.get_running_loop().add_reader(master, self._readable, master)

    def unplug(self) -> None:
        """Fine if it is not plugged."""
        ends, self._ends = self._ends, None
        if ends is None:
            return
        self.device.unlink()
        asyncio.get_running_loop().remove_reader(ends[0])
        for end in ends:
            os.close(end)

    def say(self, data: bytes) -> None:
        if self._ends is not None:
            os.write(self._ends[0], data)

    def say_later(self, delay_s: float, data: bytes) -> None:
        asyncio.get_running_loop().call_later(delay_s, self.say, data)

    def say_in_pieces(self, pieces: Sequence[bytes], pause_s: float) -> None:
        for number, piece in enumerate(pieces):
            self.say_later(number * pause_s, piece)

    def _readable(self, master: int) -> None:
        with contextlib.suppress(BlockingIOError):
            request = os.read(master, 4096)
            self.received.append(request)
            self.respond(request)


@contextlib.asynccontextmanager
async def bus_on(directory: Path, *, plugged: bool = True) -> AsyncIterator[tuple[SerialBuses, Wire]]:
    """Running buses with one port, RS485-1, whose wire is plugged when this begins."""
    wire, buses = Wire(directory / PORT.device), SerialBuses([PORT], directory)
    if plugged:
        wire.plug()
    running = asyncio.create_task(buses.run())
    try:
        async with asyncio.timeout(20):
            while not (buses.status()[0].open or buses.status()[0].fault):
                await asyncio.sleep(0.005)
            yield buses, wire
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        wire.unplug()


async def is_open(buses: SerialBuses, wanted: bool = True) -> None:
    """Wait until the port is open, or is not; the caller's time-out bounds it."""
    while buses.status()[0].open is not wanted:
        await asyncio.sleep(0.01)
