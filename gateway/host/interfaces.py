"""Whether a network interface carries anything: one ioctl, in the namespace that the caller is in. netdevice(7)."""

from __future__ import annotations

import fcntl
import socket
import struct
from typing import Final

_SIOCGIFFLAGS: Final = 0x8913
_IFF_UP, _IFF_RUNNING = 0x1, 0x40
_REQUEST: Final = struct.Struct("16sH22x")


def is_running(name: str) -> bool:
    """It is there, switched on, and has its cable, access point or cell."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        try:
            answer = fcntl.ioctl(any_socket, _SIOCGIFFLAGS, _REQUEST.pack(name.encode(), 0))
        except OSError:
            return False
    flags = _REQUEST.unpack(answer)[1]
    return bool(flags & _IFF_UP and flags & _IFF_RUNNING)
