"""What the kernel has of our links, read from /proc in a moment: our routes, and what others use of our ranges.

Sources: proc_net(5); ipv6_route as net/ipv6/route.c prints it.
"""

from __future__ import annotations

import contextlib
import ipaddress
import sys
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from gateway.network.layout import Layout, Link

_REJECTED = 0x0200
"""RTF_REJECT."""


@dataclass(frozen=True, slots=True)
class Route:
    interface: str
    network: ipaddress.IPv4Network | ipaddress.IPv6Network


def read_routes() -> list[Route]:
    """Of this namespace's main table."""
    four, six = _texts()
    return [*routes4(four), *routes6(six)]


def _texts() -> list[str]:
    texts = ["", ""]
    for index, name in enumerate(("route", "ipv6_route")):
        with contextlib.suppress(OSError):
            texts[index] = Path("/proc/thread-self/net", name).read_text()
    return texts


def routes4(text: str) -> Iterable[Route]:
    """/proc/net/route: addresses as they lie in this machine's memory."""
    for line in text.splitlines()[1:]:
        fields = line.split()
        if len(fields) >= 8 and not int(fields[3], 16) & _REJECTED:
            address, mask = (int(fields[index], 16).to_bytes(4, sys.byteorder) for index in (1, 7))
            length = int.from_bytes(mask, "big").bit_count()
            yield Route(fields[0], ipaddress.IPv4Network((address, length), strict=False))


def routes6(text: str) -> Iterable[Route]:
    """/proc/net/ipv6_route."""
    for line in text.splitlines():
        fields = line.split()
        if len(fields) >= 10 and not int(fields[8], 16) & _REJECTED:
            yield Route(fields[9], ipaddress.IPv6Network((bytes.fromhex(fields[0]), int(fields[1], 16)), strict=False))


def missing(layout: Layout, links: Iterable[Link], routes: Iterable[Route]) -> list[Link]:
    """Links that have lost a route: with its interface, an address or a flag goes the route."""
    there = {(route.interface, str(route.network.network_address)) for route in routes}
    return [
        link
        for link in links
        if any((layout.interface(link.slot), address) not in there for address in layout.addresses(link.slot))
    ]


def clash(layout: Layout, routes: Iterable[Route]) -> str:
    """Somebody else's route into our ranges, named; empty when there is none."""
    for route in routes:
        own = layout.range4 if route.network.version == 4 else layout.range6
        if own is None or route.network.prefixlen == 0 or route.interface.startswith(layout.prefix):
            continue
        if own.overlaps(route.network):
            return f"{own} is in use: {route.interface} has the route {route.network}"
    return ""


def forwards(family: str) -> bool:
    """Whether the kernel passes packets on, of `ipv4` or `ipv6`."""
    name = "ip_forward" if family == "ipv4" else "conf/all/forwarding"
    with contextlib.suppress(OSError):
        return Path("/proc/sys/net", family, name).read_text().strip() != "0"
    return False


def default_metrics() -> dict[str, frozenset[int]]:
    """Interface -> the metrics of its default routes, IPv4 and IPv6."""
    texts = _texts()
    found: dict[str, set[int]] = defaultdict(set)
    for name, metric in (*_defaults4(texts[0]), *_defaults6(texts[1])):
        found[name].add(metric)
    return {name: frozenset(metrics) for name, metrics in found.items()}


def _defaults4(text: str) -> Iterable[tuple[str, int]]:
    for line in text.splitlines()[1:]:
        fields = line.split()
        if len(fields) >= 8 and fields[1] == fields[7] == "00000000" and not int(fields[3], 16) & _REJECTED:
            yield fields[0], int(fields[6])


def _defaults6(text: str) -> Iterable[tuple[str, int]]:
    for line in text.splitlines():
        fields = line.split()
        if len(fields) >= 10 and int(fields[0], 16) == int(fields[1], 16) == 0 and not int(fields[8], 16) & _REJECTED:
            yield fields[9], int(fields[5], 16)
