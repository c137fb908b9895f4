"""Modbus RTU frames: CRC, how long a response is, and finding it in a stream with noise. Pure.

Finds frames, does not interpret registers: that is the APP's business. A frame that is an exception response is a
response like any other. Source: MODBUS over Serial Line V1.02 (2.5.1 framing, 6.2.2 CRC), MODBUS Application Protocol
V1.1b3 (6 function codes, 7 exceptions).
"""

from __future__ import annotations

from typing import Final

from gateway.errors import InvalidInput, NotSupported

MAX_FRAME_BYTES: Final = 256
MIN_FRAME_BYTES: Final = 4
BROADCAST: Final = 0
EXCEPTION_BIT: Final = 0x80
EXCEPTION_BYTES: Final = 5

_FIXED: Final = {0x05: 8, 0x06: 8, 0x07: 5, 0x0B: 8, 0x0F: 8, 0x10: 8, 0x16: 10}
"""Function code -> bytes of the whole response."""
_COUNTED: Final = frozenset({0x01, 0x02, 0x03, 0x04, 0x0C, 0x11, 0x14, 0x15, 0x17})
"""Function codes whose response says its length in one byte after the function code."""
_DIAGNOSTICS: Final = 0x08
_FIFO: Final = 0x18
_MEI: Final = 0x2B
_MEI_IDENTIFICATION: Final = 0x0E


def _crc_table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ 0xA001 if value & 1 else value >> 1
        table.append(value)
    return tuple(table)


_TABLE: Final = _crc_table()


def crc16(data: bytes | bytearray | memoryview) -> bytes:
    """The two CRC bytes that follow `data`, low byte first."""
    crc = 0xFFFF
    for byte in data:
        crc = (crc >> 8) ^ _TABLE[(crc ^ byte) & 0xFF]
    return crc.to_bytes(2, "little")


def check_request(request: bytes) -> None:
    """InvalidInput unless `request` is a whole RTU frame (unit, function code, data, CRC)."""
    if not MIN_FRAME_BYTES <= len(request) <= MAX_FRAME_BYTES:
        raise InvalidInput(
            f"cannot send the Modbus request: {len(request)} bytes, expected {MIN_FRAME_BYTES} to {MAX_FRAME_BYTES}"
        )
    wanted = crc16(request[:-2])
    if request[-2:] != wanted:
        raise InvalidInput(
            f"cannot send the Modbus request: its last two bytes are {request[-2:].hex()}, the CRC is {wanted.hex()}"
        )
    if request[1] & EXCEPTION_BIT:
        raise InvalidInput(f"cannot send the Modbus request: function code {request[1]} is no request")


class ResponseFramer:
    """Finds the response to one request in what arrives, however it is split and whatever noise is around it.

    A frame counts when unit, function code, length (where the request determines it) and CRC fit; everything before it
    is skipped. NotSupported: the length of this function code's response is not known.
    """

    idle_s = None

    def __init__(self, request: bytes) -> None:
        check_request(request)
        self._request = request
        self._unit, self._function = request[0], request[1]
        if not (
            self._function in _FIXED
            or self._function in _COUNTED
            or self._function in (_DIAGNOSTICS, _FIFO)
            or (self._function == _MEI and request[2] == _MEI_IDENTIFICATION)
        ):
            raise NotSupported(
                f"cannot frame the answer to Modbus function code {self._function}: its length is not known",
                hint="use the framing `gap` or `length:N`",
            )
        self._wanted = _wanted_length(request)
        self._buffer = bytearray()

    @property
    def expects_answer(self) -> bool:
        """False for a broadcast: nobody answers one."""
        return self._unit != BROADCAST

    def feed(self, data: bytes) -> bytes | None:
        """Take what has arrived; the response once it is complete.

        Of a stream that never becomes a frame only the end is kept: what may still become one is shorter than a frame.
        """
        self._buffer += data
        first_open = len(self._buffer)
        for start in range(len(self._buffer)):
            length = self._length_at(start)
            if length is None:  # may become a frame: look on behind it all the same, it may be noise
                first_open = min(first_open, start)
            elif length and self._crc_fits(start, length):
                return bytes(self._buffer[start : start + length])
        del self._buffer[:first_open]
        return None

    def on_idle(self) -> bytes | None:
        return None

    def _crc_fits(self, start: int, length: int) -> bool:
        end = start + length - 2
        return crc16(memoryview(self._buffer)[start:end]) == self._buffer[end : end + 2]

    def _length_at(self, start: int) -> int | None:
        """Bytes of the frame that begins at `start` and is all there; None: not all there yet; 0: none begins here."""
        buffer = self._buffer
        if buffer[start] != self._unit:
            return 0
        if len(buffer) - start < 2:
            return None
        function = buffer[start + 1]
        if function == self._function | EXCEPTION_BIT:
            length: int | None = EXCEPTION_BYTES
        elif function == self._function:
            length = self._announced(start)
        else:
            return 0
        if length is None or len(buffer) - start < length <= MAX_FRAME_BYTES:
            return None
        return length if length <= MAX_FRAME_BYTES else 0

    def _announced(self, start: int) -> int | None:
        """The whole length as the bytes so far tell; None if too few; 0 if it cannot be our response."""
        buffer, function = self._buffer, self._function
        there = len(buffer) - start
        if function in _FIXED:
            return _FIXED[function]
        if function == _DIAGNOSTICS:
            return len(self._request)
        if function in _COUNTED:
            if there < 3:
                return None
            length = buffer[start + 2] + 5
            return length if self._wanted in (0, length) else 0
        if function == _FIFO:
            return int.from_bytes(buffer[start + 2 : start + 4], "big") + 6 if there >= 4 else None
        return self._announced_identification(start)

    def _announced_identification(self, start: int) -> int | None:
        """Device Identification (43/14): unit, 43, 14, code, level, more, next, count, (id, length, bytes)*, CRC."""
        buffer = self._buffer
        position = start + 8
        if len(buffer) < position:
            return None
        if buffer[start + 2] != _MEI_IDENTIFICATION:
            return 0
        for _ in range(buffer[start + 7]):
            if len(buffer) < position + 2:
                return None
            position += 2 + buffer[position + 1]
            if position - start > MAX_FRAME_BYTES:
                return 0
        return position - start + 2


def _wanted_length(request: bytes) -> int:
    """Bytes of the response as the request determines them; 0 when it does not."""
    if len(request) < 8:
        return 0
    quantity = int.from_bytes(request[4:6], "big")
    if request[1] in (0x01, 0x02):
        return 5 + (quantity + 7) // 8
    if request[1] in (0x03, 0x04, 0x17):
        return 5 + 2 * quantity
    return 0
