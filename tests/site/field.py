"""The field of a test site: an energy meter on an RS-485 line (pymodbus on a pty), a board of digital lines.

Both are processes of their own: they go on when the agent is killed, as the real ones do.
"""

from __future__ import annotations

import contextlib
import json
import selectors
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Final

from gateway.errors import TimedOut, Unavailable
from gateway.host import simulated_gpiochip
from gateway.host.simulated_gpiochip import LevelChange
from tests.site.processes import Daemon, accepts_unix, wait_until

ROOT: Final = Path(__file__).resolve().parents[2]
ANSWER_S: Final = 10.0


class Meter:
    """A meter at unit 1; its serial line appears as the link `device` while it runs."""

    def __init__(self, directory: Path, device: Path) -> None:
        self.device = device
        self._log = directory / "meter.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        return self._process.pid if self._process is not None else 0

    def start(self, **readings: float) -> None:
        """Returns when it answers; 230 V, 4 A and 1000 W unless told otherwise."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.site.meter_process", str(self.device)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, cwd=ROOT, start_new_session=True,
            )  # fmt: skip
        try:
            self.set(**{"voltage": 230.0, "current": 4.35, "power": 1000.0, "energy": 12.5, "total": 12.5, **readings})
        except BaseException:
            self.stop()
            raise

    def set(self, **readings: float) -> None:
        """New readings (`voltage` V, `current` A, `power` W, `energy` and `total` kWh); in force when this returns."""
        if self._process is None or self._process.stdin is None or self._process.stdout is None:
            raise Unavailable("cannot set the meter: it does not run")
        line = json.dumps(readings).encode() + b"\n"
        self._process.stdin.write(line)
        self._process.stdin.flush()
        if self._answer() != line:
            raise Unavailable(f"cannot set the meter: it ended\n{self._log.read_text()[-2000:]}")

    def stop(self) -> None:
        """Pull the plug. Fine if it is not running."""
        process, self._process = self._process, None
        if process is not None:
            for stream in (process.stdin, process.stdout):
                with contextlib.suppress(OSError):
                    if stream is not None:
                        stream.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(3)
            process.kill()
            process.wait()
        self.device.unlink(missing_ok=True)

    def _answer(self) -> bytes:
        assert self._process is not None
        assert self._process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            if not selector.select(ANSWER_S):
                raise TimedOut(f"cannot set the meter: no answer in {ANSWER_S:g} s\n{self._log.read_text()[-2000:]}")
            return self._process.stdout.readline()

    def __enter__(self) -> Meter:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class GpioBoard:
    """A simulated gpiochip behind `socket`."""

    def __init__(self, directory: Path, socket: Path, lines: int = 8) -> None:
        self.socket = socket
        argv = [sys.executable, "-m", "gateway.host.simulated_gpiochip", str(socket), "--lines", str(lines)]
        self._daemon = Daemon(argv, directory / "gpiochip.log")

    @property
    def pid(self) -> int:
        return self._daemon.pid

    def start(self) -> None:
        self.socket.parent.mkdir(parents=True, exist_ok=True)
        self._daemon.start(lambda: accepts_unix(self.socket))

    def stop(self) -> None:
        self._daemon.stop()

    def level(self, offset: int) -> int:
        return simulated_gpiochip.levels(self.socket)[offset]

    def drive(self, offset: int, level: int) -> None:
        """Set an input, as the wire would."""
        simulated_gpiochip.drive(self.socket, offset, level)

    def history(self, offset: int) -> list[LevelChange]:
        """Changes of one line, oldest first."""
        return [change for change in simulated_gpiochip.history(self.socket) if change.offset == offset]

    def wait_for(self, offset: int, level: int, timeout_s: float = 15.0) -> float:
        """Seconds until the line had that level; TimedOut."""
        return wait_until(lambda: self.level(offset) == level, f"line {offset} at {level}", timeout_s)

    def __enter__(self) -> GpioBoard:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
