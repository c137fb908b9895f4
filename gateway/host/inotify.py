"""inotify(7): names that appear in directories, as news on the event loop. Used by `engines/`."""

from __future__ import annotations

import asyncio
import ctypes
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Final

IN_MOVED_TO: Final = 0x80
_EVENT: Final = struct.Struct("iIII")

_libc = ctypes.CDLL(None, use_errno=True)


class Inotify:
    """Tells `moved(directory, name)` of every name that was renamed into a watched directory, on the running loop."""

    def __init__(self, moved: Callable[[Path, str], None]) -> None:
        self._moved = moved
        self._descriptor = -1
        self._watches: dict[int, Path] = {}

    def open(self) -> None:
        """OSError when the machine is out of inotify instances."""
        self._descriptor = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._descriptor < 0:
            raise _failure("inotify")
        asyncio.get_running_loop().add_reader(self._descriptor, self._read)

    def watch(self, directory: Path) -> None:
        """Fine if it is watched already. OSError: no such directory, or too many watches."""
        watch = _libc.inotify_add_watch(self._descriptor, os.fsencode(directory), IN_MOVED_TO)
        if watch < 0:
            raise _failure(str(directory))
        self._watches[watch] = directory

    def close(self) -> None:
        if self._descriptor >= 0:
            asyncio.get_running_loop().remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1
        self._watches.clear()

    def _read(self) -> None:
        try:
            data = os.read(self._descriptor, 65536)
        except BlockingIOError:
            return
        offset = 0
        while offset + _EVENT.size <= len(data):
            watch, mask, _, length = _EVENT.unpack_from(data, offset)
            name = data[offset + _EVENT.size : offset + _EVENT.size + length].rstrip(b"\0")
            offset += _EVENT.size + length
            if mask & IN_MOVED_TO and watch in self._watches:
                self._moved(self._watches[watch], os.fsdecode(name))
            elif not mask & IN_MOVED_TO:
                self._watches.pop(watch, None)  # IN_IGNORED: the directory is gone


def _failure(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number), what)
