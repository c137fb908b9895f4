"""Two APPs from packages in one running container, with the real agent: neither the other nor the host notices."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from imagebuild.package import build_package, write_archive

from gateway.cli.client import Agent
from gateway.documents import manifest, package
from gateway.documents.desired import encode_desired, sign_desired
from tests import leaks
from tests.site.enrolment import Enrolled, enrol
from tests.site.gateway import ROOT, Gateway
from tests.site.images import push_busybox
from tests.site.processes import wait_until
from tests.site.registry import Registry

SAMPLE = ROOT / "apps" / "shared_box"
PROFILE = ROOT / "firmware_profiles" / "developer-x86_64.toml"


@dataclass
class Box:
    """A gateway, and what the cloud wants on it."""

    gateway: Gateway
    enrolled: Enrolled
    registry: Registry
    busybox: str
    directory: Path
    wanted: dict[str, dict[str, Any]] = field(default_factory=dict)
    revision: int = 0

    def deploy(self) -> None:
        self.revision += 1
        gateway, incarnation = self.enrolled.gateway, self.enrolled.incarnation
        payload = encode_desired(gateway, incarnation, "cloud", self.revision, self.wanted)
        envelope = sign_desired(payload, [self.enrolled.signer])
        Agent(self.gateway.paths.admin_socket).call("PUT", "/v1/desired/cloud", envelope)

    def deploy_host(self, guests: list[str]) -> None:
        document = manifest.load((SAMPLE / "compose.yaml").read_bytes())
        service = document["services"]["runtime"]
        health = {"test": ["CMD", "/bin/busybox", "true"], "interval": "1s"}
        service |= {"network_mode": "none", "healthcheck": health, "x-esdk": {"guests": guests}}
        self.wanted["shared-box"] = manifest.pin(document, {service["image"]: self.busybox})
        self.deploy()

    def build_package(self, name: str, edit: dict[str, str] | None = None) -> Path:
        """The layout. `edit`: text of `app.toml` or of the programs -> other text."""
        source, layout = self.directory / "package", self.directory / "layout"
        shutil.rmtree(source, ignore_errors=True)
        shutil.copytree(SAMPLE / name, source)
        for file in (source / "app.toml", *(source / "bin").iterdir()):
            text = file.read_text()
            for old, new in (edit or {}).items():
                text = text.replace(old, new)
            file.write_text(text)
        return build_package(source, layout, zstd=True).layout

    def deploy_package(self, name: str, edit: dict[str, str] | None = None) -> None:
        """By the cloud: pushed to the registry, and what `app.toml` says signed as a manifest."""
        layout = self.build_package(name, edit)
        image = self.registry.push(layout, f"packages/{name}:1")
        document = package.expand((self.directory / "package" / "app.toml").read_bytes(), image)
        self.wanted[document["name"]] = manifest.pin(document, {})
        self.deploy()

    def deploy_archive(self, name: str) -> None:
        """By hand on the gateway, without a registry."""
        archive = self.directory / f"{name}.tar"
        write_archive(self.build_package(name), archive)
        self.gateway.cli("deploy", str(archive))

    def remove(self, name: str) -> None:
        del self.wanted[name]
        self.deploy()

    def app(self, name: str) -> dict[str, Any]:
        """Its report, with the keys of its one service."""
        for report in Agent(self.gateway.paths.admin_socket).call("GET", "/v1/apps"):
            if report["app"] == name:
                (service,) = report["services"] or [{"phase": "removing"}]
                return {"pid": 0, "reason": "", "restarts": 0, **report, **service}
        return {"pid": 0, "phase": "absent", "rollout": "", "reason": "", "version": ""}

    def pid(self, name: str) -> int:
        return int(self.app(name)["pid"])

    def settled(self, *names: str) -> dict[str, int]:
        """Wait until all run and are done; their pids."""
        for name in names:
            wait_until(lambda name=name: self._is_done(name), f"{name} done: {self.app(name)}", 40)
        return {name: self.pid(name) for name in names}

    def _is_done(self, name: str) -> bool:
        app = self.app(name)
        return app["phase"] in ("running", "healthy") and app["rollout"] == "done"

    def logs(self, name: str) -> list[str]:
        done = subprocess.run(
            [*self.gateway.command("logs"), name, "--json"], capture_output=True, text=True, check=True
        )
        return [json.loads(line)["text"] for line in done.stdout.splitlines()]


@pytest.fixture
def box() -> Iterator[Box]:
    directory = Path(tempfile.mkdtemp(prefix="fg-", dir="/run"))
    try:
        with Registry(directory) as registry:
            gateway = Gateway(directory, PROFILE)
            enrolled = enrol(gateway.paths, "gw-test")
            busybox = push_busybox(registry, directory)
            with gateway:
                yield Box(gateway, enrolled, registry, busybox, directory)
    finally:
        shutil.rmtree(directory)


def who(pid: int) -> dict[str, Any]:
    """What the eSDK answers on the socket that this process sees."""
    connection = http.client.HTTPConnection("esdk", timeout=5)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(5)
    try:
        connection.sock.connect(f"/proc/{pid}/root/run/esdk/esdk.sock")
        connection.request("GET", "/v1/app")
        answer: dict[str, Any] = json.loads(connection.getresponse().read())
        return answer
    finally:
        connection.close()


def uid(pid: int) -> int:
    return Path(f"/proc/{pid}").stat().st_uid


def all_are_new(box: Box, pids: dict[str, int]) -> bool:
    leaks.processes()  # waits for orphans, as init does: the host cannot end before what the killed agent ran in it
    return all(box.pid(name) not in (0, pid) for name, pid in pids.items())


def test_packages_live_in_one_container_and_do_not_notice_each_other(box: Box) -> None:
    box.deploy_archive("heartbeat")
    wait_until(lambda: "no APP shared-box is deployed" in box.app("heartbeat")["reason"], "the wait for its host", 20)
    box.deploy_host(["census"])
    wait_until(lambda: "[local/heartbeat] there would allow it" in box.app("heartbeat")["reason"], "the refusal", 20)
    box.deploy_host(["local/heartbeat", "census", "hungry"])
    box.deploy_package("census")
    pids = box.settled("shared-box", "heartbeat", "census")

    # What is shared, and what is each one's own.
    (host, heart, census) = pids.values()
    for kind in ("pid", "net", "ipc", "uts"):
        assert len({os.readlink(f"/proc/{pid}/ns/{kind}") for pid in pids.values()}) == 1
    assert [who(pid)["app"] for pid in pids.values()] == ["shared-box", "heartbeat", "census"]
    assert len({uid(host), uid(heart), uid(census)}) == 3
    assert uid(host) == 0
    seen = "\n".join(box.logs("census"))
    assert "bin/beat" in seen
    assert "bin/census" in seen
    assert box.logs("heartbeat") == ["beat from /opt/apps/heartbeat/main, after 0"]
    assert box.gateway.cli("stats", "heartbeat")[0]["memory_limit_bytes"] == 16 << 20

    # Memory of one is nobody else's fault.
    box.deploy_package("census", {
        'name = "census"': 'name = "hungry"', "[services.main]": '[services.main]\nrestart = "no"',
        "trap 'exit 0' TERM": "exec /bin/busybox dd if=/dev/zero of=/dev/null bs=100M",
    })  # fmt: skip
    wait_until(lambda: "out of its memory limit" in box.app("hungry")["reason"], "the kernel's verdict", 30)
    assert box.settled("shared-box", "heartbeat", "census") == pids
    box.remove("hungry")

    # A crash, an upgrade and a version that is bad concern one of them.
    os.kill(heart, signal.SIGKILL)
    wait_until(lambda: box.pid("heartbeat") not in (0, heart), "heartbeat again", 20)
    box.deploy_package("census", {'version = "1.0.0"': 'version = "1.1.0"', 'EVERY_S = "5"': 'EVERY_S = "2"'})
    wait_until(lambda: box.app("census")["version"] == "1.1.0", "the upgrade", 20)
    second = box.settled("shared-box", "heartbeat", "census")
    assert (second["shared-box"], box.app("heartbeat")["restarts"]) == (host, 1)
    assert second["census"] != census
    box.deploy_package("census", {'version = "1.0.0"': 'version = "1.2.0"', "trap": "exit 7; trap"})
    wait_until(lambda: box.app("census")["rollout"] == "rolled_back", "the roll-back", 30)
    wait_until(lambda: box.pid("census") > 0, "the good version again", 20)
    assert box.app("census")["version"] == "1.1.0"
    third = {"census": box.pid("census"), "heartbeat": second["heartbeat"], "shared-box": host}

    # The agent dies at once: all go on, all are found again, each under its own name.
    box.gateway.kill()
    box.gateway.start()
    wait_until(lambda: {name: box.pid(name) for name in third} == third, "all found again", 20)
    assert [who(pid)["app"] for pid in third.values()] == list(third)

    # The host ends: all come back with it, and that is no failure of theirs.
    os.kill(host, signal.SIGKILL)
    wait_until(lambda: all_are_new(box, third), "all back", 30)
    assert (box.app("shared-box")["restarts"], box.app("heartbeat")["restarts"]) == (1, 0)
    assert box.logs("heartbeat")[-1] != "beat from /opt/apps/heartbeat/main, after 0", "its volume is still its own"
    last = {name: box.pid(name) for name in third}

    # Removal of one, then of the host.
    box.remove("census")
    wait_until(lambda: box.app("census")["phase"] == "absent", "census gone", 20)
    assert {name: box.pid(name) for name in ("heartbeat", "shared-box")} == {
        name: last[name] for name in ("heartbeat", "shared-box")
    }
    box.remove("shared-box")
    wait_until(lambda: "no APP shared-box is deployed" in box.app("heartbeat")["reason"], "the wait for a host", 20)
