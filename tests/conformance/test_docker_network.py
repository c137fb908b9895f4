"""Networks on a daemon: what a manifest opens is open, and what a bridge cannot close is refused.

The daemon has a network namespace of its own here, with its own packet filter.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.engines.base import ContainerSpec
from gateway.engines.docker.engine import DockerEngine
from gateway.engines.docker.http import Api
from gateway.errors import NotSupported, ToolFailed
from gateway.model.network import ANY, Destination, Network, PublishedPort, Reach
from tests.conformance.conftest import LOG_BYTES
from tests.conformance.rootfs import IMAGE, BusyboxImage
from tests.site.daemons import DockerDaemon
from tests.site.processes import wait_until

SERVE = "while :; do echo $HOSTNAME | busybox nc -l -p 80; done"
OUT = (Destination(ANY),)
WEB = ContainerSpec(
    "site", "web", 1, "sha256:1", IMAGE, command=("sh", "-c", SERVE), siblings=("reader",),
    network=Network((PublishedPort(8080, 80),), egress=OUT, extra_hosts={"box": "host-gateway"}),
)  # fmt: skip
READER = replace(WEB, service="reader", command=("sleep", "1000"), siblings=("web",), network=Network())
OTHER = replace(READER, app="other", siblings=("more",))


@pytest.fixture(scope="module")
def daemon() -> Iterator[DockerDaemon]:
    with DockerDaemon(network=True) as daemon:
        yield daemon


@pytest.fixture
def outside(daemon: DockerDaemon) -> Iterator[str]:
    """The address of a machine beyond the gateway; what serves there says `outside`."""
    serve = "ip link set lo up; while :; do echo outside | busybox nc -l -p 80; done"
    machine = subprocess.Popen(
        ["unshare", "--net", "sh", "-c", serve], stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        ours = Path("/proc/self/ns/net").readlink()
        wait_until(lambda: Path(f"/proc/{machine.pid}/ns/net").readlink() != ours, "the network namespace outside")
        for pid, script in (
            (daemon.pid, f"ip link add out0 type veth peer name out1; ip link set out1 netns {machine.pid}"),
            (daemon.pid, "ip addr add 192.0.2.1/24 dev out0; ip link set out0 up"),
            (machine.pid, "ip addr add 192.0.2.2/24 dev out1; ip link set out1 up"),
        ):
            subprocess.run(["nsenter", f"--net=/proc/{pid}/ns/net", "sh", "-ec", script], check=True, timeout=20)
        yield "192.0.2.2"
    finally:
        os.killpg(machine.pid, signal.SIGKILL)
        machine.wait()


def test_what_is_open_and_what_is_closed(daemon: DockerDaemon, image: BusyboxImage, outside: str) -> None:
    def from_the_gateway(*argv: str) -> str:
        enter = ["nsenter", f"--net=/proc/{daemon.pid}/ns/net", "/bin/busybox", *argv]
        return subprocess.run(enter, capture_output=True, text=True, timeout=20, check=False).stdout.strip()

    async def scenario(engine: DockerEngine) -> None:
        async def ask(spec: ContainerSpec, script: str) -> str:
            return (await engine.exec(spec.id, ["sh", "-c", script], 20.0)).output.decode().strip()

        for spec in (WEB, READER, OTHER):
            await engine.create(spec)
            await engine.start(spec.id)
        assert await ask(READER, patiently("web")) == "web", "its APP's services have names"
        wait_until(lambda: from_the_gateway("nc", "-w", "3", "127.0.0.1", "8080") == "web", "the published port", 5)
        assert await ask(WEB, patiently(outside)) == "outside"
        assert await ask(READER, f"busybox nc -w 1 {outside} 80") != "outside", "no way out"
        gateway = (await ask(WEB, "busybox ip route | grep default")).split()[2]
        known = await ask(WEB, "cat /etc/hosts")
        assert "\tbox" in known
        assert "\tgateway" in known
        assert gateway in from_the_gateway("ip", "addr")
        assert await ask(OTHER, "busybox nc -w 3 web 80") != "web", "another APP knows no such name"
        address = (await ask(WEB, "busybox ip -4 -o addr show eth0")).split()[3].partition("/")[0]
        assert await ask(OTHER, f"busybox nc -w 2 {address} 80") != "web", "nor does its address help"
        for spec in (WEB, READER, OTHER):
            await engine.remove(spec.id)

    names = asyncio.run(_with(daemon, image, scenario))
    assert names == [], "they go with the engine"


@pytest.mark.parametrize(
    ("network", "key"),
    [
        (Network(reach=(Reach("a", "b", 1),)), "x-esdk.network.reach"),
        (Network((PublishedPort(8080, 80),)), "ports"),
        (Network(egress=(Destination("192.0.2.1"),)), "x-esdk.network.egress"),
    ],
)
def test_what_a_bridge_cannot_do_is_refused_before_anything_is_made(
    daemon: DockerDaemon, image: BusyboxImage, network: Network, key: str
) -> None:
    async def scenario(engine: DockerEngine) -> None:
        with pytest.raises(NotSupported, match=f"engine docker does not support `{key}`"):
            await engine.create(replace(WEB, network=network))
        assert await engine.list() == []
        assert await _networks(daemon) == []

    asyncio.run(_with(daemon, image, scenario))


def test_a_port_that_is_taken_is_a_failed_start(daemon: DockerDaemon, image: BusyboxImage) -> None:
    async def scenario(engine: DockerEngine) -> None:
        for spec in (WEB, replace(WEB, app="other")):
            await engine.create(spec)
        await engine.start(WEB.id)
        with pytest.raises(ToolFailed, match="8080"):
            await engine.start("other.web.1")

    asyncio.run(_with(daemon, image, scenario))


def patiently(host: str) -> str:
    """Ask a server that is away for a moment after each answer."""
    return f"for i in 1 2 3 4 5; do busybox nc -w 3 {host} 80 && break; sleep 0.2; done"


async def _with(daemon: DockerDaemon, image: BusyboxImage, scenario: object) -> list[str]:
    """Run it on an engine of its own; the networks that are left afterwards."""
    with tempfile.TemporaryDirectory(prefix="fg-", dir="/run") as directory:
        engine = DockerEngine(Path(directory), daemon.socket, image, LOG_BYTES)
        await engine.prepare()
        try:
            await scenario(engine)  # type: ignore[operator]
        finally:
            await engine.teardown()
    return await _networks(daemon)


async def _networks(daemon: DockerDaemon) -> list[str]:
    found = await Api(daemon.socket).call("GET", "/networks")
    return [entry["Name"] for entry in found if entry["Name"].startswith("fieldgate")]
