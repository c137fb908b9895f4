"""The process behind a simulated GPIO chip: levels, who uses which line, and a history of changes.

Single-threaded, driven by a selector. A line belongs to the connection that requested it until that closes; levels and
directions stay. Started by `python -m gateway.host.simulated_gpiochip`; spoken to by `SimulatedGpioChip`.
"""

from __future__ import annotations

import collections
import contextlib
import json
import selectors
import signal
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from gateway.errors import Conflict, FieldgateError, InvalidInput, NotFound

MAX_HISTORY: Final = 10_000
MAX_REQUEST_BYTES: Final = 4096


@dataclass(slots=True)
class _Line:
    level: int = 0
    output: bool = False
    user: object | None = None


@dataclass(slots=True)
class SimulatedLines:
    """The chip without its socket. A `user` is whoever is at the other end; levels are 0 or 1."""

    lines: list[_Line]
    changes: collections.deque[dict[str, Any]] = field(default_factory=lambda: collections.deque(maxlen=MAX_HISTORY))

    def handle(self, user: object, request: dict[str, Any]) -> Any:
        """Carry out one request; FieldgateError with the words of a kernel."""
        operation = request.get("op")
        if operation == "history":
            return list(self.changes)
        if operation == "levels":
            return [line.level for line in self.lines]
        offset, level = request.get("offset"), request.get("level", 0)
        if not isinstance(offset, int) or not 0 <= offset < len(self.lines):
            raise NotFound(f"cannot use line {offset}: the chip has {len(self.lines)} lines")
        if level not in (0, 1):
            raise InvalidInput(f"cannot set line {offset} to {level!r}: expected 0 or 1")
        line = self.lines[offset]
        if operation == "drive":
            if line.output:
                raise Conflict(f"cannot drive line {offset}: it is an output")
            self._change(offset, line, level, "drive")
            return level
        if operation == "request":
            return self._request(user, offset, line, request, level)
        if line.user is not user:
            raise InvalidInput(f"cannot use line {offset}: it was not requested")
        if operation == "get":
            return line.level
        if operation != "set":
            raise InvalidInput(f"cannot do {operation!r}: unknown operation")
        if not line.output:
            raise InvalidInput(f"cannot set line {offset}: it is an input")
        self._change(offset, line, level, "client")
        return level

    def release(self, user: object) -> None:
        for line in self.lines:
            if line.user is user:
                line.user = None

    def _request(self, user: object, offset: int, line: _Line, request: dict[str, Any], level: int) -> int:
        if line.user not in (None, user):
            raise Conflict(f"cannot request line {offset}: device or resource busy")
        keep = bool(request.get("keep")) and line.output
        line.user, line.output = user, bool(request.get("output"))
        if line.output and not keep:
            self._change(offset, line, level, "client")
        return line.level

    def _change(self, offset: int, line: _Line, level: int, by: str) -> None:
        if line.level != level:
            line.level = level
            now = {"monotonic_ns": time.monotonic_ns(), "time_ns": time.time_ns()}
            self.changes.append({"offset": offset, "level": level, "by": by, **now})


class _Peer:
    """One connection: bytes in, whole lines out."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._pending = bytearray()

    def serve(self, chip: SimulatedLines) -> bool:
        """Answer what has arrived; False when the peer has gone or talks nonsense."""
        try:
            data = self.connection.recv(65536)
            self._pending += data
            while b"\n" in self._pending:
                line, _, rest = self._pending.partition(b"\n")
                self._pending = bytearray(rest)
                self.connection.sendall(json.dumps(_answer(chip, self, bytes(line))).encode() + b"\n")
        except OSError:
            return False
        return bool(data) and len(self._pending) <= MAX_REQUEST_BYTES


def _answer(chip: SimulatedLines, peer: _Peer, line: bytes) -> dict[str, Any]:
    try:
        request = json.loads(line)
        if not isinstance(request, dict):
            raise InvalidInput("cannot read the request: expected an object")
        return {"ok": chip.handle(peer, request)}
    except FieldgateError as refused:
        return {"error": refused.to_json()}
    except (ValueError, RecursionError) as failure:
        return {"error": InvalidInput(f"cannot read the request: {failure}").to_json()}


def serve(path: Path, lines: int) -> None:
    """Serve a chip of `lines` inputs at level 0 until SIGTERM or SIGINT; the socket file is removed at the end."""
    chip = SimulatedLines([_Line() for _ in range(lines)])
    stop, stopped = socket.socketpair()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    stopped.setblocking(False)
    signal.set_wakeup_fd(stopped.fileno())
    path.unlink(missing_ok=True)
    with selectors.DefaultSelector() as selector, socket.socket(socket.AF_UNIX) as listener, stop, stopped:
        listener.bind(str(path))
        listener.listen()
        selector.register(listener, selectors.EVENT_READ)
        selector.register(stop, selectors.EVENT_READ)
        try:
            _loop(selector, listener, stop, chip)
        finally:
            signal.set_wakeup_fd(-1)
            with contextlib.suppress(OSError):
                path.unlink()


def _loop(selector: selectors.BaseSelector, listener: socket.socket, stop: socket.socket, chip: SimulatedLines) -> None:
    while True:
        for key, _ in selector.select():
            if key.fileobj is stop:
                return
            if key.fileobj is listener:
                connection, _ = listener.accept()
                connection.settimeout(1.0)
                selector.register(connection, selectors.EVENT_READ, _Peer(connection))
            elif not key.data.serve(chip):
                selector.unregister(key.fileobj)
                chip.release(key.data)
                key.data.connection.close()
