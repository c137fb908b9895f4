"""One APP does its worst, each service in its own way; its neighbour and the agent do not notice. On the real agent.

A flood of log lines, a fork bomb, memory without end, a root file system filled to its last byte: all at once, as often
as they like. What each may take is bounded one by one in tests/conformance/test_bounds.py.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from gateway.cli.client import Agent
from gateway.engines.monitored import groups
from gateway.host import cgroup
from gateway.host.pids import identify
from tests.site.enrolment import enrol
from tests.site.gateway import Gateway
from tests.site.images import push_busybox
from tests.site.processes import pss_mb, wait_until
from tests.site.registry import Registry
from tests.system.test_control_line import PROFILE, compose, deploy, is_done, service

TROUBLE_S: Final = 8.0
BAD: Final = {
    "flood": "while :; do echo what nobody will ever want to read, and then once more; done",
    "bomb": "bomb() { bomb | bomb & }; bomb; while :; do /bin/busybox sleep 1; done",
    "hog": "exec /bin/busybox dd if=/dev/zero of=/dev/null bs=500M",
    "filler": "/bin/busybox dd if=/dev/zero of=/big bs=1M; exec /bin/busybox sleep 1000",
}
LOG_BYTES: Final = 1 << 20
"""The default of `container_log_bytes`."""


@pytest.fixture
def site() -> Iterator[tuple[Gateway, str]]:
    directory = Path(tempfile.mkdtemp(prefix="fg-", dir="/run"))
    gateway = Gateway(directory, PROFILE)
    enrol(gateway.paths, "gw-test")
    try:
        with Registry(directory) as registry, gateway:
            yield gateway, push_busybox(registry, directory)
    finally:
        shutil.rmtree(directory)


def trouble(image: str) -> dict[str, Any]:
    limits = {"cpus": "0.25", "memory": "24M", "pids": 32}
    services = {
        name: {
            "image": image, "command": ["sh", "-c", script], "restart": "always", "stop_grace_period": "1s",
            "storage_opt": {"size": "4M"}, "deploy": {"resources": {"limits": limits}},
        }
        for name, script in BAD.items()
    }  # fmt: skip
    return {"name": "bad", "services": services}


def beats(gateway: Gateway) -> int:
    """How many lines the neighbour has written."""
    argv = [*gateway.command("logs"), "good", "--tail", "1000"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=True)
    return done.stdout.count("beat")


def test_the_worst_of_one_app_is_no_matter_of_another(site: tuple[Gateway, str]) -> None:
    gateway, image = site
    agent = Agent(gateway.paths.admin_socket)
    beat = "while :; do echo beat; /bin/busybox sleep 0.1; done"
    deploy(gateway, gateway.paths.run, compose(image, beat, name="good"))
    wait_until(lambda: is_done(gateway, "good"), "the good one well", 30)
    good, before_mb = identify(service(gateway, "good")["pid"]), pss_mb(gateway.pid)

    deploy(gateway, gateway.paths.run, trouble(image))
    began = time.monotonic()
    ends, slowest_s, seen = 0, 0.0, beats(gateway)
    while time.monotonic() - began < TROUBLE_S:
        asked = time.monotonic()
        reports = agent.call("GET", "/v1/apps")
        slowest_s = max(slowest_s, time.monotonic() - asked)
        bad = next((report for report in reports if report["app"] == "bad"), {"services": []})
        ends = max(ends, sum(entry.get("restarts", 0) for entry in bad["services"] if entry["name"] == "hog"))
        time.sleep(0.2)

    assert ends >= 1, "the hog never ended"
    reason = next(entry.get("reason", "") for entry in bad["services"] if entry["name"] == "hog")
    assert "memory" in reason or ends > 1
    # The neighbour: the same process, all the while at work, healthy.
    assert good.alive()
    assert service(gateway, "good")["phase"] == "healthy"
    assert beats(gateway) - seen >= TROUBLE_S * 3, "the neighbour hardly came to do anything"
    # The agent: answers, and holds what it held.
    assert slowest_s < 2.0
    assert pss_mb(gateway.pid) - before_mb < 8.0
    # The box: what they may take they have not exceeded.
    for directory in (gateway.paths.engine / "containers").glob("bad.*"):
        assert sum(file.stat().st_size for file in directory.glob("ctr.log*")) <= LOG_BYTES * 1.1
    containers, _ = groups(gateway.paths.engine)
    assert len(cgroup.processes(containers)) < 32 * len(BAD) + 32
