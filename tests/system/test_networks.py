"""The APPs' networks with the whole agent: deployed, killed, repaired, removed; in network namespaces of the test."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import ToolFailed
from tests.site.enrolment import enrol
from tests.site.gateway import ROOT, Gateway
from tests.site.images import push_busybox
from tests.site.networks import GATEWAY, Site, ask, ip
from tests.site.processes import wait_until
from tests.site.registry import Registry

PROFILE = ROOT / "firmware_profiles" / "developer-x86_64.toml"


@pytest.fixture
def net() -> Iterator[Site]:
    with Site() as site:
        yield site


@pytest.fixture
def image(net: Site, tmp_path: Path) -> Iterator[str]:
    with Registry(tmp_path) as registry:
        yield push_busybox(registry, tmp_path)


@pytest.fixture
def gateway(net: Site) -> Iterator[Gateway]:
    directory = Path(tempfile.mkdtemp(prefix="fg-", dir="/run"))
    gateway = Gateway(directory, PROFILE)
    enrol(gateway.paths, "gw-test")
    try:
        with gateway:
            yield gateway
    finally:
        shutil.rmtree(directory)


def nc(image: str, port: int, text: str, **keys: Any) -> dict[str, Any]:
    command = ["nc", "-ll", "-p", str(port), "-e", "/bin/busybox", "echo", text]
    return {"image": image, "command": command, "restart": "always", "stop_signal": "KILL", **keys}


def deploy(gateway: Gateway, directory: Path, name: str, **services: dict[str, Any]) -> None:
    file = directory / "compose.json"
    file.write_text(json.dumps({"name": name, "services": services}))
    gateway.cli("deploy", str(file))


def heard(gateway: Gateway, app: str, host: str, port: int) -> str:
    namespace = next(gateway.paths.network.glob(f"{app}.*/netns"))
    script = f"echo | busybox nc -w 2 {host} {port}"
    argv = ["nsenter", f"--net={namespace}", "sh", "-c", script]
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout.strip()


def own_interfaces() -> list[str]:
    return [line for line in ip("-br", "link").splitlines() if line.startswith("fg")]


def ruleset() -> str:
    return subprocess.run(["nft", "list", "ruleset"], check=True, capture_output=True, text=True).stdout


def test_deployed_killed_repaired_removed(gateway: Gateway, net: Site, image: str, tmp_path: Path) -> None:
    def hears() -> list[str]:
        with net.from_peer():
            return [ask(address, 8080) for address in GATEWAY]

    deploy(gateway, tmp_path, "web", one=nc(image, 80, "hello", ports=["8080:80"]), two=nc(image, 81, "two"))
    wait_until(lambda: hears() == ["hello", "hello"], "the published port", 30)
    for service, other in (("one", "two"), ("two", "one")):
        hosts = gateway.paths.network / f"web.{service}" / "hosts"
        wait_until(lambda file=hosts: file.exists(), "both services", 10)  # type: ignore[misc]
        assert f" {other}\n" in hosts.read_text()

    gateway.kill()
    assert hears() == ["hello", "hello"]
    subprocess.run(["nft", "flush", "ruleset"], check=True)
    assert hears() == ["", ""]
    gateway.start()
    wait_until(lambda: hears() == ["hello", "hello"], "the rules again", 10)
    subprocess.run(["nft", "flush", "ruleset"], check=True)
    wait_until(lambda: hears() == ["hello", "hello"], "the rules once more", 15)

    clash = {"name": "thief", "services": {"main": nc(image, 80, "stolen", ports=["8080:80"])}}
    (tmp_path / "thief.json").write_text(json.dumps(clash))
    with pytest.raises(ToolFailed, match="8080/tcp is published by"):
        gateway.cli("deploy", str(tmp_path / "thief.json"))

    gateway.cli("deploy", "--remove", "web")
    wait_until(lambda: own_interfaces() == [], "the links gone", 20)
    wait_until(lambda: not list(gateway.paths.network.glob("web.*")), "and their files", 5)
    gateway.down()
    assert ruleset() == ""
    assert Path("/proc/sys/net/ipv4/ip_forward").read_text() == "0\n"
