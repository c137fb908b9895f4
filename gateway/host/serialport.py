"""A serial port as a non-blocking file: opened and configured by pyserial, read and written by the event loop.

8 data bits always; parity, stop bits, speed and RS-485 direction control as in the profile. Does not know frames: see
`field/serial_bus.py`, its only user. `pyserial` is imported when the first port is opened, here and nowhere else.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Final

from gateway.errors import NotSupported, TimedOut, Unavailable

READ_BYTES: Final = 4096
_PARITY: Final = {"none": "N", "even": "E", "odd": "O"}


class SerialPortFile:
    """An open port. `on_data` gets what arrives; `on_gone` gets the reason, once, when the port has been unplugged."""

    def __init__(self, device: Path, baud: int, parity: str, stop_bits: int, rs485: bool) -> None:
        """Unavailable: no such device, in use, unplugged. NotSupported: the driver cannot do what is asked."""
        self._device = device
        self._loop: asyncio.AbstractEventLoop | None = None
        self._serial = _open(device, baud, parity, stop_bits, rs485)
        self._fd: int = self._serial.fileno()

    def start(self, on_data: Callable[[bytes], None], on_gone: Callable[[str], None]) -> None:
        """Begin to read on the running event loop."""
        loop = self._loop = asyncio.get_running_loop()

        def readable() -> None:
            try:
                data = os.read(self._fd, READ_BYTES)
            except BlockingIOError:
                return
            except OSError as failure:
                reason = failure.strerror or str(failure)
            else:
                if data:
                    on_data(data)
                    return
                reason = "it was unplugged"  # VMIN is 1: nothing to read is EAGAIN, end of file is a hang-up
            loop.remove_reader(self._fd)
            on_gone(reason)

        loop.add_reader(self._fd, readable)

    async def write(self, data: bytes, timeout_s: float) -> None:
        """Hand all of `data` to the driver. TimedOut: it does not take it (flow control). Unavailable: unplugged."""
        pending = memoryview(data)
        try:
            async with asyncio.timeout(timeout_s):
                while pending:
                    try:
                        pending = pending[os.write(self._fd, pending) :]
                    except BlockingIOError:
                        await self._writable()
        except TimeoutError:
            with contextlib.suppress(OSError, termios.error):  # the rest must not be sent in front of the next request
                termios.tcflush(self._fd, termios.TCOFLUSH)
            raise TimedOut(f"cannot write {self._device}: the driver took nothing for {timeout_s:g} s") from None
        except OSError as failure:
            raise Unavailable(f"cannot write {self._device}: {failure.strerror}") from failure

    async def _writable(self) -> None:
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        loop.add_writer(self._fd, ready.set)
        try:
            await ready.wait()
        finally:
            loop.remove_writer(self._fd)

    def discard_input(self) -> None:
        """Forget what has arrived but was not read."""
        with contextlib.suppress(OSError, termios.error):
            termios.tcflush(self._fd, termios.TCIFLUSH)

    def close(self) -> None:
        """Never waits: what is still in the driver's buffer is dropped (close(2) would wait up to 30 s for it)."""
        if self._loop is not None:
            self._loop.remove_reader(self._fd)
            self._loop = None
        with contextlib.suppress(OSError, termios.error):
            termios.tcflush(self._fd, termios.TCIOFLUSH)
        with contextlib.suppress(OSError):
            self._serial.close()


def _open(device: Path, baud: int, parity: str, stop_bits: int, rs485: bool):  # type: ignore[no-untyped-def]
    import serial
    import serial.rs485

    try:
        if not stat.S_ISCHR(device.stat().st_mode):
            raise Unavailable(f"cannot open {device}: it is not a serial device")
        port = serial.Serial(
            baudrate=baud, parity=_PARITY[parity], stopbits=stop_bits, timeout=0, write_timeout=0, exclusive=True
        )
        if rs485:
            port.rs485_mode = serial.rs485.RS485Settings()
        port.port = str(device)
        port.open()
    except ValueError as failure:  # pyserial's word for an ioctl that the driver refused
        raise NotSupported(
            f"cannot configure {device}: {failure}", hint="is `rs485` right for this board?"
        ) from failure
    except OSError as failure:
        raise Unavailable(f"cannot open {device}: {failure.strerror or failure}") from failure
    except termios.error as failure:  # unplugged just now; no OSError
        raise Unavailable(f"cannot open {device}: {failure.args[-1]}") from failure
    try:
        attributes = termios.tcgetattr(port.fileno())
        attributes[6][termios.VMIN], attributes[6][termios.VTIME] = 1, 0
        termios.tcsetattr(port.fileno(), termios.TCSANOW, attributes)
    except termios.error as failure:
        port.close()
        raise Unavailable(f"cannot configure {device}: {failure.args[-1]}") from failure
    return port
