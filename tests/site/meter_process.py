"""The process behind `field.Meter`: a pymodbus RTU server on one pty, joined to the gateway's pty.

`python -m tests.site.meter_process DEVICE`: DEVICE becomes a link to the gateway's end. Each line on stdin is a JSON
object of readings to set; it is answered on stdout by the same line once they are in the registers. The end of stdin
ends it. Input registers (function 4), float32 with the high word first, as in the SDM120 and its kin.
"""

from __future__ import annotations

import asyncio
import json
import os
import pty
import struct
import sys
import tty
from pathlib import Path
from typing import Final

from pymodbus.framer import FramerType
from pymodbus.server import ModbusSerialServer
from pymodbus.simulator import DataType, SimData, SimDevice

UNIT: Final = 1
BAUD: Final = 9600
REGISTERS: Final = {"voltage": 0x0000, "current": 0x0006, "power": 0x000C, "energy": 0x0048, "total": 0x0156}
SIZE: Final = 0x0200
WRITE_REGISTERS: Final = 16
"""The function by which pymodbus sets registers, as a master would."""


def _raw_pty() -> tuple[int, int]:
    """Both ends; the slave stays open, so that a reader of the master never sees the line hang up."""
    master, slave = pty.openpty()
    tty.setraw(master)
    tty.setraw(slave)
    os.set_blocking(master, False)
    return master, slave


def _join(one: int, other: int) -> None:
    """Copy what arrives at either master to the other."""
    loop = asyncio.get_running_loop()

    def copy(source: int, target: int) -> None:
        data = os.read(source, 4096)
        os.write(target, data)

    loop.add_reader(one, copy, one, other)
    loop.add_reader(other, copy, other, one)


def _meter() -> SimDevice:
    """Gaps between the readings are zeros, as in most meters: a master may read across them."""
    return SimDevice(UNIT, [SimData(0, count=SIZE, values=0, datatype=DataType.REGISTERS)])


async def _set(server: ModbusSerialServer, readings: dict[str, float]) -> None:
    for name, value in readings.items():
        words = list(struct.unpack(">HH", struct.pack(">f", value)))
        await server.async_setValues(UNIT, WRITE_REGISTERS, REGISTERS[name], words)


async def _serve(device: Path) -> None:
    gateway_master, gateway_slave = _raw_pty()
    server_master, server_slave = _raw_pty()
    _join(gateway_master, server_master)
    server = ModbusSerialServer(_meter(), framer=FramerType.RTU, port=os.ttyname(server_slave), baudrate=BAUD)
    await server.serve_forever(background=True)
    device.parent.mkdir(parents=True, exist_ok=True)
    device.unlink(missing_ok=True)
    device.symlink_to(os.ttyname(gateway_slave))
    stdin = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)
    try:
        while line := await stdin.readline():
            await _set(server, json.loads(line))
            sys.stdout.write(line.decode())
            sys.stdout.flush()
    finally:
        device.unlink(missing_ok=True)
        await server.shutdown()  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1])))
