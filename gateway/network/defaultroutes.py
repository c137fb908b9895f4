"""Changes the metric of an interface's default routes, and leaves everything else of them as their maker wanted it.

A route is read as the kernel sends it, and sent back with another priority before the old one goes: there is always
one. Used by the network worker only. Source: rtnetlink(7).
"""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from gateway.network.rtnetlink import TIMEOUT_S, send

_NEWROUTE, _DELROUTE, _GETROUTE = 24, 25, 26
_REQUEST, _ACK, _DUMP, _EXCL, _CREATE = 0x1, 0x4, 0x300, 0x200, 0x400
_HEADER: Final = struct.Struct("=IHHII")
_ROUTE: Final = struct.Struct("=BBBBBBBBI")
_OIF, _PRIORITY, _CACHEINFO, _TABLE = 4, 6, 12, 15
_MAIN: Final = 254
_ONLINK: Final = 4


@dataclass(frozen=True, slots=True)
class DefaultRoute:
    fields: tuple[int, ...]
    """Of rtmsg: family, lengths, tos, table, protocol, scope, type, flags."""
    attributes: tuple[tuple[int, bytes], ...]

    @property
    def metric(self) -> int:
        return next((_number(value) for kind, value in self.attributes if kind == _PRIORITY), 0)

    def with_metric(self, metric: int) -> DefaultRoute:
        others = tuple((kind, value) for kind, value in self.attributes if kind not in (_PRIORITY, _CACHEINFO))
        flags = self.fields[8] & _ONLINK  # the others say how it is, not how it is wanted
        return DefaultRoute((*self.fields[:8], flags), (*others, (_PRIORITY, struct.pack("=I", metric))))

    def message(self, kind: int, flags: int) -> bytes:
        body = _ROUTE.pack(*self.fields) + b"".join(_attribute(*entry) for entry in self.attributes)
        return _HEADER.pack(_HEADER.size + len(body), kind, _REQUEST | _ACK | flags, 0, 0) + body


def set_metric(interface: str, metric: int) -> None:
    """OSError: a route cannot be made with it; then the old one stays."""
    index = socket.if_nametoindex(interface)
    connection = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
    with connection:
        connection.settimeout(TIMEOUT_S)
        for family in (socket.AF_INET, socket.AF_INET6):
            for route in list(_defaults(connection, family, index)):
                if route.metric == metric:
                    continue
                with contextlib.suppress(FileExistsError):
                    send(connection, [route.with_metric(metric).message(_NEWROUTE, _CREATE | _EXCL)])
                send(connection, [route.with_metric(route.metric).message(_DELROUTE, 0)])


def _defaults(connection: socket.socket, family: int, index: int) -> Iterator[DefaultRoute]:
    body = _ROUTE.pack(family, 0, 0, 0, 0, 0, 0, 0, 0)
    connection.send(_HEADER.pack(_HEADER.size + len(body), _GETROUTE, _REQUEST | _DUMP, 0, 0) + body)
    while True:
        data = connection.recv(1 << 17)
        while data:
            length, kind, _flags, _sequence, _port = _HEADER.unpack_from(data)
            if kind != _NEWROUTE:
                return  # the end, or an error: a family that the kernel does not have
            if (route := _default(data[_HEADER.size : length], index)) is not None:
                yield route
            data = data[(length + 3) & ~3 :]


def _default(message: bytes, index: int) -> DefaultRoute | None:
    """None for every other route."""
    fields = _ROUTE.unpack_from(message)
    attributes = tuple(_parse(message[_ROUTE.size :]))
    known = dict(attributes)
    table = _number(known[_TABLE]) if _TABLE in known else fields[4]
    leads_out = fields[1] == 0 and fields[7] == 1 and table == _MAIN
    if not leads_out or _OIF not in known or _number(known[_OIF]) != index:
        return None
    return DefaultRoute(fields, attributes)


def _parse(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= 4:
        size, kind = struct.unpack_from("=HH", data)
        if size < 4:
            return
        yield kind, data[4:size]
        data = data[(size + 3) & ~3 :]


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


def _number(value: bytes) -> int:
    return int(struct.unpack_from("=I", value)[0])
