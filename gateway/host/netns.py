"""Network namespaces: make one and pin it as a file, enter one. All calls act on the calling thread.

Used by the network worker, whose only thread goes into a namespace and comes back.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gateway.host import mounts

CLONE_NEWNET: Final = 0x40000000
_OWN: Final = "/proc/thread-self/ns/net"

_libc = ctypes.CDLL(None, use_errno=True)


def is_pinned(pin: Path) -> bool:
    """Whether a namespace is mounted on the file: it is then on another file system than its directory."""
    try:
        return pin.stat().st_dev != pin.parent.stat().st_dev
    except OSError:
        return False


def pin_new(pin: Path) -> None:
    """A new namespace, kept alive by a bind mount on the file `pin`. OSError; then nothing is left."""
    pin.touch(mode=0o600)
    try:
        with _returning():
            if _libc.unshare(CLONE_NEWNET) != 0:
                raise _failure("unshare")
            mounts.mount(_OWN, pin, flags=mounts.MS_BIND)
    except BaseException:
        pin.unlink(missing_ok=True)
        raise


def unpin(pin: Path) -> None:
    """With its last process the namespace is gone. Fine if there is none."""
    mounts.unmount(pin)
    pin.unlink(missing_ok=True)


@contextlib.contextmanager
def entered(pin: Path) -> Iterator[int]:
    """Be inside for the length of the block; its descriptor. OSError."""
    descriptor = os.open(pin, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with _returning():
            _enter(descriptor, str(pin))
            yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _returning() -> Iterator[None]:
    home = os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield
    finally:
        try:
            _enter(home, "home")
        finally:
            os.close(home)


def _enter(descriptor: int, name: str) -> None:
    if _libc.setns(descriptor, CLONE_NEWNET) != 0:
        raise _failure(name)


def _failure(name: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number), name)
