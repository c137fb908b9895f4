"""What the kernel has: /proc/net/route, /proc/net/ipv6_route, the ruleset's generation."""

from __future__ import annotations

import struct
import sys

import pytest

from gateway.host.nftgeneration import parse
from gateway.model.network import Network
from gateway.model.profile import NetworkRange
from gateway.network.layout import Layout, Link
from gateway.network.present import Route, clash, missing, routes4, routes6

LAYOUT = Layout(NetworkRange())
LINK = Link("a", "x", 2, Network())


def word(address: str) -> str:
    """As the kernel prints it: the four bytes as one number of this machine."""
    return f"{int.from_bytes(bytes(int(part) for part in address.split('.')), sys.byteorder):08X}"


def route4(*rows: tuple[str, str, str]) -> list[Route]:
    lines = ["Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT"]
    lines += [f"{name}\t{word(to)}\t00000000\t0001\t0\t0\t0\t{word(mask)}\t0\t0\t0" for name, to, mask in rows]
    return list(routes4("\n".join(lines) + "\n"))


ROUTE6 = (
    "fd677761790000000000000000000002 80 00000000000000000000000000000000 00 00000000000000000000000000000000 "
    "00000400 00000001 00000000 00000001     fg-2\n"
    "00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 "
    "ffffffff 00000001 00000000 00200200       lo\n"
)


def test_a_link_is_there_when_both_its_routes_are() -> None:
    four, six = route4(("fg-2", "10.99.0.2", "255.255.255.255")), list(routes6(ROUTE6))
    assert [route.interface for route in six] == ["fg-2"]
    assert missing(LAYOUT, [LINK], [*four, *six]) == []
    assert missing(LAYOUT, [LINK], four) == missing(LAYOUT, [LINK], six) == [LINK]
    assert missing(LAYOUT, [LINK], [*route4(("eth0", "10.99.0.2", "255.255.255.255")), *six]) == [LINK]


@pytest.mark.parametrize(
    ("row", "named"),
    [
        (("eth0", "10.99.3.0", "255.255.255.0"), "10.99.0.0/16 is in use: eth0 has the route 10.99.3.0/24"),
        (("tun0", "10.0.0.0", "255.0.0.0"), "10.99.0.0/16 is in use: tun0 has the route 10.0.0.0/8"),
        (("fg1a2b-2", "10.99.0.2", "255.255.255.255"), "fg1a2b-2 has the route 10.99.0.2/32"),
        (("fg-2", "10.99.0.2", "255.255.255.255"), ""),
        (("eth0", "0.0.0.0", "0.0.0.0"), ""),
        (("eth0", "192.0.2.0", "255.255.255.0"), ""),
    ],
)
def test_a_clash_is_named(row: tuple[str, str, str], named: str) -> None:
    found = clash(LAYOUT, route4(row))
    assert named in found if named else found == ""


def test_the_generation_is_read() -> None:
    def answer(kind: int, *attributes: bytes) -> bytes:
        body = struct.pack("=BBH", 0, 0, 0) + b"".join(attributes)
        return struct.pack("=IHHII", 16 + len(body), kind, 0, 1, 0) + body

    name = struct.pack("=HH", 8, 3) + b"nft\0"
    number = struct.pack("=HH", 8, 1) + (77).to_bytes(4, "big")
    assert parse(answer(0x0A0F, name, number)) == 77
    assert parse(answer(0x0A0F, name)) is None
    assert parse(answer(2, number)) is None
