"""The moment at which a container's process executes: it writes a byte into a named pipe that is mounted into it."""

from __future__ import annotations

import os
import select
import time
from pathlib import Path

from gateway.errors import TimedOut

SCRIPT = "echo x > /signal/pipe; exec /bin/busybox sleep 1000"
SAID = b"x\n"


class SignalPipe:
    """`directory` is to be mounted at /signal; the container runs SCRIPT."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        os.mkfifo(directory / "pipe", 0o666)
        # Both ends held here, so that the writer never waits and the reader never sees an end.
        self._descriptor = os.open(directory / "pipe", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)

    def wait(self, timeout_s: float = 20.0) -> float:
        """The monotonic time at which the process was seen to run; TimedOut."""
        if not select.select([self._descriptor], [], [], timeout_s)[0]:
            raise TimedOut(f"cannot see the container's process run: not after {timeout_s:g} s")
        now = time.perf_counter()
        os.read(self._descriptor, 4096)
        return now

    def wait_for(self, processes: int, timeout_s: float = 60.0) -> float:
        """As `wait`, for so many processes: each writes two bytes."""
        expected, now = processes * len(SAID), 0.0
        while expected > 0:
            if not select.select([self._descriptor], [], [], timeout_s)[0]:
                raise TimedOut(
                    f"cannot see all processes run: {expected // len(SAID)} are missing after {timeout_s:g} s"
                )
            now = time.perf_counter()
            expected -= len(os.read(self._descriptor, expected))
        return now

    def close(self) -> None:
        os.close(self._descriptor)
