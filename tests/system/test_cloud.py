"""The cloud as a process, at a real broker, with a client that speaks as a gateway does."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gateway.documents.certificates import make_authority
from gateway.documents.desired import PAYLOAD_TYPE, decode_desired
from gateway.documents.enrolment import parse_enrolment
from gateway.documents.envelope import verify
from gateway.documents.keys import succeed
from gateway.errors import Conflict
from gateway.model.batches import Batch, BatchId, decode_confirmation, encode_batch
from gateway.model.enrolment import Enrolment
from gateway.model.reports import AppReport, GatewayStatus, Phase, Progress, ProgressKind, Rollout, ServiceReport
from gateway.model.tags import Window
from gateway.model.trust import Keys
from gateway.model.wire import canonical, from_wire, to_wire
from tests.site.broker import Broker, Login
from tests.site.cloud import Cloud
from tests.site.mqtt_client import MqttClient
from tests.site.processes import wait_until

GATEWAY = "gw-1"
BASE = f"fieldgate/v1/{GATEWAY}"
DOWN = (f"{BASE}/desired/+", f"{BASE}/ack", f"{BASE}/keys")
IMAGE = "registry.example/apps/reader:1.0@sha256:" + "a" * 64


@dataclass
class Site:
    broker: Broker
    cloud: Cloud
    identity: Path
    compose: Path

    @property
    def enrolment(self) -> Enrolment:
        return parse_enrolment((self.identity / "enrolment.json").read_bytes())

    def gateway(self) -> MqttClient:
        """Somebody who has the gateway's identity, as the cloud has made it."""
        files = (self.identity / name for name in ("ca.crt", "gateway.crt", "gateway.key"))
        return MqttClient(self.broker, Login(GATEWAY, *files), *DOWN)

    def send(self, client: MqttClient, first: int, last: int, epoch: str = "e1") -> BatchId:
        identity = BatchId(self.enrolment.incarnation, "telemetry", epoch, first, last)
        records = tuple(Window("meter/power", n, n + 1, n, n, n, n, 1, "W") for n in range(first, last + 1))
        client.publish(f"{BASE}/data/telemetry", encode_batch(Batch(identity, records)))
        return identity

    def status(self, client: MqttClient, revisions: dict[str, int]) -> None:
        status = GatewayStatus(True, self.enrolment.incarnation, "0.1", revisions)
        client.publish(f"{BASE}/status", canonical(to_wire(status)), retain=True)

    def confirmed(self, client: MqttClient) -> list[BatchId]:
        key = bytes.fromhex(self.enrolment.confirmation_key)
        return [decode_confirmation(key, GATEWAY, payload) for payload in client.received(f"{BASE}/ack")]

    def revisions(self, client: MqttClient) -> list[int]:
        return [_payload(envelope)["revision"] for envelope in client.received(f"{BASE}/desired/cloud")]

    def stored(self) -> list[int]:
        """Sequence numbers in the file, read past the cloud."""
        connection = sqlite3.connect(f"file:{self.cloud.state.database}?mode=ro", uri=True)
        try:
            return [row[0] for row in connection.execute("SELECT seq FROM samples ORDER BY n")]
        finally:
            connection.close()


def _payload(envelope: bytes) -> dict[str, Any]:
    import base64

    payload: dict[str, Any] = json.loads(base64.b64decode(json.loads(envelope)["payload"]))
    return payload


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    compose = tmp_path / "compose.yaml"
    compose.write_text(f"name: reader\nservices:\n  main:\n    image: {IMAGE}\n")
    with Broker(tmp_path, make_authority("Site CA")) as broker, Cloud(tmp_path, broker) as cloud:
        cloud.wait_connected()
        cloud.enroll(GATEWAY, tmp_path / "identity")
        yield Site(broker, cloud, tmp_path / "identity", compose)


