"""The agent is killed with SIGKILL while it does every kind of work, at moments that a seed chooses.

Two APPs: one is well and wanted all the while, and must never notice; the other is created, updated, rolled back,
stopped, started and removed. After every kill the next agent comes to what is desired, with nothing left over.
"""

from __future__ import annotations

import contextlib
import random
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.client import Agent
from gateway.documents.desired import encode_desired, sign_desired
from gateway.errors import FieldgateError
from gateway.host import pids
from tests.site.enrolment import Enrolled, enrol
from tests.site.gateway import ROOT, Gateway
from tests.site.images import push_busybox
from tests.site.processes import wait_until
from tests.site.registry import Registry

PROFILE = ROOT / "firmware_profiles" / "developer-x86_64.toml"
STEADY, BUSY = "steady", "busy"


def compose(name: str, image: str, version: str) -> dict[str, Any]:
    """Version `bad` fails its health check."""
    check = "false" if version == "bad" else "true"
    main = {
        "image": image, "command": ["sh", "-c", "trap 'exit 0' TERM; while :; do /bin/busybox sleep 0.05; done"],
        "environment": {"VERSION": version}, "restart": "always", "stop_grace_period": "1s",
        "healthcheck": {"test": ["CMD", "/bin/busybox", check], "interval": "1s", "retries": 1},
    }  # fmt: skip
    return {"name": name, "x-esdk-version": version, "services": {"main": main}}


class Site:
    """The gateway, and the cloud that wants something of it."""

    def __init__(self, gateway: Gateway, enrolled: Enrolled, image: str) -> None:
        self.gateway = gateway
        self._enrolled = enrolled
        self._image = image
        self._agent = Agent(gateway.paths.admin_socket)
        self._desired = b""
        self.revision = 0

    def desire(self, busy: str) -> None:
        """The next desired state: the busy APP in that version; empty: without it."""
        self.revision += 1
        apps = {STEADY: compose(STEADY, self._image, "1")}
        if busy:
            apps[BUSY] = compose(BUSY, self._image, busy)
        enrolled = self._enrolled
        payload = encode_desired(enrolled.gateway, enrolled.incarnation, "cloud", self.revision, apps)
        self._desired = sign_desired(payload, [enrolled.signer])
        self.publish()

    def publish(self) -> None:
        self._agent.call("PUT", "/v1/desired/cloud", self._desired)

    def publish_again(self) -> None:
        """As the cloud does when the gateway reports another revision: the kill may have come before the acceptance."""
        accepted = self._agent.call("GET", "/v1/status")["revisions"].get("cloud", 0)
        assert accepted in (self.revision, self.revision - 1)
        if accepted != self.revision:
            self.publish()

    def order(self, action: str) -> None:
        self._agent.call("POST", f"/v1/apps/{BUSY}/{action}")

    def service(self, app: str) -> dict[str, Any]:
        """Its report, with the fields of its one service, which may be gone already while the APP is being removed."""
        for report in self._agent.call("GET", "/v1/apps"):
            if report["app"] == app:
                (main,) = report["services"] or ({"phase": "removing"},)
                return {"container": "", "pid": 0, **report, **main}
        return {"phase": "absent", "rollout": "", "version": ""}

    def is_at(self, phase: str, version: str = "", rollout: str = "done") -> bool:
        now = self.service(BUSY)
        return bool(now["phase"] == phase and version in ("", now["version"]) and rollout in ("", now["rollout"]))

    def wanted_containers(self) -> list[str]:
        """One for each APP that runs."""
        return sorted(filter(None, (self.service(app).get("container") for app in (STEADY, BUSY))))

    def containers(self) -> list[str]:
        return sorted(path.name for path in (self.gateway.paths.engine / "containers").iterdir())


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    directory = Path(tempfile.mkdtemp(prefix="fg-", dir="/run"))
    gateway = Gateway(directory, PROFILE)
    enrolled = enrol(gateway.paths, "gw-test")
    try:
        with Registry(tmp_path) as registry, gateway:
            yield Site(gateway, enrolled, push_busybox(registry, tmp_path))
    finally:
        shutil.rmtree(directory)


Work = tuple[str, Callable[[Site], None], Callable[[Site], bool]]
"""What it is, how it begins, and where it ends."""

ROUNDS: tuple[Work, ...] = (
    ("create", lambda s: s.desire("1"), lambda s: s.is_at("healthy", "1")),
    ("update", lambda s: s.desire("2"), lambda s: s.is_at("healthy", "2")),
    ("roll back", lambda s: s.desire("bad"), lambda s: s.is_at("healthy", "2", "rolled_back")),
    ("stop", lambda s: s.order("stop"), lambda s: s.is_at("stopped", rollout="")),
    ("start", lambda s: s.order("start"), lambda s: s.is_at("healthy", "2", "rolled_back")),
    ("update after a roll-back", lambda s: s.desire("3"), lambda s: s.is_at("healthy", "3")),
    ("restart", lambda s: s.order("restart"), lambda s: s.is_at("healthy", "3")),
    ("remove", lambda s: s.desire(""), lambda s: s.is_at("absent", rollout="")),
    ("create again", lambda s: s.desire("4"), lambda s: s.is_at("healthy", "4")),
    ("another update", lambda s: s.desire("5"), lambda s: s.is_at("healthy", "5")),
    ("another roll-back", lambda s: s.desire("bad"), lambda s: s.is_at("healthy", "5", "rolled_back")),
    ("remove again", lambda s: s.desire(""), lambda s: s.is_at("absent", rollout="")),
)
ORDERS = ("stop", "start", "restart")
ACCEPTANCE_S = 0.4
"""Half of the kills come this early: while the desired state is being verified and stored."""


def test_apps_go_on_and_the_next_agent_comes_to_what_is_desired(site: Site) -> None:
    chance = random.Random(3)
    site.desire("")
    wait_until(lambda: site.service(STEADY)["rollout"] == "done", "the steady APP", 60)
    steady = site.service(STEADY)
    process = pids.identify(steady["pid"])
    for name, begin, ended in ROUNDS:
        delay_s = chance.uniform(0, ACCEPTANCE_S) if chance.random() < 0.4 else chance.uniform(ACCEPTANCE_S, 2.0)
        when = f"{name}, the agent killed after {delay_s:.3f} s"
        _while_killed(site, begin, delay_s)
        assert process.alive(), when
        site.gateway.start()
        if name in ORDERS:
            begin(site)  # an order is not desired state: whoever got no answer gives it again
        else:
            site.publish_again()
        wait_until(lambda ended=ended: ended(site), f"the end of {when}", 60)
        wait_until(lambda: site.containers() == site.wanted_containers(), f"nothing left over of {when}", 30)
        wait_until(lambda: site.service(STEADY)["phase"] == "healthy", f"the steady APP well after {when}", 30)
        now = site.service(STEADY)
        assert (now["container"], now["pid"]) == (steady["container"], process.pid), when
    assert process.alive()
    log = site.gateway.log.read_text()
    assert "Traceback" not in log, log
    assert "set aside" not in log, log


def _while_killed(site: Site, begin: Callable[[Site], None], delay_s: float) -> None:
    """Begin the work and kill the agent so much later, whether it has answered or not."""

    def work() -> None:
        with contextlib.suppress(FieldgateError):
            begin(site)

    worker = threading.Thread(target=work)
    worker.start()
    time.sleep(delay_s)
    site.gateway.kill()
    worker.join()
