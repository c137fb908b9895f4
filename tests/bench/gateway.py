"""A whole gateway for figures of the agent: real agent process, real registry, APPs that tell when they run."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

from gateway.cli.client import Agent
from tests.bench.signal_pipe import SCRIPT, SignalPipe
from tests.site.enrolment import enrol
from tests.site.gateway import ROOT, Gateway
from tests.site.processes import wait_until

PACKAGING = ROOT / "packaging"
PROFILE = ROOT / "firmware_profiles" / "developer-x86_64.toml"


class BenchGateway:
    """A context. `pipe` tells when a container's process runs."""

    def __init__(self) -> None:
        sys.path.insert(0, str(PACKAGING))  # for imagebuild, as pytest has it
        from tests.site.registry import Registry

        self.directory = Path(tempfile.mkdtemp(prefix="fg-", dir="/run"))
        signals = self.directory / "signal"
        signals.mkdir()
        self.pipe = SignalPipe(signals)
        profile = self.directory / "bench.toml"
        # The developer's board, but the local key may mount the directory of the pipe.
        profile.write_text(PROFILE.read_text().replace("[authorities.local]", '[authorities.local]\nbinds = ["*"]'))
        self.gateway = Gateway(self.directory, profile)
        self.registry = Registry(self.directory)
        self.agent = Agent(self.gateway.paths.admin_socket)
        self._image = ""

    def prepare(self, broker_port: int = 8883) -> None:
        """Everything but the agent."""
        from tests.site.images import push_busybox

        enrol(self.gateway.paths, "gw-bench", broker_port)
        self.registry.start()
        self._image = push_busybox(self.registry, self.directory)

    def deploy(self, name: str, *, standby: bool = False) -> float:
        """Deploy an APP and wait until it runs: when it was seen to."""
        file = self.directory / "compose.json"
        file.write_text(json.dumps(self._manifest(name, standby)))
        self.gateway.cli("deploy", str(file))
        seen = self.pipe.wait(30)
        wait_until(lambda: self.pid(name) > 0, f"{name} in the reports", 10)
        return seen

    def deploy_all(self, names: list[str]) -> None:
        """All of them by one desired state; returns when all run."""
        from gateway.documents.desired import encode_desired, sign_desired
        from gateway.documents.envelope import PrivateKey

        self.deploy("first")  # which also makes the local key
        self.remove("first")
        status = self.agent.call("GET", "/v1/status")
        documents = {name: self._manifest(name) for name in names}
        revision = status["revisions"]["local"] + 1
        payload = encode_desired(status["gateway"], status["incarnation"], "local", revision, documents)
        key = PrivateKey.from_pem((self.gateway.paths.identity / "local.key").read_bytes())
        self.agent.call("PUT", "/v1/desired/local", sign_desired(payload, [key]))
        self.pipe.wait_for(len(names))
        wait_until(lambda: all(self.pids().get(name) for name in names), "all in the reports", 20)

    def _manifest(self, name: str, standby: bool = False) -> dict[str, Any]:
        service: dict[str, Any] = {
            "image": self._image,
            "command": ["sh", "-c", SCRIPT],
            "restart": "always",
            "stop_grace_period": "1s",
            "network_mode": "none",
            "volumes": [f"{self.pipe.directory}:/signal"],
            "deploy": {"resources": {"limits": {"memory": "32M", "pids": 16}}},
            "x-esdk": {"standby": standby},
        }
        return {"name": name, "services": {"main": service}}

    def pids(self) -> dict[str, int]:
        """APP -> its process, 0 while there is none."""
        return {r["app"]: int(r["services"][0].get("pid", 0)) for r in self.agent.call("GET", "/v1/apps")}

    def pid(self, name: str) -> int:
        return self.pids().get(name, 0)

    def report(self, name: str) -> dict[str, Any]:
        """Of the APP's service; empty while there is none."""
        for report in self.agent.call("GET", "/v1/apps"):
            if report["app"] == name:
                return dict(report["services"][0])
        return {}

    def remove(self, name: str) -> None:
        self.gateway.cli("deploy", "--remove", name)
        wait_until(lambda: all(r["app"] != name for r in self.agent.call("GET", "/v1/apps")), f"{name} removed", 30)

    def __enter__(self) -> BenchGateway:
        self.prepare()
        self.gateway.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.gateway.down()
        self.registry.stop()
        self.pipe.close()
        shutil.rmtree(self.directory, ignore_errors=True)
