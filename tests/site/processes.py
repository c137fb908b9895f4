"""Processes of a test site: started in their own group, waited for with a bound, ended by pid.

Used by every part in `tests/site/`. Knows nothing of what it starts.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from gateway.errors import TimedOut, Unavailable


def free_port() -> int:
    """A TCP port of the loopback that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(condition: Callable[[], bool], what: str, timeout_s: float = 15.0, pause_s: float = 0.02) -> float:
    """Poll until `condition()` holds and return the seconds that it took; TimedOut says what never came."""
    started = time.monotonic()
    while not condition():
        if time.monotonic() - started > timeout_s:
            raise TimedOut(f"cannot see {what}: not after {timeout_s:g} s")
        time.sleep(pause_s)
    return time.monotonic() - started


def accepts_tcp(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=0.5):
        return True
    return False


def accepts_unix(path: Path) -> bool:
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
        probe.connect(str(path))
        return True
    return False


def pss_mb(pid: int) -> float:
    """Proportional set size of one process, in MB of 10^6 bytes."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise Unavailable(f"cannot read the memory of process {pid}")


class Daemon:
    """One long-running program with its output in a log file."""

    def __init__(self, argv: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> None:
        self.argv = list(argv)
        self.log = log
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """0 when it does not run."""
        return self._process.pid if self._process is not None and self._process.poll() is None else 0

    def start(self, ready: Callable[[], bool], timeout_s: float = 15.0) -> None:
        """Start it and wait until `ready()`; Unavailable with the end of its log when it dies before."""
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,
            )

        def up() -> bool:
            if not self.pid:
                raise Unavailable(f"cannot start {self.argv[0]}: it ended\n{self.tail()}")
            return ready()

        try:
            wait_until(up, f"{Path(self.argv[0]).name} ready", timeout_s)
        except BaseException:
            self.stop(grace_s=1.0)
            raise

    def stop(self, grace_s: float = 5.0) -> None:
        """SIGTERM, then SIGKILL; returns when it is gone. Fine if it is not running."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(grace_s)
            except subprocess.TimeoutExpired:
                self.kill()
        self._process = None

    def kill(self) -> None:
        """SIGKILL, to it alone: what it started must survive or not by its own design."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def tail(self, lines: int = 15) -> str:
        """The end of its log."""
        with contextlib.suppress(OSError):
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        return ""
