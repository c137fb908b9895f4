"""The wires at the arm64 guest's GPIO chip (a PL061), seen and driven from outside while it runs.

The guest asks over a serial channel, one JSON object per line; QEMU's qtest protocol does what it asks on the chip's
pins: `{"drive": [offset, level]}` and `{"level": offset}`, each answered with `{"level": n}` or `{"error": text}`.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from gateway.errors import InvalidInput, Unavailable
from tests.site.processes import wait_until

CHANNEL: Final = "fieldgate.wires"
LINES: Final = 8
START_S: Final = 20.0
ANSWER_S: Final = 10.0
MAX_LINE: Final = 65_536
_ALL_PINS: Final = 0x0903_03FC
"""Data register of the `virt` board's PL061, all lines unmasked (hw/arm/virt.c; ARM DDI 0190, 3.3.1)."""


class Wires:
    """In its context, which begins when QEMU was started, the guest's requests are answered."""

    def __init__(self, directory: Path) -> None:
        self._sockets = {name: directory / f"{name}.sock" for name in ("monitor", "pins", "wires")}
        self._connections: dict[str, _Lines] = {}
        self._thread = threading.Thread(target=self._serve, name="arm64-wires", daemon=True)
        self._chip = ""

    def options(self) -> list[str]:
        """What QEMU must be told."""
        path = self._sockets
        return [
            "-chardev", f"socket,id=wires,path={path['wires']},server=on,wait=off",
            "-qmp", f"unix:{path['monitor']},server=on,wait=off",
            "-qtest", f"unix:{path['pins']},server=on,wait=off", "-qtest-log", "none",
        ]  # fmt: skip

    def __enter__(self) -> Wires:
        try:
            # Asking whether it accepts would take its only connection: a socket that is there does.
            for name, path in self._sockets.items():
                wait_until(path.exists, f"QEMU's {name}", START_S)
                self._connections[name] = _Lines(path)
            self._chip = self._find_chip()
        except BaseException:
            self._close()
            raise
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()
        self._thread.join()

    def _close(self) -> None:
        for connection in self._connections.values():
            connection.close()

    def _find_chip(self) -> str:
        """Where the PL061 is in QEMU's tree of objects."""
        monitor = self._connections["monitor"]
        monitor.receive()  # its greeting
        self._command("qmp_capabilities")
        for child in self._command("qom-list", path="/machine/unattached"):
            if child["type"] == "child<pl061>":
                return f"/machine/unattached/{child['name']}"
        raise Unavailable("cannot find the PL061 of QEMU's virt board")

    def _command(self, name: str, **arguments: str) -> Any:
        monitor = self._connections["monitor"]
        monitor.send(json.dumps({"execute": name, "arguments": arguments}))
        while "return" not in (answer := json.loads(monitor.receive())):
            if "error" in answer:
                raise Unavailable(f"cannot {name}: {answer['error']}")
        return answer["return"]

    def _serve(self) -> None:
        channel = self._connections["wires"]
        channel.wait_for_ever()
        with contextlib.suppress(Unavailable):  # the guest is off
            while True:
                request = channel.receive()
                try:
                    answer: dict[str, Any] = {"level": self._answer(json.loads(request))}
                except (InvalidInput, ValueError, TypeError, LookupError) as failure:
                    answer = {"error": f"cannot do {request}: {failure}"}
                channel.send(json.dumps(answer))

    def _answer(self, request: dict[str, Any]) -> int:
        offset, level = request["drive"] if "drive" in request else (request["level"], None)
        if offset not in range(LINES) or level not in (None, 0, 1):
            raise InvalidInput("no such line or level")
        if level is not None:
            self._pins(f"set_irq_in {self._chip} unnamed-gpio-in {offset} {level}")
        return int(self._pins(f"readb {_ALL_PINS:#x}"), 16) >> int(offset) & 1

    def _pins(self, command: str) -> str:
        pins = self._connections["pins"]
        pins.send(command)
        status, _, value = pins.receive().partition(" ")
        if status != "OK":
            raise InvalidInput(f"{command}: {status} {value}")
        return value


class _Lines:
    """A connection on which each message is a line."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(ANSWER_S)
        self._socket.connect(str(path))
        self._rest = b""

    def wait_for_ever(self) -> None:
        self._socket.settimeout(None)

    def send(self, line: str) -> None:
        """Unavailable when the other side has gone."""
        try:
            self._socket.sendall(line.encode() + b"\n")
        except OSError as failure:
            raise Unavailable(f"cannot ask QEMU: {failure}") from failure

    def receive(self) -> str:
        """Unavailable when the other side has gone."""
        while b"\n" not in self._rest:
            try:
                chunk = self._socket.recv(MAX_LINE)
            except OSError as failure:
                raise Unavailable(f"cannot hear QEMU: {failure}") from failure
            if not chunk or len(self._rest) > MAX_LINE:
                raise Unavailable("cannot hear QEMU: it ended")
            self._rest += chunk
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode(errors="replace").strip()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
