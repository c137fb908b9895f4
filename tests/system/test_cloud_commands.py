"""The cloud's commands as a person uses them: tags pinned through a real registry, tables, progress, events."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gateway.documents.certificates import make_authority
from gateway.documents.envelope import PrivateKey
from gateway.model.batches import Batch, BatchId, encode_batch
from gateway.model.reports import AppReport, GatewayStatus, Phase, Progress, ProgressKind, Rollout, ServiceReport
from gateway.model.tags import Quality, Sample
from gateway.model.wire import canonical, to_wire
from tests.site.broker import Broker
from tests.site.cloud import Cloud
from tests.site.mqtt_client import MqttClient
from tests.site.processes import wait_until
from tests.site.registry import Registry
from tests.system.pulls import make_image

GATEWAY = "gw-1"
BASE = f"fieldgate/v1/{GATEWAY}"


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with Broker(tmp_path, make_authority("Site CA")) as running:
        yield running


@pytest.fixture
def cloud(tmp_path: Path, broker: Broker) -> Iterator[Cloud]:
    (tmp_path / "partner.pem").write_bytes(PrivateKey.generate().public_pem())
    with Cloud(tmp_path, broker, {"partner": tmp_path / "partner.pem"}) as running:
        running.wait_connected()
        running.enroll(GATEWAY, tmp_path / "identity")
        yield running


def _said(cloud: Cloud, name: str, *arguments: str) -> tuple[int, str]:
    """What a person reads."""
    argv = [*cloud.command(name), *arguments]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False, env={"COLUMNS": "200"})
    return done.returncode, done.stdout + done.stderr


def _incarnation(cloud: Cloud) -> str:
    return str(cloud.gateway(GATEWAY)["incarnation"])


def test_a_tag_is_pinned_and_progress_is_shown(cloud: Cloud, broker: Broker, tmp_path: Path) -> None:
    with Registry(tmp_path) as registry, MqttClient(broker, broker.login(GATEWAY), f"{BASE}/desired/+") as client:
        image = registry.push(make_image(tmp_path, "reader", [{"x": b"x"}]), "apps/reader:1.0")
        file = tmp_path / "compose.yaml"
        file.write_text(f"name: reader\nservices:\n  main:\n    image: {registry.host}/apps/reader:1.0\n")
        status, said = _said(cloud, "deploy", "--gateway", GATEWAY, str(file))
        assert status == 75
        assert f"--plain-http {registry.host}" in said
        options = ("--gateway", GATEWAY, str(file), "--plain-http", registry.host)
        made = cloud.cli("deploy", *options, "--dry-run")
        assert made["compose"]["services"]["main"]["image"] == image
        assert client.received() == []
        with ThreadPoolExecutor(1) as background:
            waiting = background.submit(_said, cloud, "deploy", *options, "--wait", "--timeout", "30")
            wait_until(lambda: bool(client.received()), "the desired state")
            for done in (1000, 5000):
                pulling = Progress(
                    ProgressKind.PULL, app="reader", image="apps/reader:1.0", text="layer 1/1",
                    done_bytes=done, total_bytes=5000,
                )  # fmt: skip
                client.publish(f"{BASE}/progress", canonical(to_wire(pulling)))
            for phase, rollout in ((Phase.STARTING, Rollout.ROLLING), (Phase.HEALTHY, Rollout.DONE)):
                services = (ServiceReport("main", phase, image),)
                report = AppReport("reader", "cloud", 1, "1.0", made["digest"], rollout, services)
                client.publish(f"{BASE}/reported/reader", canonical(to_wire(report)), retain=True)
            status, said = waiting.result()
    assert status == 0, said
    for line in (
        "reader 1.0 deployed: gw-1, revision 1",
        "pulling apps/reader:1.0: layer 1/1",
        "main: starting",
        "reader on gw-1: healthy",
    ):
        assert line in said
    status, said = _said(cloud, "diff", "--gateway", GATEWAY)
    assert status == 1  # it has not reported the revision yet
    with MqttClient(broker, broker.login(GATEWAY)) as client:
        online = GatewayStatus(True, _incarnation(cloud), "0.1", {"cloud": 1})
        client.publish(f"{BASE}/status", canonical(to_wire(online)), retain=True)
        wait_until(lambda: cloud.gateway(GATEWAY)["status"] is not None, "the status")
    status, said = _said(cloud, "diff", "--gateway", GATEWAY)
    assert status == 0
    assert "online, revision 1 wanted, 1 reported" in said
    assert "same" in said


def test_tags_and_events(cloud: Cloud, broker: Broker) -> None:
    assert "nothing has arrived yet" in _said(cloud, "tags", "--gateway", GATEWAY)[1]
    watching = subprocess.Popen(
        [*cloud.command("watch"), "--gateway", GATEWAY, "--json"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert watching.stdout is not None
        records = (
            Sample("meter/power", 1234.5, 10**18, "W"),
            Sample("door/name", "a\x1b[2Jb", 10**18, "", Quality.BAD),
        )
        payload = encode_batch(Batch(BatchId(_incarnation(cloud), "telemetry", "e1", 1, 2), records))
        # The watcher may need a moment to subscribe: what it must see is sent until it has seen something.
        with MqttClient(broker, broker.login(GATEWAY)) as client, ThreadPoolExecutor(1) as background:
            line = background.submit(watching.stdout.readline)
            while not line.done():
                client.publish(f"{BASE}/data/telemetry", payload)
        event = json.loads(line.result())
        assert (event["kind"], event["stream"], event["first"], event["last"]) == ("data", "telemetry", 1, 2)
    finally:
        watching.terminate()
        watching.wait()
        assert watching.stdout is not None
        watching.stdout.close()
    status, said = _said(cloud, "tags", "--gateway", GATEWAY)
    assert status == 0
    assert "\x1b" not in said
    (line_of_power,) = (line for line in said.splitlines() if "meter/power" in line)
    assert line_of_power.split()[1:4] == ["1234.5", "W", "good"]
    assert cloud.tags(GATEWAY)["door/name"]["quality"] == "bad"


def test_tags_are_followed(cloud: Cloud, broker: Broker) -> None:
    argv = [*cloud.command("tags"), "--gateway", GATEWAY, "-f"]
    readers = [subprocess.Popen([*argv, *more], stdout=subprocess.PIPE, text=True) for more in (["--json"], [])]
    try:
        with MqttClient(broker, broker.login(GATEWAY)) as client:
            for number in (1, 2):
                sample = Sample("meter/power", float(number), 10**18 + number, "W")
                batch = Batch(BatchId(_incarnation(cloud), "telemetry", "e1", number, number), (sample,))
                client.publish(f"{BASE}/data/telemetry", encode_batch(batch))
                assert readers[0].stdout is not None
                line = json.loads(readers[0].stdout.readline())
                assert (line["tag"], line["value"]) == ("meter/power", number)
        time.sleep(1.5)  # the table is drawn once a second
        said = []
        for reader in readers:
            reader.send_signal(2)
            said.append(reader.communicate(timeout=20)[0])
        assert said[0] == "", "a value is told once"
        assert "meter/power" in said[1]
        assert [reader.returncode for reader in readers] == [130, 130]
    finally:
        for reader in readers:
            reader.kill()
            reader.communicate()


def test_keys_name_the_partner_and_keep_it(cloud: Cloud) -> None:
    for version in (1, 2):
        keys = cloud.client.call("GET", "/v1/keys")["keys"]
        assert keys["version"] == version
        assert sorted(signer["authority"] for signer in keys["signers"].values()) == ["cloud", "partner"]
        status, said = _said(cloud, "keys", "rotate")
        assert status == 0, said
        assert f"keys version {version + 1}" in said


@pytest.mark.parametrize("command", ["deploy", "undeploy", "diff", "tags", "watch"])
def test_an_unknown_gateway_is_named(cloud: Cloud, tmp_path: Path, command: str) -> None:
    file = tmp_path / "compose.yaml"
    file.write_text(f"name: a\nservices:\n  s:\n    image: registry.example/a:1@sha256:{'a' * 64}\n")
    target = {"deploy": [str(file)], "undeploy": ["a"]}.get(command, [])
    status, said = _said(cloud, command, "--gateway", "gw-9", *target)
    assert status == 66, said
    assert "gw-9" in said
