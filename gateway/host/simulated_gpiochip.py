"""A GPIO chip without hardware: the client that stands in for `/dev/gpiochipN`, and its small protocol.

The chip itself is a process of its own (`python -m gateway.host.simulated_gpiochip SOCKET --lines N`, written in
`simulated_gpiochip_server.py`), so that its lines keep their levels when the agent dies, as real ones do. It remembers
when which line changed. Used by tests, the demo and developers' profiles; never on a gateway.

Protocol: one JSON object a line over a Unix stream socket, one answer each: `{"ok": value}` or `{"error": ...}`.
    python -m gateway.host.simulated_gpiochip SOCKET --drive OFFSET=LEVEL      set the level of an input from outside
    python -m gateway.host.simulated_gpiochip SOCKET --history                 print all changes as JSON
"""

from __future__ import annotations

import argparse
import contextlib
import json
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gateway.errors import InvalidInput, Unavailable, from_json

TIMEOUT_S: Final = 0.5
"""A chip that does not answer by then counts as gone; a line is switched in some 50 us."""
MAX_ANSWER_BYTES: Final = 4 << 20


@dataclass(frozen=True, slots=True)
class LevelChange:
    """The wire level of a line changed; times are the chip's."""

    offset: int
    level: int
    monotonic_ns: int
    """CLOCK_MONOTONIC, comparable between processes of one machine."""
    time_ns: int
    """Unix time."""
    by: str
    """`client` or `drive`."""


class _Connection:
    """One request at a time over the socket; Unavailable once it failed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._socket.settimeout(TIMEOUT_S)
        try:
            self._socket.connect(str(path))
        except OSError as failure:
            self._socket.close()
            raise Unavailable(f"cannot open simulated gpiochip {path}: {failure.strerror or failure}") from failure

    def call(self, **request: Any) -> Any:
        try:
            self._socket.sendall(json.dumps(request).encode() + b"\n")
            answer = self._receive()
        except (OSError, ValueError) as failure:
            self._socket.close()  # an answer that comes later must not meet the next request
            raise Unavailable(f"cannot use simulated gpiochip {self._path}: {failure}") from failure
        if "error" in answer:
            raise from_json(answer["error"])
        return answer["ok"]

    def _receive(self) -> dict[str, Any]:
        data = bytearray()
        while not data.endswith(b"\n"):
            chunk = self._socket.recv(65536)
            if not chunk or len(data) > MAX_ANSWER_BYTES:
                raise ConnectionError("it hung up")
            data += chunk
        answer: dict[str, Any] = json.loads(data)
        return answer

    def close(self) -> None:
        """Returns when the chip has given the lines back, as close(2) of a real one does."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
            while self._socket.recv(65536):
                pass
        self._socket.close()


class SimulatedGpioChip:
    """`GpioChip` (see `gpiochip.py`) of the process behind `path`. Polarity is turned here, the chip knows levels."""

    def __init__(self, path: Path) -> None:
        self._connection = _Connection(path)
        self._active_low: dict[int, bool] = {}
        self._outputs: set[int] = set()

    def request_output(self, offset: int, value: int, *, keep: bool, active_low: bool) -> int:
        level = _checked(value) ^ active_low
        level = self._connection.call(op="request", offset=offset, output=True, level=level, keep=keep)
        self._active_low[offset] = active_low
        self._outputs.add(offset)
        return int(level) ^ active_low

    def request_input(self, offset: int, *, active_low: bool) -> int:
        level = self._connection.call(op="request", offset=offset, output=False, level=0, keep=False)
        self._active_low[offset] = active_low
        self._outputs.discard(offset)
        return int(level) ^ active_low

    def get(self, offset: int) -> int:
        return int(self._connection.call(op="get", offset=offset)) ^ self._active_low[offset]

    def set(self, offset: int, value: int) -> None:
        level = _checked(value) ^ self._active_low.get(offset, False)
        self._connection.call(op="set", offset=offset, level=level)

    def close(self) -> None:
        self._connection.close()


def drive(path: Path, offset: int, level: int) -> None:
    """Set the level of an input, as the wire would. Conflict if the line is an output."""
    connection = _Connection(path)
    try:
        connection.call(op="drive", offset=offset, level=_checked(level))
    finally:
        connection.close()


def history(path: Path) -> list[LevelChange]:
    """The last changes of all lines, oldest first."""
    connection = _Connection(path)
    try:
        return [LevelChange(**change) for change in connection.call(op="history")]
    finally:
        connection.close()


def levels(path: Path) -> list[int]:
    """The level of every line now."""
    connection = _Connection(path)
    try:
        return [int(level) for level in connection.call(op="levels")]
    finally:
        connection.close()


def _checked(value: int) -> int:
    if value not in (0, 1):
        raise InvalidInput(f"cannot set a line to {value!r}: expected 0 or 1")
    return value


def main(arguments: list[str]) -> int:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(prog="simulated_gpiochip", description="A GPIO chip without hardware.")
    parser.add_argument("socket", type=Path)
    parser.add_argument("--lines", type=int, default=8, help="how many lines the chip has")
    parser.add_argument("--drive", metavar="OFFSET=LEVEL", help="set the level of an input of the running chip")
    parser.add_argument("--history", action="store_true", help="print the changes of the running chip")
    options = parser.parse_args(arguments)
    if options.drive:
        offset, _, level = options.drive.partition("=")
        drive(options.socket, int(offset), int(level))
        return 0
    if options.history:
        for change in history(options.socket):
            sys.stdout.write(json.dumps({name: getattr(change, name) for name in LevelChange.__slots__}) + "\n")
        return 0
    from gateway.host.simulated_gpiochip_server import serve

    serve(options.socket, options.lines)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
