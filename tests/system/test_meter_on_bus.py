"""An energy meter of another make (pymodbus) on a serial line: read by two, silent, unplugged, back."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import struct
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from gateway.errors import TimedOut, Unavailable
from gateway.field.modbus_frame import crc16
from gateway.field.serial_buses import SerialBuses
from gateway.model.profile import SerialPort
from tests.site.field import Meter

PORT = SerialPort(name="RS485-1", device="field/RS485-1", baud=9600)
VOLTAGE, CURRENT, POWER, ENERGY, TOTAL = 0x0000, 0x0006, 0x000C, 0x0048, 0x0156


@pytest.fixture
def meter(tmp_path: Path) -> Iterator[Meter]:
    with Meter(tmp_path, tmp_path / PORT.device) as running:
        yield running


@contextlib.asynccontextmanager
async def buses_in(directory: Path) -> AsyncIterator[SerialBuses]:
    buses = SerialBuses([PORT], directory)
    running = asyncio.create_task(buses.run())
    try:
        async with asyncio.timeout(60):
            yield buses
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def request(address: int, count: int) -> bytes:
    head = bytes([1, 4]) + struct.pack(">HH", address, count)
    return head + crc16(head)


async def registers(
    buses: SerialBuses, address: int, count: int, *, owner: str = "app.one", timeout_s: float = 2.0
) -> bytes:
    answer = await buses.transact(
        PORT.name, request(address, count), framing="modbus-rtu", timeout_s=timeout_s, owner=owner
    )
    assert answer[:3] == bytes([1, 4, 2 * count])
    return answer[3:-2]


async def reading(buses: SerialBuses, address: int, *, owner: str = "app.one", timeout_s: float = 2.0) -> float:
    return float(struct.unpack(">f", await registers(buses, address, 2, owner=owner, timeout_s=timeout_s))[0])


def test_the_readings_of_the_meter(meter: Meter, tmp_path: Path) -> None:
    meter.set(voltage=231.5, current=4.25, power=983.875, energy=1234.5, total=1300.25)

    async def main() -> None:
        async with buses_in(tmp_path) as buses:
            found = [await reading(buses, address) for address in (VOLTAGE, CURRENT, POWER, ENERGY, TOTAL)]
            assert found == [231.5, 4.25, 983.875, 1234.5, 1300.25]
            block = struct.unpack(">7f", await registers(buses, 0, 14))
            assert block == (231.5, 0.0, 0.0, 4.25, 0.0, 0.0, 983.875), "gaps are zeros"
            meter.set(power=-12.5)
            assert await reading(buses, POWER) == -12.5

    asyncio.run(main())


def test_an_exception_is_an_answer(meter: Meter, tmp_path: Path) -> None:
    async def main() -> None:
        async with buses_in(tmp_path) as buses:
            answer = await buses.transact(
                PORT.name, request(0xF000, 2), framing="modbus-rtu", timeout_s=2.0, owner="app.one"
            )
            assert answer == bytes([1, 0x84, 2]) + crc16(bytes([1, 0x84, 2])), "illegal data address"

    asyncio.run(main())


def test_two_owners_at_once(meter: Meter, tmp_path: Path) -> None:
    meter.set(voltage=231.5, power=983.875)

    async def main() -> None:
        async with buses_in(tmp_path) as buses:

            async def ask_often(owner: str, address: int) -> list[float]:
                return [await reading(buses, address, owner=owner) for _ in range(15)]

            one, two = await asyncio.gather(ask_often("app.one", VOLTAGE), ask_often("app.two", POWER))
            assert one == [231.5] * 15
            assert two == [983.875] * 15
            status = buses.status()[0]
            assert (status.answered, status.timed_out, status.refused) == (30, 0, 0)

    asyncio.run(main())


def test_a_meter_that_is_silent_for_a_while(meter: Meter, tmp_path: Path) -> None:
    """Stopped, it answers nothing; continued, it answers what was asked meanwhile, when nobody wants it any more."""

    async def main() -> None:
        async with buses_in(tmp_path) as buses:
            assert await reading(buses, VOLTAGE) == 230.0
            os.kill(meter.pid, signal.SIGSTOP)
            try:
                began = time.monotonic()
                with pytest.raises(TimedOut) as caught:
                    await reading(buses, VOLTAGE, timeout_s=0.3)
                assert str(caught.value) == "cannot get an answer on RS485-1: nothing complete within 0.3 s"
                assert time.monotonic() - began < 1.5
            finally:
                os.kill(meter.pid, signal.SIGCONT)
            await asyncio.sleep(0.3)
            assert await reading(buses, POWER) == 1000.0
            assert buses.status()[0].open

    asyncio.run(main())


def test_a_meter_that_is_killed_and_comes_back(meter: Meter, tmp_path: Path) -> None:
    """Its pty goes with it, as an adapter that is unplugged: callers are told at once, not after their time-out."""

    async def main() -> None:
        async with buses_in(tmp_path) as buses:
            assert await reading(buses, VOLTAGE) == 230.0
            os.kill(meter.pid, signal.SIGSTOP)
            waiting = asyncio.create_task(reading(buses, VOLTAGE, timeout_s=9.0))
            await asyncio.sleep(0.1)
            began = time.monotonic()
            os.kill(meter.pid, signal.SIGKILL)
            with pytest.raises(Unavailable, match=f"cannot read {tmp_path / PORT.device}: "):
                await waiting
            assert time.monotonic() - began < 1.0
            with pytest.raises(Unavailable, match="cannot use RS485-1: "):
                await reading(buses, VOLTAGE)
            await asyncio.to_thread(meter.stop)
            await asyncio.to_thread(meter.start, voltage=229.5)
            while not buses.status()[0].open:
                await asyncio.sleep(0.02)
            assert await reading(buses, VOLTAGE) == 229.5

    asyncio.run(main())
