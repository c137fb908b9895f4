"""What is open between containers, gateway and site, and what is not: on the real engine, in namespaces of the test."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.engines.base import ContainerSpec, Engine
from gateway.engines.lxc.engine import LxcEngine
from gateway.engines.oci.engine import OciEngine
from gateway.errors import Conflict
from gateway.host import netns
from gateway.model.network import Network, PublishedPort, parse_destination, parse_ports, parse_reach
from gateway.model.profile import NetworkRange
from gateway.network.names import REFRESH_S
from gateway.network.network import Network as Networks
from tests.conformance.conftest import LOG_BYTES
from tests.conformance.rootfs import IMAGE, BusyboxImage
from tests.site.networks import GATEWAY, PEER, Site, ask, ip, listens

WEB = Network(ports=(PublishedPort(8080, 80),), expose=(parse_ports("80"),))
SILENT = ("sleep", "1000")


def serves(port: int, text: str, *options: str) -> tuple[str, ...]:
    return ("busybox", "nc", "-ll", "-p", str(port), *options, "-e", "echo", text)


def egress(*destinations: str) -> Network:
    return Network(egress=tuple(parse_destination(text) for text in destinations))


class World:
    """An engine and its networks; another one on the same directory is what a restarted agent has."""

    def __init__(self, directory: Path, image: BusyboxImage, names: dict[str, Sequence[str]], engine: str) -> None:
        self.directory = directory
        self._kind = engine
        self._image = image
        self._names = names
        self.open_parts()

    def open_parts(self) -> None:
        """What an agent has in its memory."""
        directory = self.directory
        self.networks = Networks(directory / "network", directory / "slots.json", NetworkRange(), self._look_up)
        run = directory / "engine"
        self.engine: Engine = (
            LxcEngine(run, self._image, LOG_BYTES, self.networks)
            if self._kind == "lxc"
            else OciEngine(run, self._image, [self._kind], LOG_BYTES, network=self.networks)
        )

    async def _look_up(self, name: str) -> Sequence[str]:
        return self._names.get(name, ())

    async def open(self) -> None:
        self.networks.recover()
        await self.engine.prepare()

    async def up(self, name: str, network: Network | None, command: Sequence[str] = SILENT, **changes: Any) -> None:
        """`name` is app.service; `changes` of its ContainerSpec."""
        app, _, service = name.partition(".")
        spec = ContainerSpec(app, service, 1, "sha256:1", IMAGE, command=tuple(command), network=network)
        spec = replace(spec, **changes)
        await self.engine.create(spec)
        await self.engine.start(spec.id)
        if command is not SILENT:
            await asyncio.sleep(0.1)  # until it listens

    async def said(self, name: str, script: str) -> str:
        result = await self.engine.exec(f"{name}.1", ["sh", "-c", f"{script} 2>&1"], 10)
        return result.output.decode().strip()

    async def hears(self, name: str, host: str, port: int, *options: str) -> str:
        """What a service hears from there; empty when it cannot get through."""
        result = await self.engine.exec(
            f"{name}.1", ["sh", "-c", f"echo | busybox nc -w 2 {' '.join(options)} {host} {port} 2>/dev/null"], 10
        )
        return result.output.decode().strip()

    def namespace(self, name: str) -> Path:
        return self.directory / "network" / name / "netns"

    def addresses(self, name: str) -> list[str]:
        return self.networks.links()[name]


Scenario = Callable[[World], Awaitable[None]]
Run = Callable[[Scenario], None]


@pytest.fixture
def site() -> Iterator[Site]:
    with Site() as made:
        yield made


@pytest.fixture
def names() -> dict[str, Sequence[str]]:
    return {"peer.test": PEER}


@pytest.fixture
def kind(request: pytest.FixtureRequest) -> str:
    """Which engine: crun's, unless the test is for each."""
    return str(getattr(request, "param", "crun"))


ON_EACH = pytest.mark.parametrize("kind", ["crun", "lxc"], indirect=True)


