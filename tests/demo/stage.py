"""The stage of the demo: which parts stand on it, where their files lie, and how it is cleared, whatever happened.

Every part is a real one of `tests/site/`. Knows no story: see `story.py`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from gateway.cli.client import Agent
from gateway.documents.envelope import PrivateKey
from gateway.engines.monitored import groups
from gateway.host import cgroup
from tests.site.broker import Broker
from tests.site.cloud import Cloud
from tests.site.field import GpioBoard, Meter
from tests.site.gateway import ROOT, Gateway
from tests.site.mqtt_client import MqttClient
from tests.site.registry import Registry

GATEWAY: Final = "gw-demo"
OTHER: Final = "gw-other"
PROFILE: Final = ROOT / "firmware_profiles" / "developer-x86_64.toml"
MANIFEST: Final = ROOT / "apps" / "meter_reader" / "compose.yaml"
CACHE: Final = ROOT / "build" / "cache"
DO1: Final = 1
"""Offset of DO1 on the simulated chip, as in the profile."""


class Stage:
    """A context; parts are started by the steps and handed to `enter()`, which ends them in reverse order."""

    cloud: Cloud
    broker: Broker
    registry: Registry
    meter: Meter
    board: GpioBoard
    gateway: Gateway
    observer: MqttClient
    contractor: PrivateKey

    def __init__(self) -> None:
        # Short, since the path of a Unix socket has room for 107 bytes.
        self.directory = Path(tempfile.mkdtemp(prefix="fg-demo-", dir="/run" if os.access("/run", os.W_OK) else None))
        self.image = ""
        """Of the APP, by its tag."""
        self._parts = ExitStack()

    def enter(self, part: Any) -> Any:
        """Start a part; it is ended when the stage is cleared."""
        return self._parts.enter_context(part)

    @property
    def agent(self) -> Agent:
        """The agent's admin socket."""
        return Agent(self.gateway.paths.admin_socket)

    def report(self, app: str = "meter-reader") -> dict[str, Any]:
        """The APP's report with the fields of its only service; empty phase when there is none."""
        for report in self.agent.call("GET", "/v1/apps"):
            if report["app"] == app:
                return {"pid": 0, "container": "", "reason": "", **report, **report["services"][0]}
        return {"phase": "", "rollout": "", "pid": 0, "container": ""}

    def status(self) -> dict[str, Any]:
        answer: dict[str, Any] = self.agent.call("GET", "/v1/status")
        return answer

    def leftovers(self) -> list[str]:
        """What is still running or mounted, in words."""
        where = str(self.directory)
        left = [f"mount {line.split()[1]}" for line in Path("/proc/mounts").read_text().splitlines() if where in line]
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and where.encode() in (entry / "cmdline").read_bytes():
                    left.append(f"process {entry.name}")
        # A process in a container does not know where its bundle lies, but its cgroup tells whose it is.
        for group in groups(self.directory / "run" / "engine"):
            left += [f"cgroup {path}" for path in Path("/sys/fs/cgroup").glob(f"*/{group}")]
            left += [f"process {pid}" for pid in sorted(cgroup.processes(group))]
        return left

    def __enter__(self) -> Stage:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A second Ctrl-C must not leave half of it standing.
        before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            self._parts.close()
        finally:
            if not self.leftovers():
                shutil.rmtree(self.directory, ignore_errors=True)
            for number, handler in before.items():
                signal.signal(number, handler)
