"""Operations from the cloud: real broker, cloud, agent and container; asked, signed, done once, answered, recorded."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gateway.documents.certificates import make_authority
from gateway.errors import Conflict, NotPermitted, from_json
from gateway.model.operations import request_id
from tests.site.broker import INTRUDER, Broker
from tests.site.cloud import Cloud
from tests.site.gateway import ROOT, Gateway
from tests.site.images import push_busybox
from tests.site.mqtt_client import MqttClient
from tests.site.processes import wait_until
from tests.site.registry import Registry

GATEWAY = "gw-test"
BASE = f"fieldgate/v1/{GATEWAY}"
OPERATIONS = '["why", "stats", "logs", "exec", "restart", "rollback", "pin"]'


@dataclass
class Site:
    directory: Path
    broker: Broker
    cloud: Cloud
    gateway: Gateway
    image: str

    def deploy(self, version: str) -> tuple[int, dict[str, Any], str]:
        health = {"test": ["CMD", "/bin/busybox", "true"], "interval": "1s"}
        main = {
            "image": self.image, "command": ["sh", "-c", f"echo version {version}; exec /bin/busybox sleep 1000"],
            "restart": "always", "stop_grace_period": "1s", "healthcheck": health,
        }  # fmt: skip
        file = self.directory / "compose.json"
        file.write_text(json.dumps({"name": "hello", "x-esdk-version": version, "services": {"main": main}}))
        return self.cloud.deploy(GATEWAY, file, wait_s=60.0)

    def said(self, name: str, *arguments: str) -> tuple[int, str, str]:
        done = subprocess.run(
            [*self.cloud.command(name), GATEWAY, *arguments], capture_output=True, text=True, timeout=60, check=False
        )
        return done.returncode, done.stdout, done.stderr


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    directory = Path(tempfile.mkdtemp(prefix="fg-", dir="/run"))
    profile = directory / "board.toml"
    text = (ROOT / "firmware_profiles" / "developer-x86_64.toml").read_text()
    assert f"operations = {OPERATIONS}" in text
    profile.write_text(text)
    try:
        with (
            Registry(tmp_path) as registry,
            Broker(tmp_path, make_authority("Site CA")) as broker,
            Cloud(tmp_path, broker) as cloud,
        ):
            gateway = Gateway(directory, profile)
            cloud.enroll(GATEWAY, gateway.paths.identity)
            with gateway:
                yield Site(tmp_path, broker, cloud, gateway, push_busybox(registry, tmp_path))
    finally:
        shutil.rmtree(directory)


def test_asked_done_once_answered_and_recorded(site: Site) -> None:
    assert site.deploy("1")[0] == 0
    topics = (f"{BASE}/request/+", f"{BASE}/response/+")
    with MqttClient(site.broker, site.broker.login(INTRUDER), *topics) as intruder:
        status, said, _ = site.said(
            "exec", "hello", "--", "/bin/busybox", "sh", "-c", "echo inside; echo x >> /count; exit 7"
        )
        assert (status, said) == (7, "inside\n")
        # Somebody who has the broker sends what he saw once more: he gets an answer, and nothing is done again.
        (envelope,) = intruder.received(f"{BASE}/request/exec")
        (answer,) = intruder.received(f"{BASE}/response/exec")
        wait_until(lambda: bool(intruder.received(f"{BASE}/request/confirm")), "the cloud's confirmation")
        intruder.publish(f"{BASE}/request/exec", envelope)
        wait_until(lambda: len(intruder.received(f"{BASE}/response/exec")) == 2, "the refusal of the replay")
        refusal = json.loads(intruder.received(f"{BASE}/response/exec")[1])
        assert refusal["request"] == json.loads(answer)["request"] == request_id(envelope)
        assert isinstance(from_json(refusal["error"]), Conflict)
        assert "it ended: done, exit code 7" in refusal["error"]["message"]
        # As another operation, as noise, and after a restart of the agent: refused by what comes back.
        intruder.publish(f"{BASE}/request/restart", envelope)
        intruder.publish(f"{BASE}/request/restart", b"noise")
        wait_until(lambda: len(intruder.received(f"{BASE}/response/restart")) == 2, "two refusals")
        codes = [json.loads(message)["error"]["code"] for message in intruder.received(f"{BASE}/response/restart")]
        assert codes == ["invalid_input", "invalid_input"]
        site.gateway.kill()
        site.gateway.start()
        wait_until(lambda: bool((site.cloud.gateway(GATEWAY)["status"] or {}).get("online")), "the gateway online")
        seen = len(intruder.received(f"{BASE}/response/exec"))

        def replayed() -> bool:
            intruder.publish(f"{BASE}/request/exec", envelope)
            return len(intruder.received(f"{BASE}/response/exec")) > seen

        wait_until(replayed, "the refusal by the next agent", pause_s=0.5)
        assert "exit code 7" in json.loads(intruder.received(f"{BASE}/response/exec")[-1])["error"]["message"]
    assert site.said("exec", "hello", "--", "/bin/busybox", "cat", "/count")[:2] == (0, "x\n"), "it was done once"

    status, _, error = site.said("exec", "hello", "--timeout", "0.5", "--", "/bin/busybox", "sleep", "987")
    assert status == 75
    assert "no end after 0.5 s" in error
    why = site.cloud.cli("why", GATEWAY, "hello")
    assert (why["well"], why["chains"][0][0]["text"]) == (True, "version 1 healthy")
    (figures,) = site.cloud.cli("stats", GATEWAY)
    assert (figures["app"], figures["pids"]) == ("hello", 1)
    assert [line["text"] for line in site.cloud.cli("logs", GATEWAY, "hello")["lines"]] == ["version 1"]

    # Rolled back and pinned from the cloud; what is deployed then waits, and says so.
    assert site.deploy("2")[0] == 0
    assert site.cloud.cli("rollback", GATEWAY, "hello")["version"] == "1"
    wait_until(lambda: _runs(site, "1", "rolled_back"), "version 1 again")
    assert site.cloud.cli("pin", GATEWAY, "hello")["version"] == "1"
    status, made, _ = site.deploy("3")
    assert (status, made["result"]) == (1, "pinned")
    assert "pinned by authority cloud" in made["reason"]
    assert site.cloud.cli("pin", GATEWAY, "hello", "--off")["version"] == "3"
    wait_until(lambda: _runs(site, "3", "done"), "version 3")
    assert site.cloud.cli("restart", GATEWAY, "hello")["version"] == "3"

    # Both sides have it in writing.
    asked = site.cloud.cli("operations", GATEWAY)
    assert [row["op"] for row in asked] == [
        "restart", "pin", "pin", "rollback", "logs", "stats", "why", "exec", "exec", "exec",
    ]  # fmt: skip
    assert {row["state"] for row in asked} == {"answered"}
    first = asked[-1]
    record = next(entry for entry in site.gateway.cli("audit") if entry["id"] == first["id"])
    assert record == first["result"]["record"]
    assert (record["by"], record["exit_code"]) == (f"authority cloud ({first['asked_by']})", 7)
    assert base64.b64decode(first["result"]["output"]) == b"inside\n"
    assert "exit code 7" in site.said("operations")[1]

    # What the profile does not list is refused, and the key that would allow it is named.
    site.gateway.stop()
    text = site.gateway.profile.read_text()
    site.gateway.profile.write_text(text.replace(f"operations = {OPERATIONS}", 'operations = ["why"]'))
    site.gateway.start()
    wait_until(lambda: _allowed(site) == "not_permitted", "the new profile")
    status, _, error = site.said("restart", "hello")
    assert status == NotPermitted.exit_code
    assert "'restart' in authorities.cloud.operations" in error


def _runs(site: Site, version: str, rollout: str) -> bool:
    reports = site.cloud.gateway(GATEWAY)["reports"]
    return [(report["version"], report["rollout"]) for report in reports] == [(version, rollout)]


def _allowed(site: Site) -> str:
    asked = site.cloud.attempt("exec", GATEWAY, "hello", "--wait", "5", "--", "/bin/busybox", "true")
    return "not_permitted" if "authorities.cloud.operations" in asked[2] else asked[2]