@pytest.fixture
def run(
    site: Site, image: BusyboxImage, names: dict[str, Sequence[str]], kind: str
) -> Iterator[Callable[[Scenario], None]]:
    directory = site.directory / "gw"
    directory.mkdir()

    async def main(scenario: Scenario) -> None:
        world = World(directory, image, names, kind)
        await world.open()
        try:
            async with asyncio.timeout(60):
                await scenario(world)
        finally:
            await world.engine.teardown()
            await world.networks.teardown()

    yield lambda scenario: asyncio.run(main(scenario))
    assert [name for name in interfaces() if name.startswith("fg")] == []
    assert ruleset() == ""
    shutil.rmtree(directory)


def interfaces() -> list[str]:
    return [line.split()[0].partition("@")[0] for line in ip("-br", "link").splitlines()]


def ruleset() -> str:
    return subprocess.run(["nft", "list", "ruleset"], check=True, capture_output=True, text=True).stdout


@contextmanager
def listening(port: int) -> Iterator[None]:
    """A program of the gateway."""
    with socket.create_server(("127.0.0.1", port)):
        yield


@ON_EACH
def test_apps_cannot_reach_each_other_unless_both_say_so(run: Run) -> None:
    async def scenario(world: World) -> None:
        await world.up("web.main", WEB, serves(80, "hello"))
        await world.up("other.main", Network())
        four, six = world.addresses("web.main")
        assert await world.hears("other.main", four, 80) == ""
        assert await world.hears("other.main", six, 80) == ""
        await world.up("friend.main", Network(reach=(parse_reach("web/main:80"),)))
        assert await world.hears("friend.main", "main.web", 80) == "hello"
        assert await world.hears("friend.main", six, 80) == "hello"
        await world.up("hopeful.main", Network(reach=(parse_reach("web/main:81"), parse_reach("nobody/main:80"))))
        assert await world.hears("hopeful.main", four, 80) == ""

    run(scenario)


def test_services_of_one_app_know_each_other_by_name(run: Run) -> None:
    async def scenario(world: World) -> None:
        await world.up("app.one", Network(), serves(7000, "one"), siblings=("two",))
        await world.up("app.two", Network(), serves(7001, "two"), siblings=("one",))
        assert await world.hears("app.two", "one", 7000) == "one"
        assert await world.hears("app.one", "two", 7001) == "two"
        assert await world.hears("app.two", world.addresses("app.one")[1], 7000) == "one"
        assert await world.hears("app.one", "one", 7000) == "one"

    run(scenario)


@ON_EACH
def test_published_ports(run: Run, site: Site) -> None:
    async def scenario(world: World) -> None:
        network = Network(ports=(PublishedPort(8080, 80), PublishedPort(8081, 80, host_ip="127.0.0.1")))
        await world.up("web.main", network, serves(80, "hello"))
        with site.from_peer():
            assert ask(GATEWAY[0], 8080) == "hello"
            assert ask(GATEWAY[1], 8080) == "hello"
            assert ask(GATEWAY[0], 8081) == ""
        for address in ("127.0.0.1", *GATEWAY):
            assert ask(address, 8080) == "hello", address
        assert ask("::1", 8080) == ""
        assert ask("127.0.0.1", 8081) == "hello"
        await world.up("other.main", egress("gateway:8080"))
        await world.up("closed.main", egress("any"))
        assert await world.hears("other.main", GATEWAY[0], 8080) == "hello"
        assert await world.hears("other.main", "gateway", 8080) == "hello"
        assert await world.hears("other.main", GATEWAY[1], 8080) == "hello"
        assert await world.hears("closed.main", GATEWAY[0], 8080) == ""

    run(scenario)


def test_a_service_reaches_itself_through_the_gateway(run: Run) -> None:
    async def scenario(world: World) -> None:
        network = Network(ports=(PublishedPort(8080, 80),), egress=(parse_destination("gateway:8080"),))
        await world.up("web.main", network, serves(80, "hello"))
        assert await world.hears("web.main", "gateway", 8080) == "hello"
        assert await world.hears("web.main", GATEWAY[1], 8080) == "hello"

    run(scenario)


