"""The register map of an Eastron SDM120 (and its sisters): input registers, 32-bit floats, high word first.

Asks and decodes; knows nothing of tags, schedules or settings.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import List

from esdk import EsdkError
from esdk.client import SerialPort

LIVE_FROM, LIVE_COUNT = 0x0000, 14
"""One request brings voltage, current and power: they are of the same moment."""
VOLTAGE, CURRENT, POWER = 0x0000, 0x0006, 0x000C
IMPORT_ENERGY = 0x0048


@dataclass(frozen=True)
class Live:
    """What changes from second to second."""

    voltage: float
    current: float
    power: float


class Meter:
    """The meter `unit` on a bus. Every call may raise EsdkError; its text says why there is no value."""

    def __init__(self, port: SerialPort, unit: int, timeout_s: float = 0.5) -> None:
        self._port = port
        self._unit = unit
        self._timeout_s = timeout_s

    def live(self) -> Live:
        """Volts, amperes, watts."""
        registers = self._port.read_input_registers(self._unit, LIVE_FROM, LIVE_COUNT, self._timeout_s)
        return Live(float_at(registers, VOLTAGE), float_at(registers, CURRENT), float_at(registers, POWER))

    def energy(self) -> float:
        """Kilowatt hours imported since the meter was made."""
        return float_at(self._port.read_input_registers(self._unit, IMPORT_ENERGY, 2, self._timeout_s), 0)


def float_at(registers: List[int], index: int) -> float:
    """The number in two registers. EsdkError when the meter shows none (NaN: not measured yet)."""
    (number,) = struct.unpack(">f", struct.pack(">HH", registers[index], registers[index + 1]))
    if not math.isfinite(number):
        raise EsdkError("the meter has no value in register {:#06x}".format(index))
    return float(number)
