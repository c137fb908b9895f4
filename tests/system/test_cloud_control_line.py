"""The control line from the cloud: `deploy --wait` over a real broker to a real agent, and what the gateway refuses."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gateway.documents.certificates import make_authority
from tests.site.broker import Broker
from tests.site.cloud import Cloud
from tests.site.gateway import ROOT, Gateway
from tests.site.images import push_busybox
from tests.site.processes import pss_mb, wait_until
from tests.site.registry import Registry

PROFILE = ROOT / "firmware_profiles" / "developer-x86_64.toml"
GATEWAY = "gw-test"
MAX_PSS_MB = 38.0
"""Of the agent with one APP running and MQTT connected."""


@dataclass
class Site:
    directory: Path
    broker: Broker
    cloud: Cloud
    gateway: Gateway
    image: str

    def deploy(self, script: str, *, wait_s: float = 60.0, **service: Any) -> tuple[int, dict[str, Any], str]:
        health = {"test": ["CMD", "/bin/busybox", "sh", "-c", "test -e /tmp/ok"], "interval": "1s", "retries": 2}
        main = {
            "image": self.image, "command": ["sh", "-c", script], "restart": "always", "stop_grace_period": "1s",
            "tmpfs": ["/tmp:size=1M"], "healthcheck": health, **service,
        }  # fmt: skip
        file = self.directory / "compose.json"
        file.write_text(json.dumps({"name": "hello", "services": {"main": main}}))
        return self.cloud.deploy(GATEWAY, file, wait_s=wait_s)

    def same(self) -> bool:
        return self.cloud.attempt("diff", "--gateway", GATEWAY)[0] == 0


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    directory = Path(tempfile.mkdtemp(prefix="fg-", dir="/run"))
    try:
        with (
            Registry(tmp_path) as registry,
            Broker(tmp_path, make_authority("Site CA")) as broker,
            Cloud(tmp_path, broker) as cloud,
        ):
            gateway = Gateway(directory, PROFILE)
            cloud.enroll(GATEWAY, gateway.paths.identity)
            with gateway:
                yield Site(tmp_path, broker, cloud, gateway, push_busybox(registry, tmp_path))
    finally:
        shutil.rmtree(directory)


def test_deployed_replaced_rolled_back_refused_and_removed(site: Site) -> None:
    good = "touch /tmp/ok; sleep 1000"
    status, made, said = site.deploy(good)
    assert (status, made.get("result"), made.get("revision")) == (0, "healthy", 1), (made, said, site.gateway.tail())
    wait_until(site.same, "nothing to differ")
    assert pss_mb(site.gateway.pid) < MAX_PSS_MB
    status, made, said = site.deploy(good, environment={"VERSION": "2"})
    assert (status, made.get("result"), made.get("revision")) == (0, "healthy", 2), (made, said)
    status, made, said = site.deploy("sleep 1000", environment={"VERSION": "3"})
    assert (status, made.get("result")) == (1, "rolled_back"), (made, said)
    assert made["reason"]
    status, made, said = site.deploy(good, **{"x-esdk": {"serial": {"RS485-9": "transact"}}})
    assert (status, made.get("result")) == (1, "refused"), (made, said)
    assert "RS485-9" in made["reason"]
    status, made, said = site.deploy(good)
    assert (status, made.get("result"), made.get("revision")) == (0, "healthy", 5), (made, said)
    wait_until(site.same, "nothing to differ")
    status, made, said = site.cloud.undeploy(GATEWAY, "hello", wait_s=30.0)
    assert (status, made.get("result")) == (0, "removed"), (made, said)


def test_broker_and_cloud_may_end_and_come_back(site: Site) -> None:
    assert site.deploy("touch /tmp/ok; sleep 1000")[0] == 0
    site.cloud.cli("keys", "rotate")
    site.broker.kill()
    site.cloud.kill()
    site.broker.start()
    site.cloud.start()
    wait_until(lambda: bool((site.cloud.gateway(GATEWAY)["status"] or {}).get("online")), "the gateway online again")
    status, made, said = site.deploy("touch /tmp/ok; sleep 2000")
    assert (status, made.get("result"), made.get("revision")) == (0, "healthy", 2), (made, said, site.gateway.tail())
