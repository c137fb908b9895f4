"""What a service with a network of its own may reach, and what reaches it: the words and their text forms. Pure.

Written in manifests (`ports`, `expose`, `x-esdk.network`) and in the firmware profile's caps (docs/networks.md); read
by `network/`, the engines and `trust/caps.py`. Parsing functions raise ValueError with what is wrong.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

ANY: Final = "any"
"""Everything beyond the gateway."""
GATEWAY: Final = "gateway"
"""The gateway itself, and its name inside every container with a network."""
PROTOCOLS: Final = ("tcp", "udp")
_NAME: Final = re.compile(r"(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?)*")
_DESTINATION: Final = re.compile(
    r"(?P<host>\[[0-9a-fA-F:.]+\](/[0-9]{1,3})?|[^:/\[\]\s]+(/[0-9]{1,2})?)"
    r"(:(?P<first>[0-9]{1,5})(-(?P<last>[0-9]{1,5}))?)?(/(?P<protocol>tcp|udp))?"
)
_REACH: Final = re.compile(
    r"(?P<app>[a-z0-9][a-z0-9_-]{0,62})/(?P<service>[a-z0-9][a-z0-9_-]{0,62}):(?P<port>[0-9]{1,5})(/(?P<protocol>tcp|udp))?"
)
_PORTS: Final = re.compile(r"(?P<first>[0-9]{1,5})(-(?P<last>[0-9]{1,5}))?(/(?P<protocol>tcp|udp))?")


@dataclass(frozen=True, slots=True)
class PublishedPort:
    """`published` of the gateway leads to `target` in the container."""

    published: int
    target: int
    protocol: str = "tcp"
    host_ip: str = ""
    """An address of the gateway; empty: every one of them."""

    def clashes(self, other: PublishedPort) -> bool:
        """Both cannot be published on one gateway."""
        same = (self.published, self.protocol) == (other.published, other.protocol)
        return same and (self.host_ip == other.host_ip or not (self.host_ip and other.host_ip))

    def __str__(self) -> str:
        at = f"[{self.host_ip}]:" if ":" in self.host_ip else f"{self.host_ip}:" if self.host_ip else ""
        return f"{at}{self.published}/{self.protocol}"


@dataclass(frozen=True, slots=True)
class Ports:
    """A range of ports, both ends included; an empty `protocol` is each of them."""

    first: int
    last: int
    protocol: str = ""

    def covers(self, port: int, protocol: str) -> bool:
        return self.first <= port <= self.last and self.protocol in ("", protocol)


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a service may connect to: `HOST[:PORT[-PORT]][/tcp|udp]`."""

    host: str
    """`any`, `gateway`, an address, a network such as `192.0.2.0/24`, or a name."""
    ports: Ports | None = None
    """None: every port and every protocol."""

    @property
    def is_name(self) -> bool:
        """Its addresses have to be looked up."""
        return self.host not in (ANY, GATEWAY) and network_of(self.host) is None

    def covers(self, wanted: Destination) -> bool:
        """Whether whoever may reach this may reach all of `wanted`."""
        if self.ports is not None and (wanted.ports is None or not _within(wanted.ports, self.ports)):
            return False
        if self.host == wanted.host or (self.host == ANY and wanted.host != GATEWAY):
            return True
        outer, inner = network_of(self.host), network_of(wanted.host)
        if isinstance(outer, ipaddress.IPv4Network) and isinstance(inner, ipaddress.IPv4Network):
            return inner.subnet_of(outer)
        if isinstance(outer, ipaddress.IPv6Network) and isinstance(inner, ipaddress.IPv6Network):
            return inner.subnet_of(outer)
        return False

    def __str__(self) -> str:
        host, slash, bits = self.host.partition("/")
        text = f"[{host}]{slash}{bits}" if ":" in host and self.ports else self.host
        if self.ports is None:
            return text
        if (self.ports.first, self.ports.last) != (0, 65535):
            text += f":{self.ports.first}" + (f"-{self.ports.last}" if self.ports.last != self.ports.first else "")
        return f"{text}/{self.ports.protocol}" if self.ports.protocol else text


@dataclass(frozen=True, slots=True)
class Reach:
    """One port of a service of another APP, which must expose it: `APP/SERVICE:PORT[/tcp|udp]`."""

    app: str
    service: str
    port: int
    protocol: str = "tcp"

    def __str__(self) -> str:
        return f"{self.app}/{self.service}:{self.port}/{self.protocol}"