def test_a_batch_is_confirmed_only_when_it_is_stored(site: Site) -> None:
    at_confirmation: list[list[int]] = []
    with site.gateway() as client:
        client.on_message = lambda topic, payload: at_confirmation.append(site.stored())
        sent = site.send(client, 1, 3)
        wait_until(lambda: site.confirmed(client) == [sent], "the confirmation")
        assert at_confirmation == [[1, 2, 3]]
        # Nobody can write now: nothing is confirmed, and nothing is lost once it goes on.
        blocker = sqlite3.connect(site.cloud.state.database, isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        later = site.send(client, 4, 5)
        client.publish(f"{BASE}/progress", canonical(to_wire(Progress(ProgressKind.STEP))))  # a moment passes
        with pytest.raises(Exception, match="cannot see"):
            wait_until(lambda: len(client.received()) > 1, "a confirmation too early", timeout_s=1.0)
        blocker.execute("ROLLBACK")
        blocker.close()
        wait_until(lambda: site.confirmed(client) == [sent, later], "the confirmation")
        assert at_confirmation[-1] == [1, 2, 3, 4, 5]
    assert site.cloud.tags(GATEWAY)["meter/power"]["value"] == 5.0
    assert site.cloud.samples(GATEWAY)[0]["record"]["unit"] == "W"


def test_duplicates_are_stored_once_also_across_sudden_ends(site: Site) -> None:
    with site.gateway() as client:
        for first, last in ((1, 10), (1, 10), (5, 15)):
            sent = site.send(client, first, last)
            wait_until(lambda sent=sent: sent in site.confirmed(client), "the confirmation")
        site.cloud.kill()
        site.send(client, 16, 20)
        site.cloud.start()
        site.cloud.wait_connected()
        sent = site.send(client, 16, 20)  # it was not confirmed
        wait_until(lambda: sent in site.confirmed(client), "the confirmation")
        site.broker.kill()
        site.broker.start()
        site.cloud.wait_connected()
        wait_until(lambda: client.connected, "the gateway connected")
        sent = site.send(client, 11, 25)
        wait_until(lambda: sent in site.confirmed(client), "the confirmation")
    assert sorted(site.stored()) == list(range(1, 26))
    (stream,) = site.cloud.streams(GATEWAY)
    assert (stream["records"], stream["first"], stream["last"], stream["missing"]) == (25, 1, 25, 0)


def test_desired_is_signed_retained_and_published_again(site: Site) -> None:
    status, made, said = site.cloud.deploy(GATEWAY, site.compose)
    assert (status, made.get("revision")) == (0, 1), said
    with site.gateway() as client:
        wait_until(lambda: site.revisions(client) == [1], "the retained desired state")
        (envelope,) = client.received(f"{BASE}/desired/cloud")
        keys = from_wire(Keys, site.enrolment.keys)
        signers = {identity: key.public for identity, key in keys.signers.items()}
        desired = decode_desired(verify(envelope, PAYLOAD_TYPE, signers, 1).payload)
        assert (desired.gateway, desired.incarnation) == (GATEWAY, site.enrolment.incarnation)
        assert [app.name for app in desired.apps] == ["reader"]
        site.cloud.deploy(GATEWAY, site.compose)
        wait_until(lambda: site.revisions(client) == [1, 2], "the next revision")
        for revisions in ({"cloud": 1}, {}):  # an older one, none
            before = len(site.revisions(client))
            site.status(client, revisions)
            wait_until(lambda before=before: len(site.revisions(client)) > before, "it again", timeout_s=15.0)
        site.status(client, {"cloud": 2, "local": 7})
        before = len(site.revisions(client))
        site.broker.kill()
        site.broker.start()
        wait_until(lambda: len(site.revisions(client)) > before, "it again after the broker had lost it")
        assert site.revisions(client)[-1] == 2
        site.cloud.kill()
        site.cloud.start()
        site.cloud.wait_connected()
        assert site.cloud.attempt("diff", "--gateway", GATEWAY)[1]["revision"]["desired"] == 2


def test_the_gateways_progress_decides_deploy_wait(site: Site) -> None:
    def report(revision: int, digest: str, rollout: Rollout, reason: str = "") -> bytes:
        services = (ServiceReport("main", Phase.HEALTHY, IMAGE),)
        return canonical(to_wire(AppReport("reader", "cloud", revision, "1.0", digest, rollout, services, reason)))

    def refusal() -> bytes:
        envelope = hashlib.sha256(client.received(f"{BASE}/desired/cloud")[-1]).hexdigest()
        refused = Progress(
            ProgressKind.REFUSED, "cloud", text="not allowed here", code="not_permitted", envelope=f"sha256:{envelope}"
        )
        return canonical(to_wire(refused))

    digest = site.cloud.cli("deploy", "--gateway", GATEWAY, "--dry-run", str(site.compose))["digest"]
    with site.gateway() as client, ThreadPoolExecutor(1) as background:
        for revision, channel, payloads, expected in (
            (1, "reported/reader", lambda: [report(1, digest, Rollout.ROLLING), report(1, digest, Rollout.DONE)],
             "healthy"),
            (2, "reported/reader",
             lambda: [report(1, digest, Rollout.DONE), report(2, "old", Rollout.ROLLED_BACK, "sick")], "rolled_back"),
            (3, "progress", lambda: [refusal()], "refused"),
        ):  # fmt: skip
            waiting = background.submit(site.cloud.deploy, GATEWAY, site.compose, wait_s=30.0)
            wait_until(lambda revision=revision: revision in site.revisions(client), "the desired state")
            for payload in payloads():
                client.publish(f"{BASE}/{channel}", payload)
            status, made, said = waiting.result()
            assert (made["result"], status) == (expected, 0 if expected == "healthy" else 1), said
            assert made["reason"] == {"healthy": "", "rolled_back": "sick", "refused": "not allowed here"}[expected]
        waiting = background.submit(site.cloud.undeploy, GATEWAY, "reader", wait_s=30.0)
        wait_until(lambda: 4 in site.revisions(client), "the desired state without it")
        client.publish(f"{BASE}/reported/reader", b"", retain=True)
        assert waiting.result()[1]["result"] == "removed"
    status, made, _ = site.cloud.deploy(GATEWAY, site.compose, wait_s=1.0)
    assert (status, made["result"]) == (1, "timed_out")


def test_rotated_keys_reach_the_gateway_and_sign_what_it_has(site: Site) -> None:
    site.cloud.deploy(GATEWAY, site.compose)
    site.cloud.cli("keys", "rotate")
    site.cloud.cli("keys", "rotate")
    with site.gateway() as client:
        wait_until(lambda: bool(client.received(f"{BASE}/keys") and site.revisions(client)), "keys and desired state")
        first = from_wire(Keys, site.enrolment.keys)
        keys = succeed(first, client.received(f"{BASE}/keys")[-1])
        assert keys.version == 3
        signers = {identity: key.public for identity, key in keys.signers.items()}
        verify(client.received(f"{BASE}/desired/cloud")[-1], PAYLOAD_TYPE, signers, 1)
        assert site.revisions(client) == [1]


def test_bad_payloads_are_dropped_and_the_process_goes_on(site: Site) -> None:
    with site.gateway() as client:
        for topic in ("data/telemetry", "status", "progress", "reported/reader"):
            for payload in (b"\x00", b"{}", b"[" * 50_000, b"x" * 300_000):
                client.publish(f"{BASE}/{topic}", payload)
        sent = site.send(client, 1, 2)
        wait_until(lambda: site.confirmed(client) == [sent], "the confirmation of the good one")
    counts = site.cloud.status()["counts"]
    assert (counts["dropped"], counts["stored"]) == (16, 2)


def test_a_broker_that_comes_late_and_a_second_process(tmp_path: Path) -> None:
    broker = Broker(tmp_path, make_authority("Site CA"))
    with Cloud(tmp_path, broker) as cloud:
        assert cloud.status()["connected"] is False
        status, _, said = cloud.attempt("serve", "--broker", broker.address)
        assert status == Conflict.exit_code
        assert "another process does already" in said
        with broker:
            cloud.wait_connected()
            broker.kill()
            wait_until(lambda: not cloud.status()["connected"], "the loss noticed")
            broker.start()
            cloud.wait_connected()


def test_enrolling_again_is_deliberate_and_ends_what_was(site: Site, tmp_path: Path) -> None:
    site.cloud.deploy(GATEWAY, site.compose)
    status, _, said = site.cloud.attempt("enroll", GATEWAY, "--out", str(tmp_path / "again"))
    assert status == Conflict.exit_code
    assert "enrolled already" in said
    with site.gateway() as client:
        site.cloud.enroll(GATEWAY, tmp_path / "again", "--replace")
        site.send(client, 1, 1)  # still with the old incarnation
        wait_until(lambda: site.cloud.status()["counts"]["dropped"] == 1, "it dropped")
        site.identity = tmp_path / "again"
        wait_until(lambda: site.revisions(client)[-1:] == [2], "the desired state of the new incarnation")
        envelope = client.received(f"{BASE}/desired/cloud")[-1]
        assert _payload(envelope)["incarnation"] == site.enrolment.incarnation
