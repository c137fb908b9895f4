"""The control line on real parts: the agent as a process, a registry, crun or runc; deployed with the local key."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.client import Agent
from gateway.documents.desired import encode_desired, sign_desired
from gateway.errors import Conflict, Corrupted, InvalidInput, NotPermitted, ToolFailed
from gateway.host import pids
from tests.site.enrolment import Enrolled, enrol
from tests.site.gateway import ROOT, Gateway
from tests.site.images import push_busybox
from tests.site.processes import wait_until
from tests.site.registry import Registry

PROFILE = ROOT / "firmware_profiles" / "developer-x86_64.toml"


@pytest.fixture(scope="module")
def busybox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A pinned reference in a running registry."""
    directory = tmp_path_factory.mktemp("registry")
    with Registry(directory) as registry:
        yield push_busybox(registry, directory)


@pytest.fixture
def site() -> Iterator[tuple[Gateway, Enrolled]]:
    directory = Path(tempfile.mkdtemp(prefix="fg-", dir="/run"))
    gateway = Gateway(directory, PROFILE)
    enrolled = enrol(gateway.paths, "gw-test")
    try:
        with gateway:
            yield gateway, enrolled
    finally:
        shutil.rmtree(directory)


def compose(image: str, script: str, health: str = "true", name: str = "hello") -> dict[str, Any]:
    return {
        "name": name,
        "services": {
            "main": {
                "image": image,
                "command": ["sh", "-c", script],
                "restart": "always",
                "stop_grace_period": "1s",
                "read_only": True,
                "healthcheck": {
                    "test": ["CMD", "/bin/busybox", "sh", "-c", health], "interval": "1s", "retries": 2,
                },
                "deploy": {"resources": {"limits": {"memory": "32M", "pids": 16}}},
            }
        },
    }  # fmt: skip


def deploy(gateway: Gateway, directory: Path, document: dict[str, Any]) -> Any:
    file = directory / "compose.json"
    file.write_text(json.dumps(document))
    return gateway.cli("deploy", str(file))


def service(gateway: Gateway, name: str = "hello") -> dict[str, Any]:
    for report in Agent(gateway.paths.admin_socket).call("GET", "/v1/apps"):
        if report["app"] == name:
            return {"pid": 0, "container": "", **report, **report["services"][0]}
    return {"phase": "absent", "rollout": "", "pid": 0}


def is_done(gateway: Gateway, name: str = "hello") -> bool:
    state = service(gateway, name)
    return bool(state["phase"] == "healthy" and state["rollout"] == "done")


def test_deploy_crash_kill_update_roll_back_remove(
    site: tuple[Gateway, Enrolled], busybox: str, tmp_path: Path
) -> None:
    gateway, _ = site
    one = compose(busybox, "echo one; exec /bin/busybox sleep 1000")
    assert deploy(gateway, tmp_path, one)["decision"] == "accept"
    wait_until(lambda: is_done(gateway), "the APP healthy", 30)
    assert [line["text"] for line in _logs(gateway)] == ["one"]

    first = service(gateway)["pid"]
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: service(gateway)["pid"] not in (0, first) and is_done(gateway), "the APP again", 10)

    # The agent dies at once; the APP does not notice, and the next agent leaves it alone.
    second = service(gateway)
    process = pids.identify(second["pid"])
    gateway.kill()
    assert process.alive()
    gateway.start()
    wait_until(lambda: is_done(gateway), "the APP found again", 10)
    assert service(gateway)["container"] == second["container"]
    assert process.alive()

    deploy(gateway, tmp_path, compose(busybox, "echo two; exec /bin/busybox sleep 1000"))
    wait_until(lambda: is_done(gateway) and not process.alive(), "the second version", 30)

    deploy(gateway, tmp_path, compose(busybox, "exec /bin/busybox sleep 1000", health="false"))
    wait_until(lambda: service(gateway)["rollout"] == "rolled_back", "the roll-back", 30)
    wait_until(lambda: service(gateway)["phase"] == "healthy", "the last good version", 30)
    assert [line["text"] for line in _logs(gateway)] == ["two"]

    gateway.cli("deploy", "--remove", "hello")
    wait_until(lambda: gateway.cli("apps") == [], "the APP removed", 30)


