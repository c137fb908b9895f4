"""The keys of a service that concern its network: `ports`, `expose`, `dns`, `extra_hosts`, `x-esdk.network`.

Short forms become long ones here, ranges become single ports. Sources: Compose Specification, docs/networks.md.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field

from gateway.documents.checks import Model, Path, faults
from gateway.model import network

MAX_PORTS: Final = 64
HOST_GATEWAY: Final = "host-gateway"
_SHORT: Final = re.compile(
    r"((?P<ip>\[[0-9a-fA-F:.]+\]|[0-9]+\.[0-9.]+):)?((?P<published>[0-9-]+):)?(?P<target>[0-9-]+)(/(?P<protocol>tcp|udp))?"
)
_HOST_NAME: Final = re.compile(r"(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9])?(\.[A-Za-z0-9_-]+)*")

T = TypeVar("T")


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ValueError(f"{text[:80]!a} is not an IP address") from None


class Port(Model):
    target: Annotated[int, Field(ge=1, le=65535)]
    published: Annotated[int, Field(ge=1, le=65535)]
    protocol: Literal["tcp", "udp"] = "tcp"
    host_ip: Annotated[str, AfterValidator(lambda text: _address(text) if text else "")] = ""
    mode: Literal["ingress", "host"] = "ingress"
    """The same on one machine."""

    def build(self) -> network.PublishedPort:
        return network.PublishedPort(self.published, self.target, self.protocol, self.host_ip)


class EsdkNetwork(Model):
    egress: Annotated[list[str], Field(max_length=64)] = []
    reach: Annotated[list[str], Field(max_length=64)] = []


def parse_each(entries: list[str], parse: Callable[[str], T], where: Path) -> tuple[T, ...]:
    """All of them; every fault is told, at `where` and its index."""
    found: list[tuple[Path, str]] = []
    parsed: list[T] = []
    for index, entry in enumerate(entries):
        try:
            parsed.append(parse(entry))
        except ValueError as failure:
            found.append(((*where, index), str(failure)))
    if found:
        raise faults(found)
    return tuple(dict.fromkeys(parsed))


def ports(value: Any) -> Any:
    """Each entry in long form, with one published port each."""
    return _expanded(value, _long_forms)


def expose(value: Any) -> Any:
    """Each entry as text: YAML makes a number of a lone port."""
    return _expanded(value, lambda entry: iter([str(entry) if isinstance(entry, int) else entry]))


def one_or_more_addresses(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def extra_hosts(value: Any) -> Any:
    """List of `NAME:ADDRESS` or `NAME=ADDRESS`, or a mapping, to a mapping."""
    if not isinstance(value, list):
        return value
    mapping: dict[str, str] = {}
    for index, entry in enumerate(value):
        match = re.fullmatch(r"([^:=]+)[:=](.+)", entry) if isinstance(entry, str) else None
        if match is None:
            raise faults([((index,), 'must be a string such as "name:192.0.2.1"')])
        mapping[match[1]] = match[2]
    return mapping


def checked_hosts(mapping: dict[str, str]) -> dict[str, str]:
    found: list[tuple[Path, str]] = []
    hosts: dict[str, str] = {}
    for name, address in mapping.items():
        try:
            hosts[name] = address if address == HOST_GATEWAY else _address(address.strip("[]"))
        except ValueError as failure:
            found.append(((name,), f"{failure}, nor is it {HOST_GATEWAY}"))
        if not _HOST_NAME.fullmatch(name):
            found.append(((name,), "is not a host name"))
    if found:
        raise faults(found)
    return hosts


def _expanded(value: Any, expand: Callable[[Any], Iterator[Any]]) -> Any:
    if not isinstance(value, list):
        return value
    entries: list[Any] = []
    found: list[tuple[Path, str]] = []
    for index, entry in enumerate(value):
        try:
            entries.extend(expand(entry))
        except ValueError as failure:
            found.append(((index,), str(failure)))
    if found:
        raise faults(found)
    return entries


def _long_forms(entry: Any) -> Iterator[Any]:
    if isinstance(entry, dict):
        yield entry | {"published": int(entry["published"])} if _is_number(entry.get("published")) else entry
        return
    match = _SHORT.fullmatch(str(entry)) if isinstance(entry, (str, int)) and not isinstance(entry, bool) else None
    if match is None:
        raise ValueError(f"{str(entry)[:80]!a} must be [ADDRESS:]PUBLISHED:TARGET[/tcp|udp]")
    if match["published"] is None:
        raise ValueError(f"{str(entry)[:80]!a} names no port of the gateway: write PUBLISHED:TARGET")
    published, target = network.parse_ports(match["published"]), network.parse_ports(match["target"])
    if published.last - published.first != target.last - target.first:
        raise ValueError(f"{str(entry)[:80]!a}: both ranges must have the same length")
    if target.last - target.first >= MAX_PORTS:
        raise ValueError(f"{str(entry)[:80]!a}: at most {MAX_PORTS} ports")
    for offset in range(target.last - target.first + 1):
        yield {
            "target": target.first + offset, "published": published.first + offset,
            "protocol": match["protocol"] or "tcp", "host_ip": (match["ip"] or "").strip("[]"),
        }  # fmt: skip


def _is_number(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[0-9]{1,5}", value) is not None


PortList = Annotated[list[Port], BeforeValidator(ports), Field(max_length=MAX_PORTS)]
ExposeList = Annotated[list[str], BeforeValidator(expose), Field(max_length=MAX_PORTS)]
DnsList = Annotated[
    list[Annotated[str, AfterValidator(_address)]], BeforeValidator(one_or_more_addresses), Field(max_length=3)
]
Hosts = Annotated[dict[str, str], BeforeValidator(extra_hosts), AfterValidator(checked_hosts), Field(max_length=64)]
