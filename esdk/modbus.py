"""Modbus RTU, the part that most meters need: read holding and input registers (Modbus over serial
line 1.02, Modbus 1.1b3)."""

from __future__ import annotations

import struct
from typing import List

from esdk.errors import BadAnswer, InvalidInput

_EXCEPTIONS = {
    1: "illegal function",
    2: "illegal data address",
    3: "illegal data value",
    4: "device failure",
    6: "busy",
}


def crc16(frame: bytes) -> int:
    """CRC-16/MODBUS; on the wire its low byte comes first."""
    crc = 0xFFFF
    for byte in frame:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ 0xA001 if crc & 1 else crc >> 1
    return crc


READ_HOLDING = 3
READ_INPUT = 4


def read_request(function: int, unit: int, address: int, count: int) -> bytes:
    """The frame that asks for `count` registers from `address`; `function` is READ_HOLDING or READ_INPUT."""
    if not (1 <= unit <= 247 and address >= 0 and 1 <= count <= 125 and address + count <= 0x10000):
        raise InvalidInput("cannot read {} registers from {} of device {}".format(count, address, unit))
    frame = struct.pack(">BBHH", unit, function, address, count)
    return frame + struct.pack("<H", crc16(frame))


def parse_registers(function: int, frame: bytes, unit: int, count: int) -> List[int]:
    """The registers in an answer. BadAnswer says what is wrong with it."""
    if len(frame) < 5 or struct.unpack("<H", frame[-2:])[0] != crc16(frame[:-2]):
        raise BadAnswer("cannot read the device's answer: its checksum is wrong")
    if frame[0] != unit:
        raise BadAnswer("cannot read the device's answer: it is from device {}".format(frame[0]))
    if frame[1] == function | 0x80:
        raise BadAnswer("the device refused: {}".format(_EXCEPTIONS.get(frame[2], "exception {}".format(frame[2]))))
    if frame[1] != function or frame[2] != 2 * count or len(frame) != 5 + 2 * count:
        raise BadAnswer("cannot read the device's answer: it does not fit the request")
    return list(struct.unpack(">{}H".format(count), frame[3:-2]))