@dataclass(frozen=True, slots=True)
class Network:
    """A network of its own: routed, with an address that stays, closed except for what stands here."""

    ports: tuple[PublishedPort, ...] = ()
    expose: tuple[Ports, ...] = ()
    """What services of other APPs may be allowed to reach."""
    egress: tuple[Destination, ...] = ()
    reach: tuple[Reach, ...] = ()
    dns: tuple[str, ...] = ()
    """Addresses of name servers, which it may then ask."""
    extra_hosts: dict[str, str] = field(default_factory=dict)
    """Name -> address, or `host-gateway`."""

    def exposes(self, port: int, protocol: str) -> bool:
        """Published ports are exposed, too."""
        published = any((entry.target, entry.protocol) == (port, protocol) for entry in self.ports)
        return published or any(entry.covers(port, protocol) for entry in self.expose)


@dataclass(frozen=True, slots=True)
class Attachment:
    """The network that was made for a service: the same for all its generations, and after a crash still there."""

    namespace: Path
    """The pinned network namespace (a bind mount of an nsfs file in the agent's mount namespace)."""
    hosts: Path
    """To be /etc/hosts in the container; rewritten in place."""
    resolv_conf: Path
    """To be /etc/resolv.conf in the container."""


def network_of(host: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    """`host` as a network (an address is one of its own); None when it is a word or a name."""
    try:
        return ipaddress.ip_network(host)
    except ValueError:
        return None


def parse_destination(text: str) -> Destination:
    """`mqtt.example.com:8883/tcp`, `192.0.2.0/24`, `[2001:db8::1]:443`, `any`. A port alone is a TCP port."""
    if (whole := network_of(text)) is not None:
        return Destination(_plain(whole))
    match = _DESTINATION.fullmatch(text)
    if match is None:
        raise ValueError(
            f"{text[:80]!a} must be HOST[:PORT[-PORT]][/tcp|udp]; HOST: any, gateway, a name or an address"
        )
    host = _host(match["host"])
    if match["first"] is None:
        return Destination(host, Ports(0, 65535, match["protocol"]) if match["protocol"] else None)
    first = _port(match["first"])
    last = _port(match["last"] or match["first"])
    if last < first:
        raise ValueError(f"{text[:80]!a}: the last port is below the first")
    return Destination(host, Ports(first, last, match["protocol"] or "tcp"))


def parse_reach(text: str) -> Reach:
    """`other-app/service:8080/tcp`."""
    match = _REACH.fullmatch(text)
    if match is None:
        raise ValueError(f"{text[:80]!a} must be APP/SERVICE:PORT[/tcp|udp]")
    return Reach(match["app"], match["service"], _port(match["port"]), match["protocol"] or "tcp")


def parse_ports(text: str) -> Ports:
    """`8080`, `8000-8099`, `5353/udp`; without a protocol it is each of them."""
    match = _PORTS.fullmatch(text)
    if match is None:
        raise ValueError(f"{text[:80]!a} must be PORT[-PORT][/tcp|udp]")
    ports = Ports(_port(match["first"]), _port(match["last"] or match["first"]), match["protocol"] or "")
    if ports.last < ports.first:
        raise ValueError(f"{text[:80]!a}: the last port is below the first")
    return ports


def _host(text: str) -> str:
    if text in (ANY, GATEWAY):
        return text
    try:
        return _plain(ipaddress.ip_network(text.replace("[", "").replace("]", "")))
    except ValueError:
        if "/" in text or "[" in text or re.fullmatch(r"[0-9.]+", text):
            raise ValueError(f"{text[:80]!a} is not an address or network (whose host bits must be 0)") from None
    if not _NAME.fullmatch(text):
        raise ValueError(f"{text[:80]!a} is not a host name (lower case, no wildcards)")
    return text


def _plain(network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> str:
    """An address without its prefix length."""
    return str(network.network_address) if network.prefixlen == network.max_prefixlen else str(network)


def _port(text: str) -> int:
    if not 1 <= int(text) <= 65535:
        raise ValueError(f"{text} is not a port: 1 to 65535")
    return int(text)


def _within(inner: Ports, outer: Ports) -> bool:
    return outer.first <= inner.first and inner.last <= outer.last and outer.protocol in ("", inner.protocol)
