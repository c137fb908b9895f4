"""An APP on engine lxc beside one on oci: the agent as a process, deployed with the local key."""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.client import Agent
from gateway.host import pids
from tests.site.enrolment import enrol
from tests.site.gateway import ROOT, Gateway
from tests.site.images import push_busybox
from tests.site.processes import wait_until
from tests.site.registry import Registry

PROFILE = ROOT / "firmware_profiles" / "developer-x86_64.toml"
SCRIPT = "echo begun; exec /bin/busybox sleep 1000"


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    """A gateway whose profile has both engines; oci is the default one."""
    directory = Path(tempfile.mkdtemp(prefix="fg-", dir="/run"))
    profile = directory / "profile.toml"
    profile.write_text('engines = ["oci", "lxc"]\n' + PROFILE.read_text())
    gateway = Gateway(directory, profile)
    enrol(gateway.paths, "gw-test")
    try:
        with gateway:
            yield gateway
    finally:
        shutil.rmtree(directory)


def service(image: str, **changes: Any) -> dict[str, Any]:
    return {
        "image": image, "command": ["sh", "-c", SCRIPT], "restart": "always", "stop_grace_period": "1s",
        "read_only": True, "volumes": ["data:/data"], "deploy": {"resources": {"limits": {"memory": "32M"}}},
        "healthcheck": {
            "test": ["CMD", "/bin/busybox", "test", "-S", "/run/esdk/esdk.sock"], "interval": "1s", "retries": 3,
        },
        **changes,
    }  # fmt: skip


def services(gateway: Gateway) -> dict[str, dict[str, Any]]:
    reports = Agent(gateway.paths.admin_socket).call("GET", "/v1/apps")
    return {entry["name"]: {"pid": 0, **entry} for report in reports for entry in report["services"]}


def both_healthy(gateway: Gateway) -> bool:
    return [entry["phase"] for entry in services(gateway).values()] == ["healthy", "healthy"]


def test_an_app_on_lxc_beside_one_on_oci(gateway: Gateway, tmp_path: Path) -> None:
    with Registry(tmp_path) as registry:
        image = push_busybox(registry, tmp_path)
        on_lxc = service(image, **{"x-esdk": {"engine": "lxc"}})
        document = {"name": "two", "services": {"a": service(image), "b": on_lxc}, "volumes": {"data": {}}}
        (tmp_path / "compose.json").write_text(json.dumps(document))
        gateway.cli("deploy", str(tmp_path / "compose.json"))
        wait_until(lambda: both_healthy(gateway), "both services healthy", 40)

    before = services(gateway)
    first = before["b"]["pid"]
    assert Path(f"/proc/{first}/comm").read_text() == "busybox\n"
    assert f"{gateway.paths.engine_lxc}/containers" in Path(f"/proc/{_parent(first)}/cmdline").read_text()

    os.kill(first, signal.SIGKILL)
    wait_until(lambda: services(gateway)["b"]["pid"] not in (0, first) and both_healthy(gateway), "it runs again", 20)
    assert services(gateway)["a"]["pid"] == before["a"]["pid"]

    # The agent dies at once; the APP does not notice, and the next agent leaves it alone.
    second = services(gateway)["b"]
    process = pids.identify(second["pid"])
    gateway.kill()
    assert process.alive()
    gateway.start()
    wait_until(lambda: both_healthy(gateway), "both found again", 20)
    assert services(gateway)["b"]["container"] == second["container"]
    assert process.alive()

    # Without an agent, too, everything goes, whichever engine runs it.
    gateway.kill()
    gateway.down()
    assert not process.alive()
    assert not list(gateway.paths.engine_lxc.glob("containers/*"))
    gateway.start()


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
