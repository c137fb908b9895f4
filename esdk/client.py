"""`Gateway`: everything an APP can ask of the gateway, as methods."""

from __future__ import annotations

import os
from typing import Any, Dict, List
from urllib.parse import quote

from esdk.modbus import READ_HOLDING, READ_INPUT, parse_registers, read_request
from esdk.tags import Tags
from esdk.transport import Connection

SOCKET = "/run/esdk/esdk.sock"


class Gateway:
    """The gateway that this APP runs on.

    `path`: the socket (default: ESDK_SOCKET or /run/esdk/esdk.sock). `timeout_s` bounds every wait for the agent.
    """

    def __init__(self, path: str = "", timeout_s: float = 35.0) -> None:
        self._connection = Connection(path or os.environ.get("ESDK_SOCKET", SOCKET), timeout_s)
        self.tags = Tags(self._connection)

    def app(self) -> Dict[str, Any]:
        """Who am I: `app`, `service`, `generation`, `version`, `settings`, `grant`."""
        answer: Dict[str, Any] = self._connection.call("GET", "/v1/app")
        return answer

    def settings(self) -> Dict[str, str]:
        """The APP's own settings (`x-esdk.settings` of the manifest)."""
        settings: Dict[str, str] = self.app()["settings"]
        return settings

    def system(self) -> Dict[str, Any]:
        """The board and its state, as far as `x-esdk.system` grants it."""
        answer: Dict[str, Any] = self._connection.call("GET", "/v1/system")
        return answer

    def serial(self, port: str) -> "SerialPort":
        """A serial port by the name printed on the case. Nothing is opened here: the gateway owns the port."""
        return SerialPort(self._connection, port)

    def gpio(self, line: str) -> "Line":
        """A digital line by the name printed on the case."""
        return Line(self._connection, line)

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> "Gateway":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class SerialPort:
    """Transactions on a bus that several APPs share: the gateway gives each its turn."""

    def __init__(self, connection: Connection, port: str) -> None:
        self._connection = connection
        self._target = "/v1/serial/{}/transact".format(quote(port, safe=""))

    def transact(
        self, request: bytes, framing: str = "modbus-rtu", timeout_s: float = 1.0, length: int = 0, gap_ms: float = 0.0
    ) -> bytes:
        """Send `request`, return the device's answer.

        `framing` says how its end is known: `modbus-rtu`, `length` (that many bytes) or `gap` (that much silence).
        TimedOut: no answer. Unavailable: the port is away. NotPermitted, NotFound, InvalidInput.
        """
        body: Dict[str, Any] = {"data": request.hex(), "framing": {"kind": framing}, "timeout_ms": timeout_s * 1000}
        if framing == "length":
            body["framing"]["length"] = length
        if framing == "gap":
            body["framing"]["gap_ms"] = gap_ms
        return bytes.fromhex(self._connection.call("POST", self._target, body)["data"])

    def read_registers(self, unit: int, address: int, count: int, timeout_s: float = 1.0) -> List[int]:
        """Modbus RTU function 3: `count` holding registers (16 bit each) from `address` of device `unit`.

        BadAnswer: the device refused, or its answer makes no sense; else as `transact`.
        """
        return self._read(READ_HOLDING, unit, address, count, timeout_s)

    def read_input_registers(self, unit: int, address: int, count: int, timeout_s: float = 1.0) -> List[int]:
        """Modbus RTU function 4: the same of input registers."""
        return self._read(READ_INPUT, unit, address, count, timeout_s)

    def _read(self, function: int, unit: int, address: int, count: int, timeout_s: float) -> List[int]:
        answer = self.transact(read_request(function, unit, address, count), timeout_s=timeout_s)
        return parse_registers(function, answer, unit, count)


class Line:
    """A digital input or output."""

    def __init__(self, connection: Connection, line: str) -> None:
        self._connection = connection
        self._target = "/v1/gpio/{}".format(quote(line, safe=""))

    def read(self) -> int:
        """0 or 1."""
        return int(self.state()["value"])

    def state(self) -> Dict[str, Any]:
        """`line`, `value`, `decided_by` (`safe`, `rule` or `app`), `since_ns`, `available`."""
        answer: Dict[str, Any] = self._connection.call("GET", self._target)
        return answer

    def set(self, value: int) -> Dict[str, Any]:
        """Ask for 0 or 1; the state afterwards, since a rule or the safe state may overrule it."""
        answer: Dict[str, Any] = self._connection.call("PUT", self._target, {"value": int(value)})
        return answer
