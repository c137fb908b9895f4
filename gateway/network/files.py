"""The text of /etc/hosts and /etc/resolv.conf of a container. Pure.

Names that a service may reach stand in its hosts file, with the addresses that its rules let through: it needs no name
server for them, and both can never differ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from gateway.model.network import GATEWAY
from gateway.network.layout import GATEWAY_SLOT, Layout, Link, key

_LOOPBACK: Final = ("127.", "::1")
HOST_GATEWAY: Final = "host-gateway"


def hosts(
    layout: Layout,
    link: Link,
    slots: Mapping[str, int],
    links: Mapping[str, Link],
    addresses: Mapping[str, Sequence[str]],
) -> str:
    """`slots`: of all services, at least of the link's APP; `links`: those that exist; `addresses`: by name."""
    lines = ["127.0.0.1 localhost", "::1 localhost"]
    there = [other.service for other in links.values() if other.app == link.app]
    for service in dict.fromkeys((link.service, *link.siblings, *there)):
        lines += _lines(layout.addresses(slots[key(link.app, service)]), service)
    lines += _lines(layout.addresses(GATEWAY_SLOT), GATEWAY)
    for reach in dict.fromkeys((entry.app, entry.service) for entry in link.network.reach):
        if (other := links.get(key(*reach))) is not None:
            lines += _lines(layout.addresses(other.slot), f"{other.service}.{other.app}")
    for name in dict.fromkeys(entry.host for entry in link.network.egress if entry.is_name):
        lines += _lines(addresses.get(name, ()), name)
    for name, address in link.network.extra_hosts.items():
        lines += _lines(layout.addresses(GATEWAY_SLOT) if address == HOST_GATEWAY else [address], name)
    return "".join(f"{line}\n" for line in lines)


def _lines(addresses: Sequence[str], name: str) -> list[str]:
    return [f"{address} {name}" for address in addresses]


def resolv_conf(servers: Sequence[str]) -> str:
    """Without a server, names are found in /etc/hosts only."""
    lines = [f"nameserver {server}\n" for server in servers]
    return "".join(lines) or "# no name server: what x-esdk.network.egress names stands in /etc/hosts\n"


def name_servers(*texts: str) -> tuple[str, ...]:
    """Of the first resolv.conf that names one which is not on this machine's loopback: at most three."""
    for text in texts:
        words = [line.split() for line in text.splitlines()]
        servers = [word[1].partition("%")[0] for word in words if len(word) > 1 and word[0] == "nameserver"]
        if usable := [server for server in servers if not server.startswith(_LOOPBACK)]:
            return tuple(usable[:3])
    return ()