def test_what_is_refused_changes_nothing(site: tuple[Gateway, Enrolled], busybox: str, tmp_path: Path) -> None:
    gateway, enrolled = site
    deploy(gateway, tmp_path, compose(busybox, "exec /bin/busybox sleep 1000"))
    wait_until(lambda: is_done(gateway), "the APP healthy", 30)
    before = service(gateway)["container"]

    bad_key = compose(busybox, "true")
    bad_key["services"]["main"]["privileged"] = True
    with pytest.raises(ToolFailed, match=r"services\.main\.privileged"):
        deploy(gateway, tmp_path, bad_key)

    def put(envelope: bytes, authority: str = "cloud") -> None:
        Agent(gateway.paths.admin_socket).call("PUT", f"/v1/desired/{authority}", envelope)

    def signed(**changes: Any) -> bytes:
        fields: dict[str, Any] = {
            "gateway": enrolled.gateway, "incarnation": enrolled.incarnation, "authority": "cloud", "revision": 5,
            "apps": {"other": compose(busybox, "exec /bin/busybox sleep 1000", name="other")}, **changes,
        }  # fmt: skip
        return sign_desired(encode_desired(**fields), [enrolled.signer])

    with pytest.raises(InvalidInput, match="is for gateway gw-elsewhere"):
        put(signed(gateway="gw-elsewhere"))
    with pytest.raises((NotPermitted, Corrupted)):
        put(re.sub(rb'"sig":"....', b'"sig":"AAAA', signed()))
    with pytest.raises(NotPermitted):
        put(signed(authority="contractor"), "contractor")
    put(signed())
    with pytest.raises(Conflict, match="revision 5"):
        put(signed(revision=4))
    with pytest.raises(Conflict, match="local"):
        put(signed(revision=6, apps={"hello": compose(busybox, "true")}))
    wait_until(lambda: is_done(gateway, "other"), "the cloud's APP", 30)
    assert service(gateway)["container"] == before


def test_apps_deployed_here_one_after_the_other_removed_and_purged(
    site: tuple[Gateway, Enrolled], busybox: str, tmp_path: Path
) -> None:
    gateway, _ = site
    kept = gateway.paths.volumes / "one" / "data"

    def with_volume(name: str) -> dict[str, Any]:
        document = compose(busybox, "trap exit TERM; while :; do /bin/busybox sleep 0.1; done", name=name)
        document["services"]["main"] |= {"volumes": ["data:/data"], "healthcheck": {"disable": True}}
        return {**document, "volumes": {"data": {}}}

    deploy(gateway, tmp_path, with_volume("one"))
    # As if the command had been killed after the agent's answer: the agent has accepted, the command never heard of it.
    file = gateway.paths.state / "local" / "apps.json"
    document = json.loads(file.read_bytes())
    document["content"]["before"] = {}
    file.write_text(json.dumps(document))
    deploy(gateway, tmp_path, with_volume("two"))
    wait_until(lambda: service(gateway, "one")["pid"] and service(gateway, "two")["pid"], "both APPs", 30)
    assert gateway.cli("status")["revisions"] == {"local": 2}

    gateway.cli("deploy", "--remove", "one")
    wait_until(lambda: service(gateway, "one")["phase"] == "absent", "the first APP removed", 30)
    assert kept.is_dir(), "volumes stay"
    assert gateway.cli("deploy", "--remove", "one", "--purge") == {"app": "one", "purged": True}
    assert not kept.parent.exists()
    with pytest.raises(ToolFailed, match="no volumes"):
        gateway.cli("deploy", "--remove", "one", "--purge")

    assert (gateway.paths.volumes / "two" / "data").is_dir()
    answer = gateway.cli("deploy", "--remove", "two", "--purge")  # still running: it is ended first
    assert (answer["removed"], answer["purged"]) == (True, True)
    assert list(gateway.paths.volumes.iterdir()) == []
    assert gateway.cli("apps") == []


def test_the_running_agent_is_lean(site: tuple[Gateway, Enrolled]) -> None:
    gateway, _ = site
    maps = Path(f"/proc/{gateway.pid}/maps").read_text()
    for package in ("pydantic", "_rust.abi3", "cryptography", "yaml/_yaml"):
        assert package not in maps


def _logs(gateway: Gateway) -> list[dict[str, Any]]:
    done = subprocess.run(
        [*gateway.command("logs"), "hello", "--json"], capture_output=True, text=True, timeout=30, check=True
    )
    return [json.loads(line) for line in done.stdout.splitlines()]
