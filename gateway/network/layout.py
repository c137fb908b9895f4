"""Addresses and names that follow from a link's slot. Pure.

Slot 1 is the gateway, the same address on every link; a service has a slot from 2 on (`ipam.py`).
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Final

from gateway.model.network import Network
from gateway.model.profile import NetworkRange

GATEWAY_SLOT: Final = 1
FIRST_SLOT: Final = 2
INSIDE: Final = "eth0"
"""What a link is called inside its container."""


@dataclass(frozen=True, slots=True)
class Link:
    """The network of one service: wanted as it stands here."""

    app: str
    service: str
    slot: int
    network: Network
    siblings: tuple[str, ...] = ()
    """The other services of the APP: it knows them by name, also before they run."""

    @property
    def key(self) -> str:
        return key(self.app, self.service)


def key(app: str, service: str) -> str:
    """`{app}.{service}`: names have no dots."""
    return f"{app}.{service}"


class Layout:
    """`instance` tells apart agents that share one machine; empty for the one that a gateway has."""

    def __init__(self, ranges: NetworkRange, instance: str = "", *, ipv6: bool = True) -> None:
        """`ipv6`: False where the kernel has none."""
        self.range4 = ipaddress.IPv4Network(ranges.ipv4)
        self.range6 = ipaddress.IPv6Network(ranges.ipv6) if ranges.ipv6 and ipv6 else None
        self.prefix = f"fg{instance}-"
        """Of every interface on the gateway's side."""
        self.table = f"fieldgate_{instance}" if instance else "fieldgate"

    @property
    def slots(self) -> int:
        """How many there are, the gateway's included; the last address is a broadcast address to some."""
        return min(self.range4.num_addresses - 2, 65_534)

    def interface(self, slot: int) -> str:
        """At most 15 characters: `fg-2`, `fg1a2b-65535`."""
        return f"{self.prefix}{slot}"

    def ipv4(self, slot: int) -> str:
        return str(self.range4.network_address + slot)

    def ipv6(self, slot: int) -> str:
        """Empty when there is no IPv6."""
        return str(self.range6.network_address + slot) if self.range6 else ""

    def addresses(self, slot: int) -> list[str]:
        return [address for address in (self.ipv4(slot), self.ipv6(slot)) if address]
