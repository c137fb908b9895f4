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

from cloud.cli.client import path
from gateway.documents.certificates import make_authority
from gateway.errors import Conflict, NotPermitted, TimedOut, from_json
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
WITHOUT_RESTART = '["why", "exec"]'


FULL = (ROOT / "firmware_profiles" / "developer-x86_64.toml").read_text()


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

    def ask(self, op: str, **members: Any) -> Any:
        """The answer's result; raises the error in it."""
        asked = {"op": op, "app": "hello", **members}
        body = {"ask": asked, "wait_s": 60}
        identity = self.cloud.client.call("POST", path("gateways", GATEWAY, "operations"), body)["id"]
        wait_until(lambda: self._state(identity)["state"] not in ("asked", "sent"), f"an answer to {op}", 60)
        row = self._state(identity)
        if row["error"] is not None:
            raise from_json(row["error"])
        return row["result"]

    def _state(self, identity: str) -> dict[str, Any]:
        return dict(self.cloud.client.call("GET", path("operations", identity)))

    def said(self, name: str, *arguments: str) -> tuple[int, str, str]:
        done = subprocess.run(
            [*self.cloud.command(name), GATEWAY, *arguments], capture_output=True, text=True, timeout=60, check=False
        )
        return done.returncode, done.stdout, done.stderr


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    directory = Path(tempfile.mkdtemp(prefix="fg-", dir="/run"))
    profile = directory / "board.toml"
    profile.write_text(FULL.replace(f"operations = {OPERATIONS}", f"operations = {WITHOUT_RESTART}"))
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
    assert f"operations = {OPERATIONS}" in FULL
    assert site.deploy("1")[0] == 0
    topics = (f"{BASE}/request/+", f"{BASE}/response/+")
    with MqttClient(site.broker, site.broker.login(INTRUDER), *topics) as intruder:
        script = "echo inside; echo x >> /count; exit 7"
        status, said, _ = site.said("exec", "hello", "--", "/bin/busybox", "sh", "-c", script)
        assert (status, said) == (7, "inside\n")
        # What the profile does not list is refused, and the key that would allow it is named.
        with pytest.raises(NotPermitted, match="may not restart") as caught:
            site.ask("restart")
        assert "'restart' in authorities.cloud.operations" in caught.value.hint
        # Somebody who has the broker sends what he saw once more: he gets an answer, and nothing is done again.
        (envelope,) = intruder.received(f"{BASE}/request/exec")
        (answer,) = intruder.received(f"{BASE}/response/exec")
        wait_until(lambda: bool(intruder.received(f"{BASE}/request/confirm")), "the cloud's confirmation")
        intruder.publish(f"{BASE}/request/exec", envelope)
        wait_until(lambda: len(intruder.received(f"{BASE}/response/exec")) == 2, "the refusal of the replay", 60)
        refusal = json.loads(intruder.received(f"{BASE}/response/exec")[1])
        assert refusal["request"] == json.loads(answer)["request"] == request_id(envelope)
        assert isinstance(from_json(refusal["error"]), Conflict)
        assert "it ended: done, exit code 7" in refusal["error"]["message"]
        # As another operation, as noise, and to the next agent: refused by what comes back.
        intruder.publish(f"{BASE}/request/pin", envelope)
        intruder.publish(f"{BASE}/request/pin", b"noise")
        wait_until(lambda: len(intruder.received(f"{BASE}/response/pin")) == 2, "two refusals", 60)
        codes = [json.loads(message)["error"]["code"] for message in intruder.received(f"{BASE}/response/pin")]
        assert codes == ["invalid_input", "invalid_input"]
        site.gateway.kill()
        site.gateway.profile.write_text(FULL)
        site.gateway.start()
        # It answers, so it is connected.
        # A health check that runs just now is one process more.
        wait_until(lambda: site.ask("stats")[0]["pids"] == 1, "the one process of the APP", 60)
        intruder.publish(f"{BASE}/request/exec", envelope)
        wait_until(lambda: len(intruder.received(f"{BASE}/response/exec")) == 3, "the refusal by the next agent", 60)
        assert "exit code 7" in json.loads(intruder.received(f"{BASE}/response/exec")[2])["error"]["message"]
    read = site.ask("exec", argv=["/bin/busybox", "cat", "/count"])
    assert base64.b64decode(read["output"]) == b"x\n", "it was done once"
    with pytest.raises(TimedOut, match=r"no end after 0\.5 s"):
        site.ask("exec", argv=["/bin/busybox", "sleep", "987"], timeout_s=0.5)
    why = site.cloud.cli("why", GATEWAY, "hello")
    assert (why["well"], why["chains"][0][0]["text"]) == (True, "version 1 healthy")
    assert [line["text"] for line in site.cloud.cli("logs", GATEWAY, "hello")["lines"]] == ["version 1"]

    # Rolled back and pinned from the cloud; what is deployed then waits, and says so.
    assert site.deploy("2")[0] == 0
    assert site.cloud.cli("rollback", GATEWAY, "hello")["version"] == "1"
    wait_until(lambda: _runs(site, "1", "rolled_back"), "version 1 again", 60)
    assert site.ask("pin")["version"] == "1"
    status, made, _ = site.deploy("3")
    assert (status, made["result"]) == (1, "pinned")
    assert "pinned by authority cloud" in made["reason"]
    assert site.cloud.cli("pin", GATEWAY, "hello", "--off")["version"] == "3"
    wait_until(lambda: _runs(site, "3", "done"), "version 3", 60)
    assert site.ask("restart")["version"] == "3"

    # Both sides have it in writing.
    asked = site.cloud.cli("operations", GATEWAY)
    assert [row["op"] for row in reversed(asked)] == [
        "exec", "restart", "stats", "exec", "exec", "why", "logs", "rollback", "pin", "pin", "restart",
    ]  # fmt: skip
    assert {row["state"] for row in asked} == {"answered"}
    first = asked[-1]
    record = next(entry for entry in site.gateway.cli("audit") if entry["id"] == first["id"])
    assert record == first["result"]["record"]
    assert (record["by"], record["exit_code"]) == (f"authority cloud ({first['asked_by']})", 7)
    assert base64.b64decode(first["result"]["output"]) == b"inside\n"


def _runs(site: Site, version: str, rollout: str) -> bool:
    reports = site.cloud.gateway(GATEWAY)["reports"]
    return [(report["version"], report["rollout"]) for report in reports] == [(version, rollout)]