def test_udp(run: Run, site: Site) -> None:
    async def scenario(world: World) -> None:
        network = Network(ports=(PublishedPort(5353, 53, "udp"),), egress=(parse_destination(f"{PEER[0]}:53/udp"),))
        await world.up("dns.main", network)
        inside = world.namespace("dns.main")
        with listens(inside, 53, udp=True):
            with site.from_peer():
                assert [ask(address, 5353, udp=True) for address in GATEWAY] == [f"saw {address}" for address in PEER]
            assert ask("127.0.0.1", 5353, udp=True) == "saw 10.99.0.1"
        with site.peer_listens(53, udp=True), site.peer_listens(54, udp=True), netns.entered(inside):
            assert ask(PEER[0], 53, udp=True) == f"saw {GATEWAY[0]}"
            assert ask(PEER[0], 54, udp=True) == ""
            assert ask(PEER[1], 53, udp=True) == ""

    run(scenario)


def test_egress_by_address_network_and_name(run: Run, site: Site) -> None:
    async def scenario(world: World) -> None:
        await world.up("none.main", Network())
        await world.up("address.main", egress(f"{PEER[0]}:9", f"[{PEER[1]}]:9"))
        await world.up("network.main", egress("192.0.2.0/24"))
        await world.up("name.main", egress("peer.test:9"))
        await world.up("any.main", egress("any"))
        with site.peer_listens(9), site.peer_listens(10):
            for name in ("none", "address", "network", "name", "any"):
                heard = [await world.hears(f"{name}.main", address, 9) for address in PEER]
                wanted = {"none": ["", ""], "network": [f"saw {GATEWAY[0]}", ""]}
                assert heard == wanted.get(name, [f"saw {address}" for address in GATEWAY]), name
            assert await world.hears("name.main", "peer.test", 9) == f"saw {GATEWAY[0]}"
            assert await world.hears("address.main", PEER[0], 10) == ""
            assert await world.hears("name.main", PEER[0], 10) == ""
        assert "nameserver" not in await world.said("name.main", "cat /etc/resolv.conf")

    run(scenario)


def test_a_name_that_moves_is_followed(run: Run, site: Site, names: dict[str, Sequence[str]]) -> None:
    async def scenario(world: World) -> None:
        site.add_peer_address("192.0.2.3/24")
        await world.up("app.main", egress("peer.test:9", "later.test:9"))
        with site.peer_listens(9):
            assert await world.hears("app.main", "192.0.2.3", 9) == ""
            assert await world.hears("app.main", "later.test", 9) == ""
            names["later.test"] = ["192.0.2.3"]
            await world.networks.follow_names(time.monotonic() + REFRESH_S)
            assert await world.hears("app.main", "later.test", 9) == f"saw {GATEWAY[0]}"

    run(scenario)


def test_an_app_cannot_take_anothers_address(run: Run, site: Site) -> None:
    async def scenario(world: World) -> None:
        await world.up("good.main", egress("any"))
        await world.up("bad.main", Network())
        good, _ = world.addresses("good.main")
        with netns.entered(world.namespace("bad.main")):
            ip("address", "add", f"{good}/32", "dev", "eth0")
        with site.peer_listens(9):
            assert await world.hears("bad.main", PEER[0], 9, "-s", good) == ""
            assert await world.hears("good.main", PEER[0], 9) == f"saw {GATEWAY[0]}"

    run(scenario)


def test_the_gateway_is_no_router_for_others_and_no_way_in(run: Run, site: Site) -> None:
    async def scenario(world: World) -> None:
        await world.up("web.main", WEB, serves(80, "hello"))
        address, _ = world.addresses("web.main")
        with site.from_peer():
            ip("route", "add", "10.99.0.0/16", "via", GATEWAY[0])
            assert ask(address, 80) == ""
            ip("route", "del", "10.99.0.0/16")
        assert ask(address, 80) == "hello"  # the gateway itself may

    run(scenario)


