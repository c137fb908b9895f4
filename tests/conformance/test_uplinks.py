"""Failover between two uplinks on real interfaces and routes, in network namespaces of the test."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.host import netns
from gateway.model.profile import Uplink
from gateway.network.uplinks import FAILED_METRIC, STEADY_S, Uplinks
from tests.site.networks import PEER, Site, ip

MODEM = ("198.51.100.2", "2001:db8:1::2")
FAR = ("203.0.113.9", "2001:db8:9::9")


@pytest.fixture
def modem() -> Iterator[Path]:
    """The gateway has lan0 and wwan0, both with default routes; wwan0 leads to this namespace."""
    with Site() as site:
        pin = site.directory / "modem"
        netns.pin_new(pin)
        try:
            ip("link", "add", "wwan0", "type", "veth", "peer", "name", "eth0", "netns", str(pin))
            with netns.entered(pin):
                ip("link", "set", "eth0", "up")
            ip("address", "add", "198.51.100.1/24", "dev", "wwan0")
            ip("address", "add", "2001:db8:1::1/64", "dev", "wwan0", "nodad")
            ip("link", "set", "wwan0", "up")
            for interface, metric, *routers in (("lan0", "0", *PEER), ("wwan0", "100", *MODEM)):
                for router in routers:
                    ip("route", "add", "default", "via", router, "dev", interface, "metric", metric)
            yield pin
        finally:
            netns.unpin(pin)


def way_out() -> list[str]:
    """By which interface the kernel would send now, IPv4 and IPv6."""
    return [ip("route", "get", address).split(" dev ")[1].split()[0] for address in FAR]


def metrics(interface: str) -> set[int]:
    routes = ip("route", "show", "default", "dev", interface) + ip("-6", "route", "show", "default", "dev", interface)
    return {int(line.split("metric ")[1].split()[0]) for line in routes.splitlines() if "metric" in line}


def test_the_preferred_uplink_fails_and_comes_back(modem: Path) -> None:
    uplinks = Uplinks([Uplink("wwan0", "cellular", True), Uplink("lan0", "ethernet")])

    async def scenario() -> None:
        part = asyncio.create_task(uplinks.run())
        await asyncio.sleep(1)
        assert way_out() == ["wwan0", "wwan0"], "the first of the order, though its metric was the higher one"
        part.cancel()
        await asyncio.gather(part, return_exceptions=True)

        with netns.entered(modem):
            ip("link", "set", "eth0", "down")
        now = 1e9
        await uplinks.check(now)
        assert way_out() == ["lan0", "lan0"]
        assert {metric >= FAILED_METRIC for metric in metrics("wwan0")} <= {True}
        assert [(entry["up"], entry["in_use"]) for entry in uplinks.status()] == [(False, False), (True, True)]

        with netns.entered(modem):
            ip("link", "set", "eth0", "up")
        ip("route", "add", "default", "via", MODEM[0], "dev", "wwan0", "metric", "100")  # DHCP again
        await uplinks.check(now + 1)
        assert way_out()[0] == "lan0", "not yet"
        await uplinks.check(now + 1 + STEADY_S)
        assert way_out()[0] == "wwan0"
        assert len(metrics("wwan0")) == 1
        await uplinks._worker.close()

    asyncio.run(scenario())
    assert "default" in subprocess.run(["ip", "route"], check=True, capture_output=True, text=True).stdout
