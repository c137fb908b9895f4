"""The gateway of a test site: the agent as a process of its own, and the `fieldgate` CLI against it."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

from gateway.errors import ToolFailed
from gateway.paths import Paths
from tests.site.processes import Daemon, accepts_unix

ROOT = Path(__file__).resolve().parents[2]


def _own_range(directory: Path) -> str:
    """Agents that share a machine must not share addresses."""
    one, two = hashlib.sha256(str(directory).encode()).digest()[:2]
    return f'\n[network]\nipv4 = "10.{100 + one % 100}.{two}.0/24"\nipv6 = "fd00:{one:x}:{two:x}::/64"\n'


class Gateway:
    """`fieldgate run` on its own state and run directories below `directory`.

    `stop()` leaves its APPs running, as on a real gateway; leaving the context tears everything down.
    """

    def __init__(self, directory: Path, profile: Path) -> None:
        self.paths = Paths(directory / "state", directory / "run")
        self.paths.prepare()
        self.profile = directory / profile.name
        self.profile.write_text(profile.read_text() + _own_range(directory))
        self.log = directory / "agent.log"
        options = ["--state", str(self.paths.state), "--run", str(self.paths.run)]
        self._options = options
        self._daemon = Daemon([*self.command("run"), "--profile", str(self.profile)], self.log)

    def command(self, name: str) -> list[str]:
        """How `fieldgate NAME` is started for this gateway."""
        return [sys.executable, "-m", "gateway.cli.main", name, *self._options]

    @property
    def pid(self) -> int:
        return self._daemon.pid

    def start(self, timeout_s: float = 30.0) -> None:
        """Returns when the admin socket answers."""
        self._daemon.start(lambda: accepts_unix(self.paths.admin_socket), timeout_s)

    def stop(self) -> None:
        self._daemon.stop(grace_s=15.0)

    def kill(self) -> None:
        self._daemon.kill()

    def tail(self, lines: int = 25) -> str:
        return self._daemon.tail(lines)

    def cli(self, name: str, *arguments: str, timeout_s: float = 60.0) -> Any:
        """Run `fieldgate NAME ... --json` and return what it printed; ToolFailed when it exits non-zero."""
        argv = [*self.command(name), *arguments, "--json"]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout_s, check=False)
        if done.returncode != 0:
            raise ToolFailed(argv, done.returncode, done.stderr or done.stdout)
        return json.loads(done.stdout) if done.stdout.strip() else None

    def down(self) -> None:
        """Everything ends: agent, APPs, mounts; also when the agent is dead already. ToolFailed."""
        argv = [*self.command("down"), "--profile", str(self.profile)]
        try:
            done = subprocess.run(argv, capture_output=True, text=True, timeout=90, check=False)
        finally:
            self._daemon.stop()
        if done.returncode != 0:
            raise ToolFailed(argv, done.returncode, done.stderr)

    def __enter__(self) -> Gateway:
        try:
            self.start()
        except BaseException:  # it may have come half-way: mounts and a pinned namespace would stay
            self.down()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down()
