"""Operating a gateway from its own command line, on real parts: why, exec, shell, stats, roll back, pin."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.client import Agent
from tests.site.enrolment import enrol
from tests.site.gateway import ROOT, Gateway
from tests.site.images import push_busybox
from tests.site.processes import free_port, wait_until
from tests.site.registry import Registry

PROFILE = ROOT / "firmware_profiles" / "developer-x86_64.toml"


@dataclass
class Site:
    directory: Path
    gateway: Gateway
    image: str

    def deploy(self, script: str, version: str, name: str = "hello", **service: Any) -> None:
        main = {
            "image": self.image, "command": ["sh", "-c", script], "restart": "always", "stop_grace_period": "1s",
            "environment": {"VERSION": version}, "tmpfs": ["/tmp:size=1M"],
            "healthcheck": {"test": ["CMD", "/bin/busybox", "true"], "interval": "1s"}, **service,
        }  # fmt: skip
        file = self.directory / f"{name}.json"
        file.write_text(json.dumps({"name": name, "x-esdk-version": version, "services": {"main": main}}))
        self.gateway.cli("deploy", str(file))

    def report(self, name: str = "hello") -> dict[str, Any]:
        reports = Agent(self.gateway.paths.admin_socket).call("GET", "/v1/apps")
        found: dict[str, Any] = next((report for report in reports if report["app"] == name), {"rollout": "absent"})
        return found

    def runs(self, version: str, rollout: str = "done") -> bool:
        report = self.report()
        ready = rollout == report["rollout"] and report["version"] == version
        return ready and report["services"][0]["phase"] in ("healthy", "running")

    def said(self, *command: str) -> tuple[int, str]:
        """Exit status and what a person reads."""
        argv = [*self.gateway.command(command[0]), *command[1:]]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stdout + done.stderr


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    directory = Path(tempfile.mkdtemp(prefix="fg-", dir="/run"))
    gateway = Gateway(directory, PROFILE)
    enrol(gateway.paths, "gw-test", free_port())
    try:
        with Registry(tmp_path) as registry, gateway:
            yield Site(tmp_path, gateway, push_busybox(registry, tmp_path))
    finally:
        shutil.rmtree(directory)


def test_why_roll_back_and_pin(site: Site) -> None:
    assert site.said("why", "hello")[0] == 66
    sleeps = "exec /bin/busybox sleep 1000"
    site.deploy(sleeps, "1")
    wait_until(lambda: site.runs("1"), "version 1", 30)
    status, said = site.said("why", "hello")
    assert status == 0
    assert said.startswith("hello: version 1 healthy since ")

    # A second APP whose image cannot be had: the root is the link, which this site has never had.
    nowhere = f"127.0.0.1:{free_port()}/test/nothing:1@sha256:{'0' * 64}"
    site.deploy(sleeps, "1", "lost", image=nowhere)

    def blames_the_link() -> bool:
        _, said = site.said("why", "lost")
        return said.startswith("lost: waiting for 127.0.0.1:") and "; link to the broker down: cannot reach" in said

    wait_until(blames_the_link, "the chain down to the link", 20)

    # A third one that ends by itself: what it said last is shown.
    site.deploy("echo cannot find the meter; exit 3", "1", "broken")
    wait_until(lambda: "| cannot find the meter" in site.said("why", "broken")[1], "its last words", 20)
    explained = json.loads(site.said("why", "broken", "--json")[1])
    (cause,) = next(chain for chain in explained["chains"] if chain[0]["kind"] == "ended")
    assert cause["text"].startswith("main ended with exit code 3")

    site.deploy(sleeps, "2")
    wait_until(lambda: site.runs("2"), "version 2", 30)
    assert site.gateway.cli("rollback", "hello") == {"app": "hello", "order": "rollback", "version": "1"}
    wait_until(lambda: site.runs("1", "rolled_back"), "version 1 again")
    assert "; rolled back by the operator" in site.said("why", "hello")[1]
    assert site.said("pin", "hello") == (0, "hello: version 1 stays\n")
    site.deploy(sleeps, "3")
    wait_until(lambda: site.runs("1", "pinned"), "version 3 waiting")
    site.gateway.kill()
    site.gateway.start()
    wait_until(lambda: site.runs("1", "pinned"), "the pin after a restart of the agent")
    assert "version 1 is pinned by the operator; version 3 waits" in site.said("why", "hello")[1]
    assert site.said("pin", "hello", "--off") == (0, "hello: version 3 is to run\n")
    wait_until(lambda: site.runs("3"), "version 3", 30)
