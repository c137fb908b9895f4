"""Links in the kernel: a veth pair, its addresses and its routes, by pyroute2's message classes.

Only pyroute2's encoders are used, and its package is entered without running its `__init__`, which imports all of it:
that takes 4 times as long and 6 times the memory (docs/decisions/0009). Messages go out in one batch per namespace.
Used by the network worker only. Source: rtnetlink(7), veth(4).
"""

from __future__ import annotations

import importlib.util
import os
import socket
import struct
import sys
import types
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gateway.errors import NotSupported
from gateway.host import netns
from gateway.network.layout import INSIDE

_NEWLINK, _DELLINK, _NEWADDR, _NEWROUTE = 16, 17, 20, 24
_REQUEST, _ACK, _REPLACE, _EXCL, _CREATE = 0x1, 0x4, 0x100, 0x200, 0x400
_UP: Final = 1
_TABLE_MAIN, _PROTO_STATIC, _UNICAST, _SCOPE_LINK, _SCOPE_UNIVERSE = 254, 4, 1, 253, 0
_NODAD: Final = 0x02
_HEADER: Final = struct.Struct("=IHHII")
_ERROR: Final = struct.Struct("=i")
TIMEOUT_S: Final = 10.0
LINK_LOCAL: Final = "fe80::1"
"""The gateway, as every container sees it on IPv6."""


@dataclass(frozen=True, slots=True)
class Wire:
    """One link as the kernel is to have it."""

    name: str
    """On the gateway's side."""
    pin: str
    ipv4: str
    gateway4: str
    ipv6: str = ""
    gateway6: str = ""
    localnet: bool = False
    """Connections to 127.0.0.1 may be led into it."""


def _encoders() -> tuple[type[Any], type[Any], type[Any]]:
    if "pyroute2" not in sys.modules:
        found = importlib.util.find_spec("pyroute2")
        if found is None or not found.submodule_search_locations:
            raise NotSupported("cannot make networks: pyroute2 is not installed")
        package = types.ModuleType("pyroute2")
        package.__path__ = list(found.submodule_search_locations)
        sys.modules["pyroute2"] = package
    from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
    from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
    from pyroute2.netlink.rtnl.rtmsg import rtmsg

    return ifinfmsg, ifaddrmsg, rtmsg


