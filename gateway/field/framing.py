"""How the end of an answer is known on a serial line: the framings that an APP can ask for. Pure.

`modbus-rtu`          length from the function code, CRC checked, noise skipped
`length:N`            N bytes (1 to 4096)
`gap`, `gap:MS`       whatever has come once the line is silent for MS milliseconds (1 to 1000; default: 3.5 characters,
                      at least 20 ms, which is what drivers of USB adapters hold bytes back for)
"""

from __future__ import annotations

import re
from typing import Final, Protocol

from gateway.errors import InvalidInput
from gateway.field.modbus_frame import ResponseFramer

MAX_REQUEST_BYTES: Final = 1024
MAX_ANSWER_BYTES: Final = 4096
MIN_GAP_S: Final = 0.02
MAX_GAP_MS: Final = 1000
CHARACTER_BITS: Final = 11
"""Start, 8 data, parity or second stop, stop."""
_FORM: Final = re.compile(r"(modbus-rtu)|length:([0-9]{1,4})|gap(?::([0-9]{1,4}))?")


class Framer(Protocol):
    """Collects one answer."""

    @property
    def expects_answer(self) -> bool: ...

    @property
    def idle_s(self) -> float | None:
        """Silence after which `on_idle()` is to be called, counted from the last byte."""
        ...

    def feed(self, data: bytes) -> bytes | None:
        """Take what has arrived; the answer when it is complete."""
        ...

    def on_idle(self) -> bytes | None: ...


def silent_interval_s(baud: int) -> float:
    """The gap between two frames: 3.5 characters, 1.75 ms above 19200 baud (MODBUS over Serial Line, 2.5.1.1)."""
    return 0.00175 if baud > 19200 else 3.5 * CHARACTER_BITS / baud


def wire_time_s(count: int, baud: int) -> float:
    """How long `count` bytes are on the wire."""
    return count * CHARACTER_BITS / baud


def framer_for(framing: str, request: bytes, baud: int) -> Framer:
    """The framer of the answer to `request`; InvalidInput if the request or the framing is none."""
    form = _FORM.fullmatch(framing)
    if form is None:
        raise InvalidInput(
            f"cannot use framing {framing[:40]!r}: expected modbus-rtu, length:N, gap or gap:MILLISECONDS"
        )
    if not 1 <= len(request) <= MAX_REQUEST_BYTES:
        raise InvalidInput(f"cannot send the request: {len(request)} bytes, expected 1 to {MAX_REQUEST_BYTES}")
    modbus, length, gap_ms = form.groups()
    if modbus:
        return ResponseFramer(request)
    if length:
        return LengthFramer(int(length))
    if gap_ms and not 1 <= int(gap_ms) <= MAX_GAP_MS:
        raise InvalidInput(f"cannot use framing {framing}: the gap must be 1 to {MAX_GAP_MS} ms")
    return GapFramer(int(gap_ms) / 1000 if gap_ms else max(MIN_GAP_S, silent_interval_s(baud)))


class LengthFramer:
    """The first `length` bytes."""

    expects_answer = True
    idle_s = None

    def __init__(self, length: int) -> None:
        if not 1 <= length <= MAX_ANSWER_BYTES:
            raise InvalidInput(f"cannot use framing length:{length}: expected 1 to {MAX_ANSWER_BYTES} bytes")
        self._length = length
        self._buffer = bytearray()

    def feed(self, data: bytes) -> bytes | None:
        self._buffer += data
        return bytes(self._buffer[: self._length]) if len(self._buffer) >= self._length else None

    def on_idle(self) -> bytes | None:
        return None


class GapFramer:
    """Everything until the line is silent; MAX_ANSWER_BYTES end it, too."""

    expects_answer = True

    def __init__(self, gap_s: float) -> None:
        self.idle_s: float | None = gap_s
        self._buffer = bytearray()

    def feed(self, data: bytes) -> bytes | None:
        self._buffer += data
        return bytes(self._buffer[:MAX_ANSWER_BYTES]) if len(self._buffer) >= MAX_ANSWER_BYTES else None

    def on_idle(self) -> bytes | None:
        return bytes(self._buffer) if self._buffer else None