def test_whatever_somebody_removes_comes_back(run: Run, site: Site) -> None:
    async def scenario(world: World) -> None:
        await world.up("web.main", WEB, serves(80, "hello"))
        await world.up("client.main", egress(f"{PEER[0]}:9"))
        await world.networks.check()
        before = [status.pid for status in await world.engine.list()]
        link = next(name for name in interfaces() if name.startswith("fg"))
        for damage in (
            ["nft", "flush", "ruleset"],
            ["nft", "flush", "chain", "inet", next(iter(ruleset().split("table inet ")[1:])).split()[0], "from_apps"],
            ["ip", "route", "flush", "dev", link],
            ["sysctl", "-qw", "net.ipv4.ip_forward=0", "net.ipv6.conf.all.forwarding=0"],
            ["ip", "link", "set", link, "down"],
            ["ip", "link", "delete", link],
        ):
            subprocess.run(damage, check=True)
            await world.networks.check()
            with site.from_peer():
                assert ask(GATEWAY[0], 8080) == "hello", damage
                assert ask(GATEWAY[1], 8080) == "hello", damage
            with site.peer_listens(9):
                assert await world.hears("client.main", PEER[0], 9) == f"saw {GATEWAY[0]}", damage
                assert await world.hears("client.main", world.addresses("web.main")[0], 80) == ""
            await world.networks.check()
        assert [status.pid for status in await world.engine.list()] == before

    run(scenario)


@ON_EACH
def test_another_agent_takes_over(run: Run, site: Site) -> None:
    async def scenario(world: World) -> None:
        await world.up("web.main", WEB, serves(80, "hello"))
        addresses = world.addresses("web.main")
        await world.engine.close()
        await world.networks.close()
        world.open_parts()  # as after SIGKILL: nothing of the first one's memory is left
        with site.from_peer():
            assert ask(GATEWAY[0], 8080) == "hello"
        await world.open()
        await world.networks.check()
        await world.engine.kill("web.main.1")
        await world.up("web.main", WEB, serves(80, "again"), generation=2)
        assert world.addresses("web.main") == addresses
        with site.from_peer():
            assert ask(GATEWAY[0], 8080) == "again"

    run(scenario)


def test_nothing_is_left_of_what_nobody_needs(run: Run) -> None:
    async def scenario(world: World) -> None:
        await world.up("web.main", WEB, serves(80, "hello"))
        await world.up("old.main", egress("any"))
        world.networks.keep_only({("web", "main")}, {"old"})
        await world.networks.check()
        assert set(world.networks.links()) == {"web.main", "old.main"}
        await world.engine.remove("old.main.1")
        world.networks.keep_only({("web", "main")})
        await world.networks.check()
        assert set(world.networks.links()) == {"web.main"}
        assert [path.name for path in (world.directory / "network").iterdir() if path.is_dir()] == ["web.main"]
        assert len([name for name in interfaces() if name.startswith("fg")]) == 1
        assert "egress_" not in ruleset()
        await world.networks.check()

    run(scenario)


def test_a_port_has_one_owner(run: Run) -> None:
    async def scenario(world: World) -> None:
        await world.up("web.main", WEB, serves(80, "hello"))
        with pytest.raises(Conflict, match=r"cannot publish port 8080/tcp for b/main: web/main publishes 8080/tcp"):
            await world.up("b.main", WEB)
        with listening(9090), pytest.raises(Conflict, match="a program on the gateway has it"):
            await world.up("c.main", Network(ports=(PublishedPort(9090, 80),)))
        assert set(world.networks.links()) == {"web.main"}
        assert [status.id for status in await world.engine.list()] == ["web.main.1"]

    run(scenario)


def test_a_range_that_is_in_use_is_named(run: Run) -> None:
    async def scenario(world: World) -> None:
        ip("route", "add", "10.99.128.0/24", "via", PEER[0])
        with pytest.raises(Conflict, match=r"10\.99\.0\.0/16 is in use: lan0 has the route 10\.99\.128\.0/24"):
            await world.up("a.main", Network())
        assert await world.engine.list() == []

    run(scenario)
