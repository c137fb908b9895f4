"""Devices of the host that a container is given."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass

from gateway.errors import InvalidInput, Unavailable


@dataclass(frozen=True, slots=True)
class DeviceNode:
    """A device of the host to be made in the container."""

    path: str
    kind: str
    """`c` or `b`."""
    major: int
    minor: int
    mode: int
    uid: int
    gid: int


def device_node(path: str) -> DeviceNode:
    """The device at `path`. Unavailable: it is not there now. InvalidInput: it is something else."""
    try:
        facts = os.stat(path)
    except OSError as failure:
        raise Unavailable(f"cannot give device {path}: {failure.strerror}") from failure
    if not (stat.S_ISCHR(facts.st_mode) or stat.S_ISBLK(facts.st_mode)):
        raise InvalidInput(f"cannot give device {path}: it is no device")
    kind = "c" if stat.S_ISCHR(facts.st_mode) else "b"
    major, minor = os.major(facts.st_rdev), os.minor(facts.st_rdev)
    return DeviceNode(path, kind, major, minor, stat.S_IMODE(facts.st_mode), facts.st_uid, facts.st_gid)
