"""A serial port as a non-blocking file, on a real pty pair."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
import time
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.errors import NotSupported, TimedOut, Unavailable
from gateway.host.serialport import SerialPortFile

FAR_END_BYTES = 4096
"""A pty has delivered that much already, whether it was read or not; a driver's flush does not take it back."""


class Pair:
    """A pty pair; `master` is the far end."""

    def __init__(self) -> None:
        self.master, self._slave = pty.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self.master, False)
        self.device = Path(os.ttyname(self._slave))

    def unplug(self) -> None:
        for end in (self.master, self._slave):
            with contextlib.suppress(OSError):
                os.close(end)

    def read(self) -> bytes:
        """All that is there."""
        data = b""
        with contextlib.suppress(BlockingIOError):
            while True:
                data += os.read(self.master, 65536)
        return data


@pytest.fixture
def pair() -> Iterator[Pair]:
    made = Pair()
    yield made
    made.unplug()


def opened(device: Path, *, baud: int = 9600, parity: str = "none", rs485: bool = False) -> SerialPortFile:
    return SerialPortFile(device, baud, parity, 1, rs485)


def test_bytes_both_ways(pair: Pair) -> None:
    async def main() -> None:
        port, arrived = opened(pair.device), asyncio.Queue[bytes]()
        port.start(arrived.put_nowait, lambda reason: None)
        every = bytes(range(256))
        os.write(pair.master, every)
        got = b""
        async with asyncio.timeout(2):
            while len(got) < len(every):
                got += await arrived.get()
            await port.write(every, 1.0)
        assert got == pair.read() == every, "no byte is special"
        port.close()

    asyncio.run(main())


def test_an_unplugged_port_says_so_once(pair: Pair) -> None:
    async def main() -> None:
        port, reasons = opened(pair.device), list[str]()
        port.start(lambda data: None, reasons.append)
        pair.unplug()
        await asyncio.sleep(0.05)
        assert len(reasons) == 1
        assert reasons[0]
        with pytest.raises(Unavailable, match=f"cannot write {pair.device}: "):
            await port.write(b"x", 1.0)
        port.close()

    asyncio.run(main())


def test_what_a_blocked_driver_did_not_take_is_dropped(pair: Pair) -> None:
    """It must not be sent in front of the next request."""

    async def main() -> None:
        port = opened(pair.device)
        port.start(lambda data: None, lambda reason: None)
        with pytest.raises(TimedOut, match=r"the driver took nothing for 0\.05 s"):
            await port.write(bytes(1 << 20), 0.05)
        await port.write(b"next", 1.0)
        arrived = pair.read()
        assert arrived.endswith(b"next")
        assert len(arrived) <= FAR_END_BYTES + 4
        port.close()

    asyncio.run(main())


def test_discarded_input_does_not_come_later(pair: Pair) -> None:
    async def main() -> None:
        port, arrived = opened(pair.device), list[bytes]()
        port.start(arrived.append, lambda reason: None)
        os.write(pair.master, b"stale")
        port.discard_input()
        await asyncio.sleep(0.02)
        os.write(pair.master, b"fresh")
        await asyncio.sleep(0.02)
        assert arrived == [b"fresh"]
        port.close()

    asyncio.run(main())


def test_close_does_not_wait_for_the_driver(pair: Pair) -> None:
    async def main() -> None:
        port = opened(pair.device)
        port.start(lambda data: None, lambda reason: None)
        with pytest.raises(TimedOut):
            await port.write(bytes(1 << 20), 0.02)
        await port.write(b"never read", 1.0)
        began = time.monotonic()
        port.close()
        assert time.monotonic() - began < 0.5

    asyncio.run(main())


def test_a_port_has_one_owner(pair: Pair) -> None:
    first = opened(pair.device)
    with pytest.raises(Unavailable, match=f"cannot open {pair.device}: "):
        opened(pair.device)
    first.close()
    opened(pair.device).close()


def test_no_serial_device(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.touch()
    with pytest.raises(Unavailable, match=r"cannot open .*/missing: No such file or directory"):
        opened(tmp_path / "missing")
    with pytest.raises(Unavailable, match="it is not a serial device"):
        opened(plain)
    with pytest.raises(Unavailable, match="cannot open /dev/null: "):
        opened(Path("/dev/null"))


def test_settings_that_the_driver_refuses(pair: Pair) -> None:
    """A pty has no parity, and says so at the second attempt."""
    opened(pair.device, parity="even").close()
    with pytest.raises(Unavailable, match=f"cannot open {pair.device}: "):
        opened(pair.device, parity="even")


def test_a_driver_without_rs485(pair: Pair) -> None:
    with pytest.raises(NotSupported, match=f"cannot configure {pair.device}: ") as caught:
        opened(pair.device, rs485=True)
    assert "rs485" in caught.value.hint
