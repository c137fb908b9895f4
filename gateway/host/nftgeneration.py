"""The generation of this namespace's nftables ruleset: another number after every change, whoever made it.

One small netlink request (NFT_MSG_GETGEN), so that it can be asked often. Source: linux/netfilter/nf_tables.h.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from typing import Final

_NETLINK_NETFILTER: Final = 12
_SUBSYSTEM: Final = 10 << 8
_GETGEN, _NEWGEN = _SUBSYSTEM | 16, _SUBSYSTEM | 15
_GEN_ID: Final = 1
_REQUEST: Final = struct.pack("=IHHIIBBH", 20, _GETGEN, 1, 1, 0, 0, 0, 0)
_HEADERS: Final = 20
"""Bytes of nlmsghdr and nfgenmsg."""
TIMEOUT_S: Final = 1.0


def generation() -> int | None:
    """None when the kernel has no nftables, or does not let us ask."""
    with contextlib.suppress(OSError, struct.error):
        connection = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER)
        with connection:
            connection.settimeout(TIMEOUT_S)
            connection.send(_REQUEST)
            return parse(connection.recv(4096))
    return None


def parse(answer: bytes) -> int | None:
    """None when it is another message (an error). struct.error when it is cut short."""
    length, kind = struct.unpack_from("=IH", answer)
    offset = _HEADERS
    while kind == _NEWGEN and offset < length:
        size, name = struct.unpack_from("=HH", answer, offset)
        if name == _GEN_ID:
            return int.from_bytes(answer[offset + 4 : offset + 8], "big")
        offset += max((size + 3) & ~3, 4)
    return None