class RtNetlink:
    """Every method raises OSError; what `ensure` has begun is finished when it is called again."""

    def __init__(self) -> None:
        self._link_message, self._address_message, self._route_message = _encoders()

    def ensure(self, wire: Wire) -> None:
        """Make what is missing of the link; what is there stays."""
        pin = Path(wire.pin)
        if not netns.is_pinned(pin):
            self.remove(wire.name)  # its other end is in a namespace that nobody can find any more
            netns.pin_new(pin)
        with _open() as outside:
            if not _index(wire.name):
                self._make_pair(outside, wire.name, pin)
            send(outside, self._outside(wire, _index(wire.name)))
        if wire.localnet:
            _set(f"ipv4/conf/{wire.name}/route_localnet", "1")
        with netns.entered(pin), _open() as inside:
            _set("ipv4/ip_unprivileged_port_start", "0")  # as every container engine does: ports here harm nobody
            send(inside, self._inside(wire, _index(INSIDE)))

    def remove(self, name: str) -> None:
        """With one end the other is gone. Fine if there is none."""
        if index := _index(name):
            with _open() as outside:
                send(outside, [self._link(_DELLINK, 0, index=index)])

    def _make_pair(self, outside: socket.socket, name: str, pin: Path) -> None:
        namespace = os.open(pin, os.O_RDONLY | os.O_CLOEXEC)
        # Its other end must not be created up: the kernel says ENOTCONN.
        peer = {"attrs": [("IFLA_IFNAME", INSIDE), ("IFLA_NET_NS_FD", namespace)]}
        veth = {"attrs": [("VETH_INFO_PEER", peer)]}
        kind = {"attrs": [("IFLA_INFO_KIND", "veth"), ("IFLA_INFO_DATA", veth)]}
        pair = self._link(_NEWLINK, _CREATE | _EXCL, attrs=[("IFLA_IFNAME", name), ("IFLA_LINKINFO", kind)])
        try:
            try:
                send(outside, [pair])
            except FileExistsError:  # somebody renamed our end: the pair is made anew
                with netns.entered(pin), _open() as inside:
                    send(inside, [self._link(_DELLINK, 0, index=_index(INSIDE))])
                send(outside, [pair])
        finally:
            os.close(namespace)

    def _outside(self, wire: Wire, index: int) -> list[bytes]:
        messages = [
            self._link(_NEWLINK, 0, index=index, flags=_UP, change=_UP),
            self._address(index, wire.gateway4),
            self._route(index, wire.ipv4),
        ]
        if wire.ipv6:
            messages += [
                # Neighbours are asked from a link-local address, connections are led in from the other one.
                self._address(index, LINK_LOCAL, 64),
                self._address(index, wire.gateway6),
                self._route(index, wire.ipv6),
            ]
        return messages

    def _inside(self, wire: Wire, index: int) -> list[bytes]:
        loopback = self._link(_NEWLINK, 0, index=1, flags=_UP, change=_UP)
        messages = [
            loopback,
            self._link(_NEWLINK, 0, index=index, flags=_UP, change=_UP),
            self._address(index, wire.ipv4),
            self._route(index, wire.gateway4),
            self._route(index, "", wire.gateway4),
        ]
        if wire.ipv6:
            messages += [self._address(index, wire.ipv6), self._route(index, "", LINK_LOCAL)]
        return messages

    def _link(self, kind: int, how: int, **fields: Any) -> bytes:
        return _encode(self._link_message, kind, how, {"attrs": [], **fields})

    def _address(self, index: int, address: str, length: int = 0) -> bytes:
        six = ":" in address
        attributes: list[tuple[str, Any]] = [("IFA_LOCAL", address), ("IFA_ADDRESS", address)]
        fields = {
            "family": socket.AF_INET6 if six else socket.AF_INET,
            "prefixlen": length or (128 if six else 32),
            "index": index,
            "flags": _NODAD if six else 0,
            "attrs": attributes,
        }
        return _encode(self._address_message, _NEWADDR, _CREATE | _REPLACE, fields)

    def _route(self, index: int, destination: str, gateway: str = "") -> bytes:
        """To one address, or with an empty `destination` to everywhere."""
        six = ":" in (destination or gateway)
        attributes: list[tuple[str, Any]] = [("RTA_OIF", index)]
        if destination:
            attributes.append(("RTA_DST", destination))
        if gateway:
            attributes.append(("RTA_GATEWAY", gateway))
        fields = {
            "family": socket.AF_INET6 if six else socket.AF_INET,
            "dst_len": (128 if six else 32) if destination else 0,
            "table": _TABLE_MAIN,
            "proto": _PROTO_STATIC,
            "scope": _SCOPE_UNIVERSE if gateway or six else _SCOPE_LINK,
            "type": _UNICAST,
            "attrs": attributes,
        }
        return _encode(self._route_message, _NEWROUTE, _CREATE | _REPLACE, fields)


def _encode(kind: type[Any], number: int, flags: int, fields: dict[str, Any]) -> bytes:
    message = kind()
    message.setvalue(fields)
    message["header"]["type"] = number
    message["header"]["flags"] = _REQUEST | _ACK | flags
    message.encode()
    return bytes(message.data)


def _open() -> socket.socket:
    """In the namespace that the caller is in; it stays there."""
    connection = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
    connection.settimeout(TIMEOUT_S)
    return connection


def send(connection: socket.socket, messages: Iterable[bytes]) -> None:
    """All in one go; OSError with the first refusal once every answer is in."""
    batch = list(messages)
    connection.send(b"".join(batch))
    answers: list[int] = []
    while len(answers) < len(batch):
        data = connection.recv(1 << 16)
        while data:
            length, _kind, _flags, _number, _port = _HEADER.unpack_from(data)
            answers.append(-_ERROR.unpack_from(data, _HEADER.size)[0])
            data = data[(length + 3) & ~3 :]
    for number in answers:
        if number:
            raise OSError(number, os.strerror(number))


def _index(name: str) -> int:
    """0 when there is no such interface in this namespace."""
    try:
        return socket.if_nametoindex(name)
    except OSError:
        return 0


def _set(name: str, value: str) -> None:
    """A sysctl of the namespace that the caller is in."""
    with open(f"/proc/sys/net/{name}", "w") as file:
        file.write(value)
