"""`x-esdk.standby` on the real agent: the next container waits, takes over after a crash, and outlives the agent."""

from __future__ import annotations

import copy
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.site.enrolment import enrol
from tests.site.gateway import Gateway
from tests.site.images import push_busybox
from tests.site.processes import accepts_unix, wait_until
from tests.site.registry import Registry
from tests.system.test_control_line import PROFILE, compose, deploy, service


@pytest.fixture
def site() -> Iterator[tuple[Gateway, dict[str, Any]]]:
    """A running gateway, and a Compose file whose service wants a spare."""
    directory = Path(tempfile.mkdtemp(prefix="fg-", dir="/run"))
    gateway = Gateway(directory, PROFILE)
    enrol(gateway.paths, "gw-test")
    try:
        with Registry(directory) as registry, gateway:
            document = compose(push_busybox(registry, directory), "exec /bin/busybox sleep 1000")
            document["services"]["main"]["x-esdk"] = {"standby": True}
            yield gateway, document
    finally:
        shutil.rmtree(directory)


def has_spare(gateway: Gateway, container: str = "") -> dict[str, Any]:
    """Wait for a spare behind `container` (whichever runs, by default); the report then."""

    def there() -> bool:
        now = service(gateway)
        return bool(now["pid"] and now.get("spare") and container in ("", now["container"]))

    wait_until(there, "a spare", 20)
    return service(gateway)


def test_a_spare_takes_over_and_gets_a_successor(site: tuple[Gateway, dict[str, Any]]) -> None:
    gateway, document = site
    deploy(gateway, gateway.paths.run, document)
    before = has_spare(gateway)
    assert accepts_unix(gateway.paths.endpoints / before["spare"] / "esdk.sock"), "its endpoint is bound before"

    os.kill(before["pid"], signal.SIGKILL)
    after = has_spare(gateway, before["spare"])
    assert (after["restarts"], after["spare"] != before["spare"]) == (1, True)

    gateway.kill()
    gateway.start()
    adopted = has_spare(gateway, after["container"])
    assert (adopted["pid"], adopted["spare"]) == (after["pid"], after["spare"]), "the next agent touches nothing"
    os.kill(adopted["pid"], signal.SIGKILL)
    wait_until(lambda: service(gateway)["pid"] not in (0, adopted["pid"]), "the takeover", 10)
    assert service(gateway)["container"] == adopted["spare"]


def test_a_new_version_takes_no_old_spare(site: tuple[Gateway, dict[str, Any]]) -> None:
    gateway, document = site
    deploy(gateway, gateway.paths.run, document)
    old = has_spare(gateway)
    changed = copy.deepcopy(document)
    changed["services"]["main"]["environment"] = {"VERSION": "2"}
    deploy(gateway, gateway.paths.run, changed)
    wait_until(lambda: service(gateway)["container"] not in ("", old["container"]), "the new version", 20)
    new = has_spare(gateway, service(gateway)["container"])
    assert old["spare"] not in (new["container"], new["spare"])
    assert not (gateway.paths.engine / "containers" / old["spare"]).exists()
    assert len(list((gateway.paths.engine / "containers").iterdir())) == 2
